// Layouts as JSON, each a kind and its numbers (README.md of this folder).
#pragma once

#include <nlohmann/json.hpp>

#include "impl/core/layout.h"
#include "impl/spec/json.h"

namespace holdfast::properties::parity {

/// Numbers of a scenario (ranks, dimensions, offsets, sizes in elements) are below this.
inline constexpr std::int64_t number_max = std::int64_t{1} << 26;

/// The integer `key`. Errors: invalid_argument for one below `least` or above `most`.
Result<std::int64_t> number_between(const spec::JsonAt& json, const char* key, std::int64_t least, std::int64_t most);
/// The list of integers `key`, each from `least` to number_max. Errors: invalid_argument.
Result<std::vector<std::int64_t>> bounded_numbers(const spec::JsonAt& json, const char* key, std::int64_t least);
/// Errors: invalid_argument for what is no object, or holds a member that is not among `known`: a word that is misspelt does nothing in silence.
Status check_members(const spec::JsonAt& json, std::initializer_list<std::string_view> known);

nlohmann::json to_json(const Layout& layout);
/// Whether it fits a tensor is not looked at, but its ranks are below `ranks`. Errors: invalid_argument, with the place.
Result<Layout> layout_from_json(const spec::JsonAt& json, int ranks);

}  // namespace holdfast::properties::parity

// The JSON that safetensors headers are made of: an object of objects whose values are strings or lists of unsigned integers.
// Nothing else is accepted, so that neither depth nor types can surprise. Private to impl/format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::format {

struct FlatField {
  std::string key;
  bool is_list = false;
  std::string text;
  std::vector<std::uint64_t> list;
};

struct FlatObject {
  std::string name;
  std::vector<FlatField> fields;
  const FlatField* find(std::string_view key) const;
};

/// In the order of the text. Errors: corrupt, when it is anything else or holds a key twice; `what` begins the message.
Result<std::vector<FlatObject>> parse_flat_json(std::string_view json, std::string_view what);

}  // namespace holdfast::format

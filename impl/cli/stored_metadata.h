// The __metadata__ of a safetensors file, kept through a checkpoint as a byte value of that name, so that what is loaded is what was saved.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "impl/core/bytes.h"

namespace holdfast::cli {

using StringMap = std::map<std::string, std::string, std::less<>>;

inline constexpr std::string_view stored_metadata_name = "__metadata__";

Bytes encode_metadata(const StringMap& metadata);  ///< a JSON object of strings
std::optional<StringMap> decode_metadata(ByteView bytes);

}  // namespace holdfast::cli

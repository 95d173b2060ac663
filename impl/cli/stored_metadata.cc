#include "impl/cli/stored_metadata.h"

#include <nlohmann/json.hpp>

namespace holdfast::cli {

Bytes encode_metadata(const StringMap& metadata) { return to_bytes(as_bytes(nlohmann::json(metadata).dump())); }

std::optional<StringMap> decode_metadata(ByteView bytes) {
  const std::string_view text = as_text(bytes);
  const auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  StringMap metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return std::nullopt;
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

}  // namespace holdfast::cli

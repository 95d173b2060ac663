// A checkpoint's tensors as one plain safetensors file, to be loaded into.
#pragma once

#include <map>
#include <string>

#include "impl/cli/stored_metadata.h"
#include "impl/core/bytes.h"
#include "impl/format/manifest.h"

namespace holdfast::cli {

/// A header, and where each tensor lies after it. Widest elements first, so that each tensor lies at a multiple of its element size.
struct SafetensorsPlan {
  Bytes header;
  std::map<std::string, std::uint64_t, std::less<>> offsets;  ///< bytes, from the start of the file
  std::uint64_t file_bytes = 0;
};

/// safetensors has no C128: such a tensor is described as F64 with a last dimension of 2.
SafetensorsPlan plan_safetensors(const format::Manifest& manifest, const StringMap& metadata);

}  // namespace holdfast::cli

// Headers of safetensors files from anybody: PyTorch, Hugging Face, ourselves. Pure. Source: github.com/huggingface/safetensors, "Format".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/bytes.h"
#include "impl/core/dtype.h"
#include "impl/core/error.h"

namespace holdfast::format {

/// The bound that the reference implementation sets, in bytes of JSON.
inline constexpr std::uint64_t safetensors_header_bytes_max = 100'000'000;

struct SafetensorsTensor {
  std::string name;
  std::string dtype;        ///< as in the file; one of safetensors' names
  Dims shape;               ///< of what this file holds, in elements
  std::uint64_t begin = 0;  ///< bytes, in the data area
  std::uint64_t end = 0;
  /// None for the dtypes Holdfast cannot hold (F4, F6_E2M3, F6_E3M2).
  std::optional<DType> known_dtype() const { return dtype_from_string(dtype); }
};

struct SafetensorsHeader {
  std::uint64_t header_bytes = 0;  ///< length field and JSON: where the data area starts
  std::uint64_t data_bytes = 0;
  std::vector<SafetensorsTensor> tensors;                    ///< as they lie in the data area; empty ones as they stand in the JSON
  std::map<std::string, std::string, std::less<>> metadata;  ///< __metadata__

  std::uint64_t file_bytes() const { return header_bytes + data_bytes; }
};

/// Decodes a header: `header` is the first header_bytes (segment_header_bytes() in segment.h) of the file.
/// A header that is returned is sound: UTF-8, no key twice, sizes that match dtype and shape, and tensors that fill the data area
/// without hole or overlap. Errors: corrupt, saying which tensor; unsupported for an unknown dtype.
Result<SafetensorsHeader> decode_safetensors_header(ByteView header, std::string_view path);

/// Errors: corrupt when a file of `file_bytes` is shorter or longer than the header says.
Status check_file_bytes(const SafetensorsHeader& header, std::uint64_t file_bytes, std::string_view path);

/// Where each tensor of the file starts in its whole tensor: PyTorch's DCP_SHARDING_INFO, in the order of header.tensors; zeros when the
/// file has none. Errors: corrupt when it is no JSON of that form, lacks a tensor, or gives an offset of other dimensions.
Result<std::vector<Dims>> saved_offsets(const SafetensorsHeader& header, std::string_view path);

bool is_utf8(std::string_view text);
/// `text` as the inside of a JSON string: quotes, backslashes and control characters escaped, the rest as it is.
std::string json_escaped(std::string_view text);

}  // namespace holdfast::format

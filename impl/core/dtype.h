// Element types, named as in safetensors.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace holdfast {

/// Values are part of the manifest format: append, never renumber.
// clang-format off: a table
enum class DType : std::uint8_t {
  boolean = 1, u8 = 2, i8 = 3, u16 = 4, i16 = 5, u32 = 6, i32 = 7, u64 = 8, i64 = 9,
  f16 = 10, bf16 = 11, f32 = 12, f64 = 13, c64 = 14, c128 = 15,
  f8_e4m3 = 16, f8_e5m2 = 17, f8_e4m3fnuz = 18, f8_e5m2fnuz = 19, f8_e8m0 = 20,
};
// clang-format on

/// Bytes of one element.
std::uint32_t size_bytes(DType dtype);
/// "F32", "BF16", "F8_E4M3", ... C128 is ours: safetensors has no complex128.
std::string_view to_string(DType dtype);
/// None for a name, or a code, that is none.
std::optional<DType> dtype_from_string(std::string_view name);
std::optional<DType> dtype_from_code(std::uint8_t code);
std::span<const DType> all_dtypes();

}  // namespace holdfast

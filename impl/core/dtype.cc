#include "impl/core/dtype.h"

#include <algorithm>
#include <array>

#include "impl/core/check.h"

namespace holdfast {
namespace {

struct Row {
  DType dtype;
  std::string_view name;
  std::uint32_t bytes;
};

// clang-format off: a table
constexpr std::array rows = {
    Row{DType::boolean, "BOOL", 1},     Row{DType::u8, "U8", 1},           Row{DType::i8, "I8", 1},
    Row{DType::u16, "U16", 2},          Row{DType::i16, "I16", 2},         Row{DType::u32, "U32", 4},
    Row{DType::i32, "I32", 4},          Row{DType::u64, "U64", 8},         Row{DType::i64, "I64", 8},
    Row{DType::f16, "F16", 2},          Row{DType::bf16, "BF16", 2},       Row{DType::f32, "F32", 4},
    Row{DType::f64, "F64", 8},          Row{DType::c64, "C64", 8},         Row{DType::c128, "C128", 16},
    Row{DType::f8_e4m3, "F8_E4M3", 1},  Row{DType::f8_e5m2, "F8_E5M2", 1}, Row{DType::f8_e4m3fnuz, "F8_E4M3FNUZ", 1},
    Row{DType::f8_e5m2fnuz, "F8_E5M2FNUZ", 1}, Row{DType::f8_e8m0, "F8_E8M0", 1},
};
// clang-format on

constexpr auto dtypes = [] {
  std::array<DType, rows.size()> all{};
  for (std::size_t i = 0; i < rows.size(); ++i) all[i] = rows[i].dtype;
  return all;
}();

const Row& row(DType dtype) {
  const auto index = static_cast<std::size_t>(dtype) - 1;
  CHECK(index < rows.size(), "dtype code {}", index + 1);
  return rows[index];
}

}  // namespace

std::uint32_t size_bytes(DType dtype) { return row(dtype).bytes; }
std::string_view to_string(DType dtype) { return row(dtype).name; }

std::optional<DType> dtype_from_string(std::string_view name) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  return found == rows.end() ? std::nullopt : std::optional(found->dtype);
}

std::optional<DType> dtype_from_code(std::uint8_t code) {
  return code >= 1 && code <= rows.size() ? std::optional(rows[code - 1u].dtype) : std::nullopt;
}

std::span<const DType> all_dtypes() { return dtypes; }

}  // namespace holdfast

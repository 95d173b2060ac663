#include "impl/core/dtype.h"

#include <gtest/gtest.h>

#include <set>

namespace holdfast {
namespace {

TEST(DType, NamesAndCodesLeadBackToEachType) {
  std::set<std::string_view> names;
  for (const DType dtype : all_dtypes()) {
    EXPECT_EQ(dtype_from_string(to_string(dtype)), dtype);
    EXPECT_EQ(dtype_from_code(static_cast<std::uint8_t>(dtype)), dtype);
    EXPECT_TRUE(names.insert(to_string(dtype)).second) << to_string(dtype);
  }
  EXPECT_EQ(names.size(), 20u);
}

TEST(DType, NoOtherCodeOrNameIsKnown) {
  for (int code = 0; code < 256; ++code)
    EXPECT_EQ(dtype_from_code(static_cast<std::uint8_t>(code)).has_value(), code >= 1 && code <= 20) << code;
  EXPECT_EQ(dtype_from_string("f32"), std::nullopt);
  EXPECT_EQ(dtype_from_string(""), std::nullopt);
}

TEST(DType, SizesAreTheOnesOfSafetensors) {
  EXPECT_EQ(size_bytes(DType::boolean), 1u);
  EXPECT_EQ(size_bytes(DType::f8_e8m0), 1u);
  EXPECT_EQ(size_bytes(DType::bf16), 2u);
  EXPECT_EQ(size_bytes(DType::f32), 4u);
  EXPECT_EQ(size_bytes(DType::i64), 8u);
  EXPECT_EQ(size_bytes(DType::c64), 8u);
  EXPECT_EQ(size_bytes(DType::c128), 16u);
}

}  // namespace
}  // namespace holdfast

#include "impl/core/error.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorCode::invalid_argument, "halve {}: odd", value);
  return value / 2;
}

Result<int> quarter(int value) { return TRY(half(TRY(half(value)))); }

TEST(Error, TryPassesValuesOnAndErrorsUp) {
  EXPECT_EQ(quarter(8), 2);
  EXPECT_EQ(quarter(7).error().message, "halve 7: odd");
  EXPECT_EQ(quarter(6).error().message, "halve 3: odd");
}

TEST(Error, WithinTellsWhatWasBeingDone) {
  EXPECT_EQ(within(error(ErrorCode::io_error, "disk {}", 3), "load step {}", 7), (Error{ErrorCode::io_error, "load step 7: disk 3"}));
  EXPECT_EQ(fmt::format("{}", error(ErrorCode::no_space, "full")), "full (no_space)");
}

TEST(Error, EveryCodeHasItsOwnName) {
  for (int a = 1; a <= 13; ++a) {
    EXPECT_NE(to_string(static_cast<ErrorCode>(a)), "unknown_code") << a;
    for (int b = 1; b < a; ++b) EXPECT_NE(to_string(static_cast<ErrorCode>(a)), to_string(static_cast<ErrorCode>(b)));
  }
  EXPECT_EQ(to_string(static_cast<ErrorCode>(0)), "unknown_code");
}

}  // namespace
}  // namespace holdfast

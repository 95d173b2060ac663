#include "sim/testing/arguments.h"

#include <gtest/gtest.h>

namespace holdfast::sim {
namespace {

TEST(Arguments, ReadASeedInEveryForm) {
  EXPECT_EQ(parse_seed("0"), 0u);
  EXPECT_EQ(parse_seed("18446744073709551615"), ~std::uint64_t{0});
  EXPECT_EQ(parse_seed("0xfF"), 255u);
  EXPECT_EQ(parse_seed("00000000000000ff000000000000000000000000"), 255u);
}

TEST(Arguments, RefuseWhatIsNoSeed) {
  for (const std::string text : {"", "-1", "0x", "x", "1 ", "18446744073709551616", "00000000000000fg000000000000000000000000"}) {
    const auto seed = parse_seed(text);
    ASSERT_FALSE(seed) << text;
    EXPECT_EQ(seed.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(seed.error().message, "seed \"" + text + "\": expected a decimal number, 0x and hex digits, or a commit id of 40 hex digits");
  }
}

TEST(Arguments, KnowEveryKindOfFaultByItsName) {
  EXPECT_EQ(parse_kinds({}), std::vector<FaultKind>());
  EXPECT_EQ(parse_kinds({"hang", "bit_flip"}), (std::vector<FaultKind>{FaultKind::hang, FaultKind::bit_flip}));
  EXPECT_EQ(parse_kinds({"hang", "fire"}).error().message, "kind of fault \"fire\": there is none of that name; --help lists them");
}

}  // namespace
}  // namespace holdfast::sim

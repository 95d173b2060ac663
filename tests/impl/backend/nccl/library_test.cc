// Finding NCCL: each way in which a library will not do has its message. The libraries are tiny ones that the build makes; the real one is tried in tests/gpu.
#include "impl/backend/nccl/library/library.h"

#include <gtest/gtest.h>

namespace holdfast::backend {
namespace {

Result<NcclLibrary> open(std::initializer_list<const char*> names) {
  const std::vector<std::string> all(names.begin(), names.end());
  return NcclLibrary::open(all);
}

TEST(NcclLibrary, IsTheFirstThatOpens) {
  const auto library = open({"/absent/libnccl.so.2", FAKE_NCCL_WHOLE, FAKE_NCCL_OLD});
  ASSERT_TRUE(library) << library.error().message;
  EXPECT_EQ(library->version(), 22809);
  EXPECT_EQ(library->path(), FAKE_NCCL_WHOLE);
  EXPECT_NE(library->function("ncclSend"), nullptr);
  EXPECT_EQ(library->optional(true), std::vector<std::string_view>{"ncclGetLastError"});
  EXPECT_TRUE(library->optional(false).empty());
}

TEST(NcclLibrary, SaysWhyNoneOpens) {
  const auto none = open({"/absent/libnccl.so.2", "/absent/libnccl.so"});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error(),
            error(ErrorCode::unsupported,
                  "open NCCL: /absent/libnccl.so.2: cannot open shared object file: No such file or directory; /absent/libnccl.so: cannot "
                  "open shared object file: No such file or directory"));
}

TEST(NcclLibrary, RefusesOneThatIsTooOld) {
  const auto old = open({FAKE_NCCL_OLD});
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error(), error(ErrorCode::unsupported, "open NCCL: {} is NCCL 2.12.7, expected 2.14.0 or later", FAKE_NCCL_OLD));
}

TEST(NcclLibrary, RefusesOneThatLacksAFunction) {
  const auto lacking = open({FAKE_NCCL_LACKING});
  ASSERT_FALSE(lacking);
  EXPECT_EQ(lacking.error(), error(ErrorCode::unsupported, "open NCCL: {}, which is NCCL 2.18.3, has no ncclSend; expected it since 2.7.0",
                                   FAKE_NCCL_LACKING));
}

TEST(NcclLibrary, RefusesOneThatIsNoNccl) {
  const auto other = open({FAKE_NCCL_OTHER});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error(), error(ErrorCode::unsupported, "open NCCL: {} has no ncclGetVersion", FAKE_NCCL_OTHER));
}

TEST(NcclLibrary, RefusesOneThatDoesNotSayItsVersion) {
  const auto mute = open({FAKE_NCCL_MUTE});
  ASSERT_FALSE(mute);
  EXPECT_EQ(mute.error(), error(ErrorCode::unsupported, "open NCCL: ncclGetVersion of {} gave 3, expected 0", FAKE_NCCL_MUTE));
}

TEST(NcclLibrary, DoesWithoutWhatIsOptional) {
  const auto library = open({FAKE_NCCL_TERSE});
  ASSERT_TRUE(library) << library.error().message;
  EXPECT_EQ(library->function("ncclGetLastError"), nullptr);
  EXPECT_EQ(library->optional(false), std::vector<std::string_view>{"ncclGetLastError"});
}

TEST(NcclLibrary, CountsVersionsAsNcclDoes) {
  EXPECT_EQ(nccl_version_text(2708), "2.7.8");
  EXPECT_EQ(nccl_version_text(21400), "2.14.0");
  EXPECT_EQ(nccl_version_text(22809), "2.28.9");
}

}  // namespace
}  // namespace holdfast::backend

// The NCCL data plane does what every data plane does, with device memory, under any schedule and at any pace of the streams.
#include "tests/conformance/group_cases.h"
#include "tests/sim/cuda/nccl_ranks.h"

namespace holdfast::testing_cuda {
namespace {

class NcclGroupConforms : public testing::TestWithParam<conformance::GroupCase> {};

TEST_P(NcclGroupConforms, To) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const std::string wrong = run_nccl(GetParam().world_size, seed, [](const NcclRank& at) {
      sim::must(GetParam().rank_main({at.env.net, at.env.data, at.env.clock, &at.env.device}));
    });
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}
constexpr auto name_of = [](const auto& group_case) { return std::string(group_case.param.name); };
INSTANTIATE_TEST_SUITE_P(Group, NcclGroupConforms, testing::ValuesIn(conformance::group_cases().begin(), conformance::group_cases().end()),
                         name_of);

}  // namespace
}  // namespace holdfast::testing_cuda

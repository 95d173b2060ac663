// The parts of one campaign over the real save make the whole.
#include <gtest/gtest.h>

#include "properties/workload/save_workload.h"
#include "sim/campaign.h"

namespace holdfast::properties {
namespace {

gen::StateSpec two_tensors() {
  gen::StateSpec spec;
  spec.world_size = 2;
  spec.tensors = {{"bias", DType::f32, {3}, ReplicatedLayout{}, 0}, {"weight", DType::bf16, {4, 2}, ChunkLayout{0, {Rank{0}, Rank{1}}}, 0}};
  return spec;
}

TEST(Campaign, IsTheSameInOnePartOrThree) {
  SaveWorkload workload(two_tensors(), {.coordinator = Rank{0}, .block_bytes = 16, .save_again = false});
  sim::CampaignOptions options;
  options.cases = 30;
  options.twice_every = 10;
  const sim::CampaignTotals whole = random_campaign(workload, options);
  std::vector<sim::CampaignTotals> parts;
  for (options.part = 0, options.parts = 3; options.part < 3; ++options.part) parts.push_back(random_campaign(workload, options));
  const sim::CampaignTotals together = sim::merged(parts, options.failures_max);
  EXPECT_EQ(together.cases, 30u);
  EXPECT_EQ(together.hash, whole.hash);
  EXPECT_EQ(together.events, whole.events);
  EXPECT_EQ(together.faults_fired, whole.faults_fired);
  EXPECT_EQ(together.run_twice, 3u);
  EXPECT_EQ(together.failed_cases, 0u);
}

}  // namespace
}  // namespace holdfast::properties

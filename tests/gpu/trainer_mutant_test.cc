// Linked with the mutant build of the back end: planted bugs that show only beside a trainer must show in some case, on every seed.
#include <gtest/gtest.h>

#include "impl/core/mutate.h"
#include "tests/gpu/trainer_cases.h"
#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

constexpr std::uint64_t seeds = 20;

/// Of so many seeds, those with an expectation that did not hold, or a finding, in some case.
std::uint64_t exposed(std::string_view mutant) {
  mutants::activate(mutant);
  std::uint64_t count = 0;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    bool shows = false;
    for (const TrainerCase& trainer_case : trainer_cases()) {
      Simulated world(seed);
      const OtherThread other;
      const Status held = trainer_case.run(*world.device, world.clock, other);
      shows |= !held || !sim::cuda::findings().empty();
    }
    count += shows;
  }
  mutants::activate("");
  return count;
}

TEST(TrainerMutants, WithoutOneNothingShows) { EXPECT_EQ(exposed("none"), 0u); }
TEST(TrainerMutants, AMissingWaitShows) { EXPECT_EQ(exposed("cuda.skip_wait"), seeds); }
TEST(TrainerMutants, ACapturingStreamThatIsUsedAllTheSameShows) { EXPECT_EQ(exposed("cuda.capture_unchecked"), seeds); }
TEST(TrainerMutants, CallsThatSpoilACaptureShow) { EXPECT_EQ(exposed("cuda.capture_mode_kept"), seeds); }

}  // namespace
}  // namespace holdfast::testing_cuda

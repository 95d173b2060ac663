// Linked with the mutant build of the back end: each planted bug must show, by data on some seeds and by the race check on every one.
#include <gtest/gtest.h>

#include "impl/core/mutate.h"
#include "tests/sim/cuda/random_blocks.h"
#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

constexpr std::uint64_t seeds = 200;

struct Exposed {
  int by_data = 0;
  int by_findings = 0;
};

Exposed expose(std::string_view mutant) {
  Exposed exposed;
  mutants::activate(mutant);
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    Simulated world(seed);
    Random random(seed);
    RandomBlock block = random_block(random, DType::f32);
    while (block.box.empty()) block = random_block(random, DType::f32);
    const Status held = check_block(*world.device, world.clock, block, seed);
    exposed.by_data += !held && held.error().code == ErrorCode::corrupt;
    exposed.by_findings += !sim::cuda::findings().empty();
  }
  mutants::activate("");
  std::printf("%.*s: bytes wrong in %d, misuse found in %d of %d seeds\n", static_cast<int>(mutant.size()), mutant.data(), exposed.by_data,
              exposed.by_findings, static_cast<int>(seeds));
  return exposed;
}

TEST(CudaMutants, WithoutOneNothingShows) {
  const Exposed exposed = expose("none");
  EXPECT_EQ(exposed.by_data, 0);
  EXPECT_EQ(exposed.by_findings, 0);
}

TEST(CudaMutants, AMissingEventWaitShowsAsARaceOnEverySeedAndAsPoisonOnSome) {
  const Exposed exposed = expose("cuda.skip_wait");
  EXPECT_GT(exposed.by_data, static_cast<int>(seeds / 10));
  EXPECT_EQ(exposed.by_findings, static_cast<int>(seeds));
}

TEST(CudaMutants, ASynchroniseThatDoesNotWaitShowsAsPoison) { EXPECT_GT(expose("cuda.skip_poll").by_data, static_cast<int>(seeds / 10)); }

/// What is found while staging comes and goes under work, and once the device is closed.
std::string lives(std::string_view mutant) {
  mutants::activate(mutant);
  Simulated world(1);
  for (std::uint64_t round = 0; round < 3; ++round) {
    Random random(round);
    RandomBlock block = random_block(random, DType::f32);
    while (block.box.empty()) block = random_block(random, DType::f32);
    (void)check_block(*world.device, world.clock, block, round);
  }
  std::string found = world.close();
  mutants::activate("");
  return found;
}

TEST(CudaMutants, StagingThatIsNotPinnedOrNotUnpinnedIsFound) {
  EXPECT_EQ(lives("none"), "");
  EXPECT_NE(lives("cuda.staging_not_pinned").find("cudaHostUnregister: the address was never registered"), std::string::npos);
  EXPECT_NE(lives("cuda.staging_unmapped_pinned").find("registered allocation"), std::string::npos);
}

/// Ten tensors that lie apart in staging go out in one call. Whether bytes and digests are the tensors'.
bool stages_a_batch(std::string_view mutant, std::uint64_t seed) {
  constexpr std::size_t count = 10, bytes = 48, apart = 64;
  Simulated world(seed);
  port::Device& device = *world.device;
  const port::StreamId stream = device.create_stream().value();
  const port::Buffer memory = device.allocate_device(count * bytes).value(), image = device.allocate_staging(count * bytes).value();
  const port::Buffer staging = device.allocate_staging(count * apart).value();
  Random random(seed);
  fill(image.bytes, random);
  mutants::activate(mutant);
  EXPECT_TRUE(device.copy_in(image.bytes, image.owner, packed_block(memory.bytes.data(), {count * bytes}, 1, memory.kind), stream));
  const auto digests = std::make_shared<std::vector<TensorDigest>>(count);
  std::vector<port::StageItem> items;
  for (std::size_t i = 0; i < count; ++i) {
    items.push_back({packed_block(memory.bytes.data() + i * bytes, {bytes}, 1, memory.kind),
                     {{0}, {bytes}},
                     {bytes},
                     DType::u8,
                     staging.bytes.subspan(i * apart, bytes),
                     &(*digests)[i]});
  }
  EXPECT_TRUE(device.stage(items, digests, stream));
  const port::EventId done = device.record(stream).value();
  EXPECT_TRUE(device.synchronize(done, world.soon()));
  mutants::activate("");
  bool right = true;
  for (std::size_t i = 0; i < count; ++i) {
    const StridedBlock tensor = packed_block(image.bytes.data() + i * bytes, {bytes}, 1);
    right &= std::ranges::equal(image.bytes.subspan(i * bytes, bytes), staging.bytes.subspan(i * apart, bytes));
    right &= (*digests)[i] == tensor_digest(tensor, {{0}, {bytes}}, {bytes}, DType::u8);
  }
  return right;
}

TEST(CudaMutants, ABatchThatMixesUpItsBlocksShows) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_TRUE(stages_a_batch("none", seed)) << seed;
    EXPECT_FALSE(stages_a_batch("cuda.batch_wrong_item", seed)) << seed;
    EXPECT_FALSE(stages_a_batch("cuda.run_over_gaps", seed)) << seed;
  }
}

}  // namespace
}  // namespace holdfast::testing_cuda

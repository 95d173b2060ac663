// The CUDA back end beside a trainer, on the simulated runtime, which sees each use that nothing orders and each capture that is spoilt.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "tests/gpu/trainer_cases.h"
#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

TEST(SimulatedTrainer, TheBackEndWorksBesideItAtAnyPace) {
  for (const TrainerCase& trainer_case : trainer_cases()) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      Simulated world(seed);
      const OtherThread other;
      const Status held = trainer_case.run(*world.device, world.clock, other);
      EXPECT_TRUE(held) << trainer_case.name << ", seed " << seed << ": " << held.error().message;
      EXPECT_EQ(world.close(), "") << trainer_case.name << ", seed " << seed;
    }
  }
}

TEST(SimulatedTrainer, AStreamOfAnotherDeviceIsRefused) {
  sim::cuda::reset(1);
  sim::cuda::set_device_count(2);
  StillClock clock;
  const auto device = backend::make_cuda_device(0, clock).value();
  cudaStream_t other = nullptr;
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking), cudaSuccess);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  const port::StreamId view = device->view_stream(other).value();
  EXPECT_EQ(device->record(view).error(),
            error(ErrorCode::invalid_argument, "cudaEventRecord on device 0, stream {}: invalid resource handle", view.value));
}

}  // namespace
}  // namespace holdfast::testing_cuda

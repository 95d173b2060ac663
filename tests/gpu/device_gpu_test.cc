// The CUDA back end on a real GPU: the same cases as on the simulated runtime. Without a GPU every case is skipped, with CUDA's reason.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "impl/backend/cuda/describe.h"
#include "impl/backend/cuda/device.h"
#include "impl/backend/host/clock.h"
#include "impl/core/dtype.h"
#include "tests/conformance/device_cases.h"
#include "tests/gpu/trainer_cases.h"
#include "tests/sim/cuda/random_blocks.h"

namespace holdfast::testing_cuda {
namespace {

/// One thread, which does one thing after the other.
class AnotherThread {
 public:
  ~AnotherThread() { run(nullptr); }
  /// Returns when it is done.
  void run(std::function<void()> body) {
    const bool last = body == nullptr;
    std::unique_lock lock(mutex_);
    body_ = std::move(body);
    has_work_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !has_work_; });
    lock.unlock();
    if (last) thread_.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (bool last = false; !last;) {
      changed_.wait(lock, [&] { return has_work_; });
      last = body_ == nullptr;
      if (!last) body_();
      has_work_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> body_;
  bool has_work_ = false;
  std::thread thread_{[this] { work(); }};
};

class CudaGpu : public testing::Test {
 protected:
  void SetUp() override {
    const Result<int> count = backend::cuda_device_count();
    if (!count && count.error().code == ErrorCode::unsupported) GTEST_SKIP() << count.error().message;
    ASSERT_TRUE(count) << count.error().message;
    auto opened = backend::make_cuda_device(0, clock);
    ASSERT_TRUE(opened) << opened.error().message;
    device = std::move(*opened);
    ++cases_run;
  }
  static void TearDownTestSuite() {
    const int cases = testing::UnitTest::GetInstance()->test_to_run_count();
    std::printf("device_gpu_test: %d of %d cases ran on a GPU, %d skipped\n", cases_run, cases, cases - cases_run);
  }

  static inline int cases_run = 0;
  backend::SteadyClock clock;
  std::unique_ptr<backend::CudaDevice> device;
};

TEST_F(CudaGpu, SaysWhatItIs) {
  const Result<std::string> text = backend::describe_cuda_device(0);
  ASSERT_TRUE(text) << text.error().message;
  std::printf("%s\n", text->c_str());
  EXPECT_EQ(text->find("GPU 0: "), 0u);
}

TEST_F(CudaGpu, Conforms) {
  for (const conformance::DeviceCase& device_case : conformance::device_cases()) {
    const Status held = device_case.run(*device, clock);
    EXPECT_TRUE(held) << device_case.name << ": " << held.error().message;
  }
}

TEST_F(CudaGpu, MovesAndDigestsRandomBlocksOfEveryTypeAsTheHostDoes) {
  for (const DType dtype : all_dtypes()) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      Random random(seed * 100 + static_cast<std::uint64_t>(dtype));
      const Status held = check_block(*device, clock, random_block(random, dtype), seed);
      ASSERT_TRUE(held) << "seed " << seed << ": " << held.error().message;
    }
  }
}

TEST_F(CudaGpu, WorksBesideATrainer) {
  AnotherThread thread;
  for (const TrainerCase& trainer_case : trainer_cases()) {
    const Status held = trainer_case.run(*device, clock, [&](const std::function<void()>& body) { thread.run(body); });
    EXPECT_TRUE(held) << trainer_case.name << ": " << held.error().message;
  }
}

TEST_F(CudaGpu, RefusesMoreMemoryThanThereIs) {
  const auto refused = device->allocate_device(std::size_t{1} << 50);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory) << refused.error().message;
}

}  // namespace
}  // namespace holdfast::testing_cuda

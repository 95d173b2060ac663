// Every call of the runtime that the back end makes fails once: the error names the call, and nothing leaks.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/sim/cuda/random_blocks.h"
#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

using port::Buffer;
using port::EventId;
using port::StreamId;

/// A block that is packed by the kernel, one that goes as rows, and one that lies packed.
std::vector<RandomBlock> blocks() {
  std::vector<RandomBlock> all(3);
  for (RandomBlock& block : all) block.dtype = DType::f32;
  const auto set = [](RandomBlock& block, std::int64_t rows, std::int64_t columns, std::int64_t pitch) {
    block.shape = block.box.size = Dims{rows, columns};
    block.box.offset = Dims{0, 0};
    block.strides_bytes = Dims{pitch, 4};
    block.bytes = static_cast<std::size_t>(rows * pitch);
  };
  set(all[0], 30, 3, 20);
  set(all[1], 4, 200, 1000);
  set(all[2], 10, 10, 40);
  return all;
}

/// Blocks that lie apart in staging, out in one call and in again in one: they bounce.
Status bounce(port::Device& device, port::Clock& clock, const Buffer& memory) {
  struct Kept {
    Buffer staging;
    std::vector<TensorDigest> digests;
  };
  const auto kept = std::make_shared<Kept>(Kept{TRY(device.allocate_staging(2 * memory.bytes.size())), std::vector<TensorDigest>(8)});
  const StreamId stream = TRY(device.create_stream());
  std::vector<port::StageItem> out;
  std::vector<port::UnstageItem> in;
  for (std::size_t i = 0; i < kept->digests.size(); ++i) {
    const StridedBlock block = packed_block(memory.bytes.data() + i * 16, {16}, 1, memory.kind);
    const ByteSpan apart = kept->staging.bytes.subspan(i * 32, 16);
    out.push_back({block, {{0}, {16}}, {16}, DType::u8, apart, &kept->digests[i]});
    in.push_back({.source = packed_block(apart.data(), {16}, 1), .destination = block});
  }
  TRY(device.stage(out, kept, stream));
  TRY(device.unstage(in, kept, stream));
  const EventId done = TRY(device.record(stream));
  TRY(device.synchronize(done, clock.after(std::chrono::seconds(60))));
  device.destroy_event(done);
  device.destroy_stream(stream);
  return {};
}

/// Opens a device, takes it through everything, and closes it. Whatever happens, nothing may be left.
Status whole_life(port::Clock& clock, std::uint64_t seed) {
  std::vector<Buffer> tensors;  // outlive the device: work may be under way when something fails
  const auto device = TRY(backend::make_cuda_device(0, clock));
  for (const RandomBlock& block : blocks()) {
    tensors.push_back(TRY(device->allocate_device(block.bytes)));
    TRY(check_block(*device, clock, block, tensors.back(), seed));
  }
  return bounce(*device, clock, tensors.back());
}

TEST(CudaFaults, EachCallsFailureIsAnErrorThatNamesItAndNothingLeaks) {
  constexpr int injected = 999;
  StillClock clock;
  sim::cuda::reset(1);
  ASSERT_TRUE(whole_life(clock, 1));
  ASSERT_TRUE(sim::cuda::report().empty());
  const auto calls = sim::cuda::calls();
  EXPECT_GE(calls.size(), 17u);
  for (const auto& [name, count] : calls) {
    std::uint64_t surfaced = 0;
    for (std::uint64_t nth = 0; nth < count; ++nth) {
      sim::cuda::reset(1);
      sim::cuda::fail_call(name, nth, injected);
      const Status lived = whole_life(clock, 1);
      if (!lived) {
        ++surfaced;
        EXPECT_TRUE(lived.error().message.starts_with(name)) << lived.error().message;
        EXPECT_EQ(lived.error().code, ErrorCode::io_error);
      }
      EXPECT_EQ(fmt::format("{}", fmt::join(sim::cuda::report(), "\n")), "") << name << " " << nth;
      EXPECT_EQ(sim::cuda::live(), (sim::cuda::Live{.streams_destroyed_busy = sim::cuda::live().streams_destroyed_busy}))
          << name << " " << nth;
    }
    const bool releases = name == "cudaFree" || name == "cudaFreeHost" || name == "cudaHostUnregister" || name.ends_with("Destroy");
    // What happens inside destructors and destroy_event, destroy_stream has nobody to tell. A NUMA node that is not known is nobody's failure.
    if (releases || name == "cudaEventSynchronize" || name == "cudaDeviceGetAttribute") {
      EXPECT_EQ(surfaced, 0u) << name;
    } else {
      EXPECT_GT(surfaced, 0u) << name;
    }
  }
}

TEST(CudaFaults, MessagesCarryCallDeviceStreamAndReason) {
  Simulated world(2);
  port::Device& device = *world.device;
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  const std::string lockable = limit.rlim_cur == RLIM_INFINITY ? "unlimited" : fmt::format("{} bytes", limit.rlim_cur);
  for (const auto& [code, reason] :
       {std::pair(2, "out of memory"), std::pair(304, "OS call failed or operation not supported on this OS")}) {
    sim::cuda::fail_call("cudaHostRegister", 0, code);
    EXPECT_EQ(device.allocate_staging(4000).error(),
              error(ErrorCode::out_of_memory,
                    "cudaHostRegister(4096 bytes) on device 0: {}; this process may lock {} (RLIMIT_MEMLOCK), and a container fewer",
                    reason, lockable));
  }
  sim::cuda::set_memory_limit(100'000);
  EXPECT_EQ(device.allocate_device(50'000).error(), error(ErrorCode::out_of_memory, "cudaMalloc(50000 bytes) on device 0: out of memory"));
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(4096).value();
  const Buffer staging = device.allocate_staging(4096).value();
  sim::cuda::fail_call("cudaMemcpyAsync", 0, 1);
  EXPECT_EQ(device.copy_in(staging.bytes, staging.owner, packed_block(memory.bytes.data(), {4096}, 1, MemoryKind::device), stream).error(),
            error(ErrorCode::io_error, "cudaMemcpyAsync(4096 bytes) on device 0, stream {}: invalid argument", stream.value));
}

TEST(CudaFaults, AnAsynchronousFailureIsTheWorksAndNotTheNextCalls) {
  Simulated world(4, sim::cuda::Pace::lazy);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(4096).value();
  const Buffer staging = device.allocate_staging(4096).value();
  sim::cuda::fail_operation(0, 700);
  ASSERT_TRUE(device.copy_out(packed_block(memory.bytes.data(), {4096}, 1, MemoryKind::device), staging.bytes, staging.owner, stream));
  const EventId done = device.record(stream).value();
  const Status failed = device.synchronize(done, world.soon());
  ASSERT_FALSE(failed);
  const std::string first = fmt::format(
      "cudaEventQuery on device 0, stream {}: an illegal memory access was encountered; work enqueued earlier lost the device to "
      "this process (under way on this stream: stage of 4096 bytes)",
      stream.value);
  EXPECT_EQ(failed.error(), error(ErrorCode::io_error, "{}", first));
  EXPECT_EQ(staging.bytes[0], std::byte{0xDB}) << "the copy never ran";
  EXPECT_EQ(device.create_stream().error(), error(ErrorCode::io_error, "device 0 was lost earlier: {}", first));
  EXPECT_EQ(device.record(stream).error(), error(ErrorCode::io_error, "device 0 was lost earlier: {}", first));
}

TEST(CudaFaults, ALostDeviceIsClosedWithoutLeaks) {
  for (std::uint64_t nth = 0; nth < 60; ++nth) {
    StillClock clock;
    sim::cuda::reset(nth);
    sim::cuda::fail_operation(nth, 719);
    const Status lived = whole_life(clock, nth);
    if (!lived) {
      EXPECT_NE(lived.error().message.find("unspecified launch failure"), std::string::npos) << lived.error().message;
    }
    EXPECT_EQ(fmt::format("{}", fmt::join(sim::cuda::report(), "\n")), "") << "operation " << nth;
  }
}

TEST(CudaTeardown, ADeviceClosedWithWorkUnderWayWaitsForItAndLeavesNothing) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Simulated world(seed);
    const RandomBlock block = blocks()[seed % 3];
    Buffer memory = world.device->allocate_device(block.bytes).value();
    const StridedBlock region = block.in(memory.bytes.data(), MemoryKind::device);
    Buffer staging = world.device->allocate_staging(region.bytes()).value();
    const auto digest = std::make_shared<TensorDigest>();
    const StreamId stream = world.device->create_stream().value();
    ASSERT_TRUE(world.device->copy_in(staging.bytes, staging.owner, region, stream));
    ASSERT_TRUE(world.device->digest(region, block.box, block.shape, block.dtype, digest.get(), digest, stream));
    ASSERT_TRUE(world.device->copy_out(region, staging.bytes, staging.owner, stream));
    (void)world.device->record(stream).value();
    if (seed % 2 == 0) world.device->destroy_stream(stream);
    world.device.reset();
    EXPECT_EQ(sim::cuda::live().queued_operations, 0u);
    EXPECT_EQ(digest.use_count(), 1);
    memory = staging = {};  // buffers may outlive the device
    EXPECT_EQ(world.close(), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace holdfast::testing_cuda

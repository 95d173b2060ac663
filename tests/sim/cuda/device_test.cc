#include "impl/backend/cuda/device.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "impl/backend/cuda/describe.h"
#include "impl/core/dtype.h"
#include "tests/conformance/device_cases.h"
#include "tests/sim/cuda/random_blocks.h"
#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

using backend::make_cuda_device;
using port::Buffer;
using port::EventId;
using port::StreamId;
using sim::cuda::Pace;

Dims dims(std::initializer_list<std::int64_t> sizes) { return Dims(sizes); }

TEST(CudaDevice, ConformsAtAnyPace) {
  for (const conformance::DeviceCase& device_case : conformance::device_cases()) {
    for (std::uint64_t seed = 0; seed < 12; ++seed) {
      Simulated world(seed);
      const Status held = device_case.run(*world.device, world.clock);
      EXPECT_TRUE(held) << device_case.name << ", seed " << seed << ": " << held.error().message;
      EXPECT_EQ(world.close(), "") << device_case.name << ", seed " << seed;
    }
  }
}

TEST(CudaDevice, MovesAndDigestsRandomBlocksOfEveryTypeAsTheHostDoes) {
  for (const DType dtype : all_dtypes()) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      Simulated world(seed);
      Random random(seed * 100 + static_cast<std::uint64_t>(dtype));
      const RandomBlock block = random_block(random, dtype);
      const Status held = check_block(*world.device, world.clock, block, seed);
      ASSERT_TRUE(held) << "seed " << seed << ": " << held.error().message;
      ASSERT_EQ(world.close(), "") << "seed " << seed << ": " << to_string(block);
    }
  }
}

TEST(CudaDevice, RandomBlocksTakeEveryWayToMove) {
  std::map<std::string, std::uint64_t> calls;
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    Simulated world(seed);
    Random random(seed);
    ASSERT_TRUE(check_block(*world.device, world.clock, random_block(random, DType::bf16), seed));
    for (const auto& [name, count] : sim::cuda::calls()) calls[name] += count;
  }
  for (const char* name : {"cudaMemcpyAsync", "cudaLaunchKernel", "cudaLaunchHostFunc"}) {
    EXPECT_GT(calls[name], 10u) << name;
  }
}

TEST(CudaDevice, PacksABlockLargerThanItsAreaSlabBySlab) {
  RandomBlock block;
  block.dtype = DType::f64;
  block.box = {dims({0, 0, 0}), dims({2, 3, 3 << 19})};
  block.shape = dims({2, 3, 3 << 19});
  constexpr std::int64_t row = (3 << 19) * 8 + 16;
  block.strides_bytes = dims({4 * row, row, 8});
  block.bytes = 8 * row;
  Simulated world(1);
  const Status held = check_block(*world.device, world.clock, block, 1);
  EXPECT_TRUE(held) << held.error().message;
  EXPECT_EQ(world.close(), "");
}

TEST(CudaDevice, HandlesBlocksInHostMemoryInStreamOrder) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Simulated world(seed);
    port::Device& device = *world.device;
    const StreamId stream = device.create_stream().value();
    const auto tensor = std::make_shared<Bytes>(4 * 6 * 2);
    const auto out = std::make_shared<Bytes>(4 * 3 * 2);
    const auto digest = std::make_shared<TensorDigest>();
    Random random(seed);
    Bytes source(tensor->size());
    fill(source, random);
    const StridedBlock whole = packed_block(tensor->data(), {4, 6}, 2);
    const StridedBlock part = narrow(whole, {0, 2}, {4, 3});
    const Box box{{0, 2}, {4, 3}};
    ASSERT_TRUE(device.copy_in(source, nullptr, whole, stream));
    ASSERT_TRUE(device.copy_out(part, *out, out, stream));
    ASSERT_TRUE(device.digest(part, box, {4, 6}, DType::bf16, digest.get(), digest, stream));
    const EventId done = device.record(stream).value();
    ASSERT_TRUE(device.synchronize(done, world.soon()));
    Bytes expected(out->size());
    const StridedBlock model = narrow(packed_block(source.data(), {4, 6}, 2), {0, 2}, {4, 3});
    copy_block(model, packed_block(expected.data(), {4, 3}, 2));
    EXPECT_EQ(*out, expected);
    EXPECT_EQ(*digest, tensor_digest(model, box, {4, 6}, DType::bf16));
    device.destroy_event(done);
    device.destroy_stream(stream);
    EXPECT_EQ(world.close(), "");
  }
}

TEST(CudaDevice, LeavesPoisonInTheDestinationUntilTheCopyRuns) {
  Simulated world(0, Pace::lazy);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(64).value();
  const Buffer staging = device.allocate_staging(64).value();
  const StridedBlock block = packed_block(memory.bytes.data(), {64}, 1, MemoryKind::device);
  EXPECT_EQ(staging.bytes[0], std::byte{0}) << "pages of the process's own, which the runtime leaves alone";
  std::ranges::fill(staging.bytes, std::byte{7});
  ASSERT_TRUE(device.copy_in(staging.bytes, staging.owner, block, stream));
  const Buffer back = device.allocate_staging(64).value();
  std::ranges::fill(back.bytes, std::byte{7});
  ASSERT_TRUE(device.copy_out(block, back.bytes, back.owner, stream));
  EXPECT_EQ(back.bytes[0], std::byte{0xDB}) << "bytes of an earlier use would hide a missing wait";
  const EventId done = device.record(stream).value();
  ASSERT_TRUE(device.synchronize(done, world.soon()));
  EXPECT_EQ(back.bytes[63], std::byte{7});
}

TEST(CudaDevice, KeepsOwnersUntilTheWorkHasEndedAndNoLonger) {
  Simulated world(0, Pace::lazy);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(64).value();
  Buffer staging = device.allocate_staging(64).value();
  const std::weak_ptr<void> alive = staging.owner;
  const StridedBlock block = packed_block(memory.bytes.data(), {64}, 1, MemoryKind::device);
  ASSERT_TRUE(device.copy_in(staging.bytes, staging.owner, block, stream));
  const EventId done = device.record(stream).value();
  staging = {};
  EXPECT_FALSE(alive.expired());
  ASSERT_TRUE(device.synchronize(done, world.soon()));
  EXPECT_TRUE(alive.expired());
}

TEST(CudaDevice, ADestroyedStreamsWorkStillRunsAndItsOwnersLiveUntilThen) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Simulated world(seed);
    port::Device& device = *world.device;
    Random random(seed);
    const RandomBlock block = random_block(random, DType::u16);
    Buffer memory = device.allocate_device(block.bytes).value();
    const StreamId first = device.create_stream().value();
    const StreamId second = device.create_stream().value();
    const StridedBlock region = block.in(memory.bytes.data(), MemoryKind::device);
    Buffer source = device.allocate_staging(region.bytes()).value();
    Buffer back = device.allocate_staging(region.bytes()).value();
    fill(source.bytes, random);
    const Bytes expected = to_bytes(source.bytes);
    ASSERT_TRUE(device.copy_in(source.bytes, source.owner, region, first));
    const EventId written = device.record(first).value();
    ASSERT_TRUE(device.wait(second, written));
    device.destroy_event(written);
    device.destroy_stream(first);
    source = {};
    ASSERT_TRUE(device.copy_out(region, back.bytes, back.owner, second));
    const EventId done = device.record(second).value();
    device.destroy_stream(second);
    ASSERT_TRUE(device.synchronize(done, world.soon()));
    EXPECT_TRUE(std::ranges::equal(expected, back.bytes)) << "seed " << seed;
    device.destroy_event(done);
    memory = back = {};
    EXPECT_EQ(world.close(), "") << "seed " << seed;
  }
}

TEST(CudaDevice, ReusesTheAreaOfAClosedStream) {
  Simulated world(3);
  Random random(5);
  RandomBlock block;
  block.dtype = DType::u8;
  block.box = {dims({0, 0}), dims({40, 3})};
  block.shape = dims({40, 3});
  block.strides_bytes = dims({5, 1});
  block.bytes = 200;
  for (std::uint64_t round = 0; round < 10; ++round) ASSERT_TRUE(check_block(*world.device, world.clock, block, round));
  const std::uint64_t before = sim::cuda::live().device_allocations;  // as many as streams were under way at once
  for (std::uint64_t round = 0; round < 50; ++round) ASSERT_TRUE(check_block(*world.device, world.clock, block, round));
  EXPECT_EQ(sim::cuda::live().device_allocations, before);
  EXPECT_EQ(world.close(), "");
}

TEST(CudaDevice, ReusesScratchMemoryOverManyRounds) {
  Simulated world(9);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(256).value();
  const Buffer image = device.allocate_staging(256).value();
  std::ranges::fill(image.bytes, std::byte{3});
  const StridedBlock block = packed_block(memory.bytes.data(), {64}, 4, MemoryKind::device);
  ASSERT_TRUE(device.copy_in(image.bytes, image.owner, block, stream));
  const auto digests = std::make_shared<std::vector<TensorDigest>>(300);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < digests->size(); ++i) {
      const Box box{{static_cast<std::int64_t>(i) * 64}, {64}};
      ASSERT_TRUE(device.digest(block, box, {300 * 64}, DType::f32, &(*digests)[i], digests, stream));
    }
    const EventId done = device.record(stream).value();
    ASSERT_TRUE(device.synchronize(done, world.soon()));
    device.destroy_event(done);
  }
  for (std::size_t i = 0; i < digests->size(); ++i) {
    const Box box{{static_cast<std::int64_t>(i) * 64}, {64}};
    ASSERT_EQ((*digests)[i], tensor_digest(packed_block(image.bytes.data(), {64}, 4), box, {300 * 64}, DType::f32));
  }
  EXPECT_EQ(sim::cuda::live().device_allocations, 1u + 1 + 1) << "the keys, the tensor and a page of scratch memory";
}

TEST(CudaDevice, RefusesADigestOfMisalignedElements) {
  Simulated world(0);
  const StreamId stream = world.device->create_stream().value();
  const Buffer memory = world.device->allocate_device(64).value();
  const StridedBlock block = packed_block(memory.bytes.data() + 2, {4}, 4, MemoryKind::device);
  TensorDigest digest;
  const Status refused = world.device->digest(block, {{0}, {4}}, {4}, DType::f32, &digest, nullptr, stream);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "digest of F32 elements on device 0: address or stride is not a multiple of 4");
}

TEST(CudaDevice, StagingIsPinnedAlignedAndGivenBack) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{5000}, (std::size_t{2} << 20) + 1}) {
    Simulated world(1);
    const std::uint64_t before = sim::cuda::live().pinned_allocations;
    Buffer staging = world.device->allocate_staging(bytes).value();
    EXPECT_EQ(staging.bytes.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(staging.bytes.data()) % (bytes < std::size_t{2} << 20 ? 4096u : 2u << 20), 0u);
    EXPECT_TRUE(std::ranges::all_of(staging.bytes, [](std::byte byte) { return byte == std::byte{0}; }));
    EXPECT_EQ(sim::cuda::live().pinned_allocations, before + 1);
    staging = {};
    EXPECT_EQ(sim::cuda::live().pinned_allocations, before);
    EXPECT_EQ(world.close(), "");
  }
}

TEST(CudaDevice, TimesOutAtTheDeadlineAndSaysWhatRuns) {
  Simulated world(0, Pace::lazy);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(64).value();
  const Buffer staging = device.allocate_staging(64).value();
  ASSERT_TRUE(device.copy_out(packed_block(memory.bytes.data(), {64}, 1, MemoryKind::device), staging.bytes, staging.owner, stream));
  const EventId done = device.record(stream).value();
  const Status late = device.synchronize(done, {world.clock.now()});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(),
            error(ErrorCode::timeout,
                  "event {} on device 0, stream {} is not complete at the deadline (under way on this stream: stage of 64 bytes)",
                  done.value, stream.value));
  EXPECT_TRUE(device.synchronize(done, world.soon()));
}

TEST(CudaDevice, PutsTheCallersDeviceBack) {
  sim::cuda::reset(1);
  sim::cuda::set_device_count(3);
  sim::cuda::Context rank{1, 0, {}};
  sim::cuda::Context* before = sim::cuda::switch_context(&rank);
  {
    StillClock clock;
    const auto device = make_cuda_device(2, clock).value();
    const Buffer memory = device->allocate_device(64).value();
    const StreamId stream = device->create_stream().value();
    const EventId done = device->record(stream).value();
    ASSERT_TRUE(device->synchronize(done, clock.after(std::chrono::seconds(1))));
    EXPECT_EQ(rank.device, 1);
  }
  EXPECT_EQ(rank.device, 1);
  EXPECT_TRUE(sim::cuda::report().empty());
  sim::cuda::switch_context(before);
}

TEST(CudaDevice, SaysWhyThereIsNoGpu) {
  StillClock clock;
  for (const auto& [code, text] :
       std::vector<std::pair<int, std::string>>{{35, "CUDA driver version is insufficient for CUDA runtime version (error 35)"},
                                                {34, "CUDA driver is a stub library (error 34)"},
                                                {100, "no CUDA-capable device is detected (error 100)"}}) {
    sim::cuda::reset(0);
    sim::cuda::fail_call("cudaGetDeviceCount", 0, code);
    const auto none = make_cuda_device(0, clock);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error(), error(ErrorCode::unsupported, "cudaGetDeviceCount: no GPU here: {}", text));
  }
  sim::cuda::reset(0);
  sim::cuda::set_device_count(0);
  EXPECT_EQ(make_cuda_device(0, clock).error(), error(ErrorCode::unsupported, "cudaGetDeviceCount: no GPU here: 0 devices"));
  sim::cuda::reset(0);
  sim::cuda::fail_call("cudaGetDeviceCount", 0, 719);
  EXPECT_EQ(make_cuda_device(0, clock).error(), error(ErrorCode::io_error, "cudaGetDeviceCount: unspecified launch failure (error 719)"));
  sim::cuda::reset(0);
  EXPECT_EQ(make_cuda_device(3, clock).error(), error(ErrorCode::invalid_argument, "CUDA device 3: this host has 1"));
}

TEST(CudaDevice, SaysWhatItIs) {
  sim::cuda::reset(0);
  const Result<std::string> text = backend::describe_cuda_device(0);
  ASSERT_TRUE(text);
  EXPECT_EQ(text->find("GPU 0: simulated, 1 GiB, compute capability 9.0, driver for CUDA "), 0u) << *text;
  EXPECT_EQ(backend::describe_cuda_device(1).error(), error(ErrorCode::invalid_argument, "CUDA device 1: this host has 1"));
}

}  // namespace
}  // namespace holdfast::testing_cuda

// Closing things in any order, with work under way, leaves nothing open and nothing misused; what failed is told of the work that was under way.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>

#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

using port::Buffer;
using port::EventId;
using port::StreamId;

constexpr std::size_t bytes = 4096;

StridedBlock block_of(const Buffer& memory) { return packed_block(memory.bytes.data(), {bytes}, 1, MemoryKind::device); }

/// What a user holds, each with work under way that uses it.
enum class Held : std::uint8_t { stream, event, view, staging, device };

TEST(CudaTeardown, InEveryOrderWithWorkUnderWayNothingIsLeftAndNothingMisused) {
  std::array order{Held::stream, Held::event, Held::view, Held::staging, Held::device};
  do {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      Simulated world(seed);
      Buffer memory = world.device->allocate_device(bytes).value();
      Buffer staging = world.device->allocate_staging(bytes).value();
      const auto digest = std::make_shared<TensorDigest>();
      const StreamId view = world.device->view_stream(nullptr).value();
      const StreamId stream = world.device->create_stream().value();
      ASSERT_TRUE(world.device->copy_in(staging.bytes, staging.owner, block_of(memory), view));
      const EventId event = world.device->record(view).value();
      ASSERT_TRUE(world.device->wait(stream, event));
      ASSERT_TRUE(world.device->digest(block_of(memory), {{0}, {bytes}}, {bytes}, DType::u8, digest.get(), digest, stream));
      ASSERT_TRUE(world.device->copy_out(block_of(memory), staging.bytes, staging.owner, stream));
      std::string told;
      for (const Held held : order) {
        told += fmt::format(" {}", static_cast<int>(held));
        if (held == Held::device) world.device.reset();
        if (held == Held::staging) staging = {};
        if (!world.device) continue;
        if (held == Held::stream) world.device->destroy_stream(stream);
        if (held == Held::view) world.device->destroy_stream(view);
        if (held == Held::event) world.device->destroy_event(event);
      }
      EXPECT_EQ(sim::cuda::live().queued_operations, 0u) << "order" << told;
      EXPECT_EQ(digest.use_count(), 1) << "order" << told;
      memory = {};  // the tensor's is the caller's to keep until the work on it has ended
      EXPECT_EQ(world.close(), "") << "order" << told << ", seed " << seed;
    }
  } while (std::ranges::next_permutation(order).found);
}

TEST(CudaTeardown, AStreamThatIsNotOpenIsNoStreamToRecordOn) {
  Simulated world(1);
  const StreamId stream = world.device->create_stream().value();
  world.device->destroy_stream(stream);
  EXPECT_EQ(world.device->record(stream).error(),
            error(ErrorCode::invalid_argument, "record an event: stream {} is not open on device 0", stream.value));
}

/// Three pieces of work on a stream, an event after each; the nth fails.
struct Failing {
  explicit Failing(std::uint64_t nth) : world(nth, sim::cuda::Pace::lazy), device(*world.device) {
    stream = device.create_stream().value();
    for (std::size_t i = 0; i < 3; ++i) {
      const std::size_t size = 100 + i;
      memory.push_back(device.allocate_device(size).value());
      staging.push_back(device.allocate_staging(size).value());
      EXPECT_TRUE(device.copy_out(packed_block(memory[i].bytes.data(), {static_cast<std::int64_t>(size)}, 1, MemoryKind::device),
                                  staging[i].bytes, staging[i].owner, stream));
      events.push_back(device.record(stream).value());
    }
    sim::cuda::fail_operation(2 * nth, 700);  // an event is one, too
  }

  /// What synchronize() of the nth event says is under way.
  std::string told(std::size_t nth) {
    const Status over = device.synchronize(events[nth], world.soon());
    if (over) return "";
    const std::string& message = over.error().message;
    const std::size_t begin = message.find("(under way on this stream: ");
    return begin == std::string::npos ? message : message.substr(begin);
  }

  Simulated world;
  port::Device& device;
  StreamId stream;
  std::vector<Buffer> memory, staging;
  std::vector<EventId> events;
};

TEST(CudaFailures, AnEventNamesTheWorkThatItStandsForAndNotWhatCameLater) {
  EXPECT_EQ(Failing(0).told(0), "(under way on this stream: stage of 100 bytes)");
  EXPECT_EQ(Failing(0).told(2), "(under way on this stream: stage of 100 bytes, stage of 101 bytes, stage of 102 bytes)");
}

TEST(CudaFailures, WorkThatIsKnownToHaveEndedIsNotNamed) {
  Failing second(1);
  EXPECT_EQ(second.told(0), "");
  EXPECT_EQ(second.told(2), "(under way on this stream: stage of 101 bytes, stage of 102 bytes)");
}

TEST(CudaFailures, ACallThatIsToldOfEarlierWorkNamesThatWorkAndNotItself) {
  Simulated world(1, sim::cuda::Pace::eager);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(bytes).value(), staging = device.allocate_staging(bytes).value();
  ASSERT_TRUE(device.copy_out(block_of(memory), staging.bytes, staging.owner, stream));
  sim::cuda::fail_call("cudaMemcpyAsync", 0, 700);
  const Status failed = device.copy_out(narrow(block_of(memory), {0}, {16}), staging.bytes.first(16), staging.owner, stream);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error(),
            error(ErrorCode::io_error,
                  "cudaMemcpyAsync(16 bytes) on device 0, stream {}: an illegal memory access was encountered; work enqueued earlier lost "
                  "the device to this process (under way on this stream: stage of 4096 bytes)",
                  stream.value));
}

TEST(CudaFailures, OfManyTheLastAreNamed) {
  Simulated world(1, sim::cuda::Pace::lazy);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(bytes).value(), staging = device.allocate_staging(bytes).value();
  for (std::size_t size = 1; size <= 5; ++size) {
    ASSERT_TRUE(device.copy_out(narrow(block_of(memory), {0}, {static_cast<std::int64_t>(size)}), staging.bytes.first(size), staging.owner,
                                stream));
  }
  const EventId done = device.record(stream).value();
  const Status late = device.synchronize(done, {world.clock.now()});
  EXPECT_EQ(late.error(), error(ErrorCode::timeout,
                                "event {} on device 0, stream {} is not complete at the deadline (under way on this stream: stage of 3 "
                                "bytes, stage of 4 bytes, stage of 5 bytes and 2 before)",
                                done.value, stream.value));
}

}  // namespace
}  // namespace holdfast::testing_cuda

// The NCCL back end on the real library: what it says where there is no GPU, and one rank's transfers to itself where there is one.
#include <gtest/gtest.h>

#include "impl/backend/cuda/device.h"
#include "impl/backend/host/clock.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/backend/nccl/data_plane.h"
#include "impl/backend/nccl/table.h"

namespace holdfast::testing_cuda {
namespace {

using namespace std::chrono_literals;
using backend::NcclLibrary;

/// The system's, else the one beside the header that the build found.
Result<NcclLibrary> open_library() {
  const std::string names[] = {"libnccl.so.2", NCCL_LIBRARY_OF_BUILD};
  return NcclLibrary::open(names);
}

/// One rank, whose control plane it does not need.
struct OneRank {
  backend::SteadyClock clock;
  backend::ThreadTasks tasks;
  backend::InProcessWorld world{1, {.message_bytes_max = 1 << 20}};
  std::shared_ptr<port::Unfinished> unfinished = std::make_shared<port::Unfinished>(tasks.make_monitor());

  Result<std::unique_ptr<backend::NcclDataPlane>> plane(const NcclLibrary& library) {
    return backend::make_nccl_data_plane(backend::nccl_table(library), 0, {world.net(Rank{0}), clock, tasks, unfinished});
  }
};

TEST(NcclLibraryHere, IsOpenedAndSaysItsVersion) {
  const auto library = open_library();
  if (!library) GTEST_SKIP() << library.error().message;
  EXPECT_GE(library->version(), backend::nccl_version_min);
  EXPECT_NE(library->path().find("nccl"), std::string::npos);
  const auto table = backend::nccl_table(*library);
  EXPECT_STREQ(table->get_error_string(ncclSuccess), "no error");
  std::printf("NCCL %s at %s\n", backend::nccl_version_text(library->version()).c_str(), library->path().c_str());
}

TEST(NcclLibraryHere, WithoutAGpuACommunicatorIsRefusedWithTheReason) {
  const auto library = open_library();
  if (!library) GTEST_SKIP() << library.error().message;
  const Result<int> gpus = backend::cuda_device_count();
  if (gpus) GTEST_SKIP() << "there is a GPU here";
  OneRank one;
  const auto plane = one.plane(*library);
  ASSERT_FALSE(plane);
  EXPECT_EQ(plane.error(), gpus.error());

  const auto table = backend::nccl_table(*library);
  ncclUniqueId id{};
  ncclComm_t communicator = nullptr;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t code = table->comm_init_rank_config(&communicator, 1, id, 0, &config);
  ASSERT_NE(code, ncclSuccess);
  const Error refused = backend::nccl_error(*table, code, nullptr, "ncclCommInitRankConfig");
  EXPECT_EQ(refused.code, ErrorCode::io_error);
  EXPECT_TRUE(refused.message.starts_with("ncclCommInitRankConfig: unhandled cuda error")) << refused.message;
}

TEST(NcclGpu, OneRankSendsItselfDeviceMemory) {
  const Result<int> gpus = backend::cuda_device_count();
  if (!gpus && gpus.error().code == ErrorCode::unsupported) GTEST_SKIP() << gpus.error().message;
  const auto library = open_library();
  if (!library) GTEST_SKIP() << library.error().message;
  OneRank one;
  const auto device = backend::make_cuda_device(0, one.clock).value();
  const auto plane = one.plane(*library).value();
  const port::StreamId stream = device->create_stream().value();
  const auto block = [](const port::Buffer& memory) {
    return packed_block(memory.bytes.data(), {static_cast<std::int64_t>(memory.bytes.size())}, 1, MemoryKind::device);
  };
  const auto finish = [&] {
    const port::EventId event = device->record(stream).value();
    EXPECT_TRUE(device->synchronize(event, one.clock.after(30s)));
    device->destroy_event(event);
  };
  for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
    constexpr std::size_t bytes = 10'000'019;
    const port::Buffer from = device->allocate_device(bytes).value(), to = device->allocate_device(bytes).value();
    const port::Buffer staging = device->allocate_staging(bytes).value(), back = device->allocate_staging(bytes).value();
    for (std::size_t i = 0; i < bytes; ++i) staging.bytes[i] = std::byte(static_cast<std::uint8_t>(i * 7 + i / 251 + sequence));
    ASSERT_TRUE(device->copy_in(staging.bytes, staging.owner, block(from), stream));
    finish();
    const port::Transfer send{Rank{0}, from.bytes, MemoryKind::device}, receive{Rank{0}, to.bytes, MemoryKind::device};
    const Status done = plane->exchange("self", sequence, {&send, 1}, {&receive, 1}, one.clock.after(60s));
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_TRUE(device->copy_out(block(to), back.bytes, back.owner, stream));
    finish();
    EXPECT_TRUE(std::ranges::equal(staging.bytes, back.bytes));
  }
  const Status closed = plane->close(one.clock.after(30s));
  EXPECT_TRUE(closed) << closed.error().message;
  EXPECT_TRUE(one.unfinished->empty());
  device->destroy_stream(stream);
}

}  // namespace
}  // namespace holdfast::testing_cuda

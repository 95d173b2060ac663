// The conformance cases on the real back ends.
#include <gtest/gtest.h>

#include <vector>

#include "impl/backend/decorators/counting_storage.h"
#include "impl/backend/decorators/faulty_storage.h"
#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/backend/tcp/world.h"
#include "tests/conformance/device_cases.h"
#include "tests/conformance/group_cases.h"
#include "tests/conformance/storage_cases.h"
#include "tests/impl/backend/posix/engines.h"
#include "tests/impl/backend/tcp/group.h"
#include "tests/impl/backend/temporary_directory.h"

namespace holdfast::conformance {
namespace {

constexpr port::Duration patience{300'000'000'000};

const auto name_of = [](const auto& info) { return std::string(info.param.name); };

/// Every case on every engine.
class PosixStorageConforms : public testing::TestWithParam<std::tuple<test::EngineCase, StorageCase>> {};

TEST_P(PosixStorageConforms, To) {
  const auto& [engine, storage_case] = GetParam();
  const test::TemporaryDirectory directory;
  backend::SteadyClock clock;
  const auto opened = backend::PosixStorage::open_root(directory.path(), {.engine = engine.options});
  if (!opened) GTEST_SKIP() << opened.error().message;
  const std::unique_ptr<backend::PosixStorage>& storage = *opened;
  const Status held = storage_case.run(*storage, clock);
  EXPECT_TRUE(held) << held.error().message;
  EXPECT_EQ(storage->live_files(), 0u);
  EXPECT_EQ(storage->engine(), engine.text);
}
std::string engine_and_case(const testing::TestParamInfo<PosixStorageConforms::ParamType>& both) {
  return fmt::format("{}_{}", std::get<0>(both.param).name, std::get<1>(both.param).name);
}
INSTANTIATE_TEST_SUITE_P(Storage, PosixStorageConforms,
                         testing::Combine(testing::ValuesIn(test::all_engines),
                                          testing::ValuesIn(storage_cases().begin(), storage_cases().end())),
                         engine_and_case);

class DecoratedStorageConforms : public testing::TestWithParam<StorageCase> {};

TEST_P(DecoratedStorageConforms, To) {
  const test::TemporaryDirectory directory;
  backend::SteadyClock clock;
  const auto storage = backend::PosixStorage::open_root(directory.path()).value();
  backend::FaultyStorage faulty(*storage);
  backend::CountingStorage counting(faulty);
  const Status held = GetParam().run(counting, clock);
  EXPECT_TRUE(held) << held.error().message;
  EXPECT_GT(counting.calls(), 0u);
}
INSTANTIATE_TEST_SUITE_P(Storage, DecoratedStorageConforms, testing::ValuesIn(storage_cases().begin(), storage_cases().end()), name_of);

class InProcessWorldConforms : public testing::TestWithParam<GroupCase> {};

TEST_P(InProcessWorldConforms, To) {
  const int world_size = GetParam().world_size;
  backend::InProcessWorld world(world_size, {.message_bytes_max = 1 << 20});
  backend::SteadyClock clock;
  backend::ThreadTasks tasks;
  std::vector<Status> results(static_cast<std::size_t>(world_size));
  std::vector<port::TaskId> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.push_back(tasks
                        .spawn(fmt::format("rank {}", rank),
                               [&, rank] {
                                 const GroupDoors doors{world.net(Rank{rank}), world.data(Rank{rank}), clock};
                                 results[static_cast<std::size_t>(rank)] = GetParam().rank_main(doors);
                                 world.leave(Rank{rank});
                               })
                        .value());
  }
  for (const port::TaskId rank : ranks) ASSERT_TRUE(tasks.join(rank, clock.after(patience)));
  for (int rank = 0; rank < world_size; ++rank) {
    const Status& held = results[static_cast<std::size_t>(rank)];
    EXPECT_TRUE(held) << "rank " << rank << ": " << held.error().message;
  }
}
INSTANTIATE_TEST_SUITE_P(Group, InProcessWorldConforms, testing::ValuesIn(group_cases().begin(), group_cases().end()), name_of);

class TcpWorldConforms : public testing::TestWithParam<GroupCase> {};

TEST_P(TcpWorldConforms, To) {
  const int world_size = GetParam().world_size;
  test::Worlds worlds = test::join_all(world_size, {.message_bytes_max = 1 << 20});
  backend::SteadyClock clock;
  backend::ThreadTasks tasks;
  std::vector<Status> results(static_cast<std::size_t>(world_size));
  std::vector<port::TaskId> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    const auto index = static_cast<std::size_t>(rank);
    ranks.push_back(tasks
                        .spawn(fmt::format("rank {}", rank),
                               [&, index] {
                                 const GroupDoors doors{worlds[index]->net(), worlds[index]->data(), clock};
                                 results[index] = GetParam().rank_main(doors);
                                 const Status left = worlds[index]->leave(clock.after(patience));
                                 if (results[index]) results[index] = left;
                               })
                        .value());
  }
  for (const port::TaskId rank : ranks) ASSERT_TRUE(tasks.join(rank, clock.after(patience)));
  for (int rank = 0; rank < world_size; ++rank) {
    const Status& held = results[static_cast<std::size_t>(rank)];
    EXPECT_TRUE(held) << "rank " << rank << ": " << held.error().message;
  }
}
INSTANTIATE_TEST_SUITE_P(Group, TcpWorldConforms, testing::ValuesIn(group_cases().begin(), group_cases().end()), name_of);

void run_device_case(const DeviceCase& device_case, backend::StreamMode mode) {
  backend::SteadyClock clock;
  backend::HostDevice device({.streams = mode});
  const Status held = device_case.run(device, clock);
  EXPECT_TRUE(held) << held.error().message;
  EXPECT_EQ(device.live_buffers(), 0u);
  EXPECT_EQ(device.live_streams(), 0u);
  EXPECT_EQ(device.live_events(), 0u);
}

class HostDeviceConforms : public testing::TestWithParam<DeviceCase> {};

TEST_P(HostDeviceConforms, Eagerly) { run_device_case(GetParam(), backend::StreamMode::eager); }
TEST_P(HostDeviceConforms, Lazily) { run_device_case(GetParam(), backend::StreamMode::lazy); }
INSTANTIATE_TEST_SUITE_P(Device, HostDeviceConforms, testing::ValuesIn(device_cases().begin(), device_cases().end()), name_of);

}  // namespace
}  // namespace holdfast::conformance

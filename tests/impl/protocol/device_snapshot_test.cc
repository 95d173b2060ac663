// Copies of tensors in device memory: where they lie, how long, and when there are none.
#include "impl/protocol/device_snapshot.h"

#include <gtest/gtest.h>

#include <deque>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/protocol/staging.h"
#include "impl/protocol/staging_pool.h"

namespace holdfast::protocol {
namespace {

using std::chrono_literals::operator""s;

constexpr SnapshotLimits unlimited{1 << 20, 1 << 20, 1 << 20};

class DeviceSnapshot : public testing::Test {
 protected:
  DeviceSnapshot() { limit(1 << 20); }
  /// Device memory is the host's here, and the host digests it.
  static TensorDigest digest_of(StridedBlock block) {
    block.kind = MemoryKind::host;
    return tensor_digest(block, {Dims(1, 0), block.sizes}, block.sizes, DType::u8);
  }
  /// A device anew, of so much memory.
  void limit(std::size_t bytes) {
    stager.reset();
    pool.reset();
    device = std::make_unique<backend::HostDevice>(backend::HostDeviceOptions{.memory_bytes_max = bytes});
    env.emplace(port::Env{world.net(Rank{0}), world.data(Rank{0}), *storage, *device, clock, tasks});
    pool.emplace(*device, tasks);
    stager.emplace(Stager::open(*env, {}, clock.after(60s)).value());
  }
  /// A tensor of so many bytes, all `value`.
  void add(std::int64_t bytes, std::byte value, MemoryKind kind = MemoryKind::device) {
    memory.push_back(Bytes(static_cast<std::size_t>(bytes), value));
    tensors.push_back({packed_block(memory.back().data(), {bytes}, 1, kind), {{0}, {bytes}}, {bytes}, DType::u8});
  }
  Result<std::optional<std::vector<TensorCopy>>> take(const SnapshotLimits& limits) {
    return take_snapshot(*stager, *pool, tensors, limits);
  }
  void expect_none(const SnapshotLimits& limits) {
    const auto copies = take(limits);
    ASSERT_TRUE(copies) << copies.error().message;
    EXPECT_FALSE(*copies);
    EXPECT_EQ(pool->device_bytes(), 0u);
    EXPECT_EQ(pool->held_bytes(), 0u);
  }

  backend::SteadyClock clock;
  backend::ThreadTasks tasks;
  backend::InProcessWorld world{1};
  std::unique_ptr<backend::PosixStorage> storage = *backend::PosixStorage::open_root("/tmp");
  std::unique_ptr<backend::HostDevice> device;
  std::optional<port::Env> env;
  std::optional<StagingPool> pool;
  std::optional<Stager> stager;
  std::deque<Bytes> memory;
  std::vector<port::StageItem> tensors;
};

TEST_F(DeviceSnapshot, HoldsCopiesWithTheDigestsOfTheTensorsAndFreesThemAsTheyGo) {
  for (int i = 0; i < 8; ++i) add(1024, static_cast<std::byte>(i));
  add(0, std::byte{0});
  auto copies = take(unlimited).value();
  ASSERT_TRUE(copies);
  EXPECT_EQ(pool->device_bytes(), 8192u);
  EXPECT_EQ(device->live_buffers(), 4u) << "a quarter each";
  for (std::size_t i = 0; i < 8; ++i) {
    const TensorCopy& copy = (*copies)[i];
    EXPECT_EQ(ByteView(copy.memory.data, 1024)[7], static_cast<std::byte>(i));
    EXPECT_EQ(copy.memory.kind, MemoryKind::device);
    EXPECT_EQ(copy.digest, digest_of(tensors[i].source));
  }
  EXPECT_FALSE((*copies)[8].owner);
  (*copies)[0].owner.reset();
  EXPECT_EQ(pool->device_bytes(), 8192u);
  (*copies)[1].owner.reset();
  EXPECT_EQ(pool->device_bytes(), 6144u);
  copies.reset();
  EXPECT_EQ(pool->device_bytes(), 0u);
  EXPECT_EQ(device->live_buffers(), 0u);
}

TEST_F(DeviceSnapshot, PutsEachCopyWhereAnAllocationOfItsOwnWouldLie) {
  for (const std::int64_t bytes : {3, 1, 257, 5}) add(bytes, std::byte{1});
  const auto copies = take(unlimited).value();
  ASSERT_TRUE(copies);
  EXPECT_EQ(pool->device_bytes(), 5u * 256);
  for (const TensorCopy& copy : *copies) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(copy.memory.data) % 256, 0u);
}

TEST_F(DeviceSnapshot, CopiesWhatLiesOnTheHostToStaging) {
  add(300, std::byte{1});
  add(500, std::byte{2}, MemoryKind::host);
  const auto copies = take(unlimited).value();
  ASSERT_TRUE(copies);
  EXPECT_EQ(pool->device_bytes(), 512u);
  EXPECT_EQ(pool->held_bytes(), 512u);
  EXPECT_EQ((*copies)[1].memory.kind, MemoryKind::host);
  EXPECT_EQ((*copies)[1].digest, digest_of(tensors[1].source));
}

TEST_F(DeviceSnapshot, ThereIsNoneWithoutATensorOfTheDeviceOrWithoutRoom) {
  add(500, std::byte{2}, MemoryKind::host);
  expect_none(unlimited);
  add(1000, std::byte{1});
  expect_none({1023, 1 << 20, 1 << 20});
  expect_none({1 << 20, 511, 1 << 20});
  expect_none({1 << 20, 1 << 20, 511});
  EXPECT_TRUE(take({1024, 512, 512}).value());
  limit(1000);
  expect_none(unlimited);
  limit(1024);  // not for the staging of the other one
  tensors = {tensors[1], tensors[0]};
  const auto copies = take(unlimited);
  ASSERT_TRUE(copies) << copies.error().message;
  EXPECT_FALSE(*copies);
}

TEST_F(DeviceSnapshot, ThePoolBoundsWhatItsSnapshotsHoldTogether) {
  const auto first = pool->try_allocate_device(600, 1000).value();
  EXPECT_TRUE(first);
  EXPECT_FALSE(pool->try_allocate_device(401, 1000).value());
  EXPECT_FALSE(pool->try_allocate_device(1, 500).value());
  EXPECT_TRUE(pool->try_allocate_device(400, 1000).value());
  EXPECT_EQ(pool->device_bytes(), 600u);
}

TEST_F(DeviceSnapshot, IsComparedWithTheTensorsDigestWhenTheLastOfItIsStaged) {
  add(600, std::byte{3});
  auto copies = take(unlimited).value();
  const format::SegmentTensor stored{"a", DType::u8, {600}, {{0}, {600}}, 0, 0, 0};
  const format::SegmentLayout layout = format::lay_out_segment({stored}, 256).value();
  SegmentDigests digests;
  digests.snapshot = {copies->front().digest};
  copies->front().memory.data[10] = std::byte{4};
  const TensorDigest changed = digest_of(copies->front().memory);
  const port::Buffer staging = device->allocate_staging(600).value();
  const std::vector<StridedBlock> from{copies->front().memory};
  ASSERT_TRUE(stager->stage(layout, from, 0, staging.bytes.first(400), staging.owner, digests));
  EXPECT_EQ(stager->stage(layout, from, 400, staging.bytes.subspan(400), staging.owner, digests).error(),
            error(ErrorCode::corrupt, "stage the snapshot of \"a\" box [0]+[600]: it has digest {}, the tensor had {}", to_string(changed),
                  to_string(digests.snapshot[0])));
}

}  // namespace
}  // namespace holdfast::protocol

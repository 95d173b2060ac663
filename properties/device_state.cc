#include "properties/device_state.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::properties {
namespace {

StridedBlock raw(std::byte* data, std::size_t bytes) {
  return packed_block(data, {static_cast<std::int64_t>(bytes)}, 1, MemoryKind::device);
}

port::Buffer staging(const port::Env& env, std::size_t bytes) {
  auto buffer = env.device.allocate_staging(bytes);
  CHECK(buffer.has_value(), "{}", buffer.error());
  return *std::move(buffer);
}

/// Runs `enqueue` on a stream and waits.
template <typename Enqueue>
void now(const port::Env& env, Enqueue enqueue) {
  const auto stream = env.device.create_stream();
  CHECK(stream.has_value(), "{}", stream.error());
  const Status enqueued = enqueue(*stream);
  CHECK(enqueued.has_value(), "{}", enqueued.error());
  const auto event = env.device.record(*stream);
  CHECK(event.has_value(), "{}", event.error());
  const Status waited = env.device.synchronize(*event, env.clock.after(std::chrono::seconds(60)));
  CHECK(waited.has_value(), "{}", waited.error());
  env.device.destroy_event(*event);
  env.device.destroy_stream(*stream);
}

}  // namespace

DeviceState::DeviceState(gen::RankState& state, const port::Env& env, std::size_t every) : state_(state), env_(env) {
  for (Bytes& host : state_.memory) {
    Moved& moved = moved_.emplace_back(Moved{&host, {}});
    if (every != 0 && (moved_.size() - 1) % every == 0) continue;
    auto device = env_.device.allocate_device(host.size());
    CHECK(device.has_value(), "{}", device.error());
    moved.device = *std::move(device);
  }
  for (auto& [name, numbers] : state_.memory_of) {
    auto& shards = std::get<TensorEntry>(*state_.dict.find(name)).shards;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      if (moved_[numbers[i]].device.owner) shards_.push_back({&shards[i], numbers[i], shards[i].memory.data});
    }
  }
  upload();
  for (const MovedShard& shard : shards_) {
    const Moved& moved = moved_[shard.memory];
    shard.shard->memory.data = moved.device.bytes.data() + (shard.host_data - moved.host->data());
    shard.shard->memory.kind = moved.device.kind;
  }
}

void DeviceState::upload() {
  now(env_, [&](port::StreamId stream) -> Status {
    for (const Moved& moved : moved_) {
      if (!moved.device.owner) continue;
      TRY(env_.device.copy_in(*moved.host, std::make_shared<int>(), raw(moved.device.bytes.data(), moved.host->size()), stream));
    }
    return {};
  });
}

void DeviceState::download() {
  now(env_, [&](port::StreamId stream) -> Status {
    for (const Moved& moved : moved_) {
      if (!moved.device.owner) continue;
      TRY(env_.device.copy_out(raw(moved.device.bytes.data(), moved.host->size()), *moved.host, std::make_shared<int>(), stream));
    }
    return {};
  });
  for (const MovedShard& shard : shards_) {
    shard.shard->memory.data = shard.host_data;
    shard.shard->memory.kind = MemoryKind::host;
  }
}

void DeviceState::enqueue_upload(port::StreamId stream) {
  for (const Moved& moved : moved_) {
    const port::Buffer image = staging(env_, moved.host->size());
    std::ranges::copy(*moved.host, image.bytes.begin());
    const Status enqueued = env_.device.copy_in(image.bytes, image.owner, raw(moved.device.bytes.data(), image.bytes.size()), stream);
    CHECK(enqueued.has_value(), "{}", enqueued.error());
  }
}

std::vector<port::Buffer> DeviceState::enqueue_reading(port::StreamId stream) {
  std::vector<port::Buffer> images;
  for (const Moved& moved : moved_) {
    const port::Buffer& image = images.emplace_back(staging(env_, moved.host->size()));
    const Status enqueued = env_.device.copy_out(raw(moved.device.bytes.data(), image.bytes.size()), image.bytes, image.owner, stream);
    CHECK(enqueued.has_value(), "{}", enqueued.error());
  }
  return images;
}

}  // namespace holdfast::properties

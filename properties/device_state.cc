#include "properties/device_state.h"

#include "impl/core/check.h"

namespace holdfast::properties {
namespace {

StridedBlock raw(std::byte* data, std::size_t bytes) {
  return packed_block(data, {static_cast<std::int64_t>(bytes)}, 1, MemoryKind::device);
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

DeviceState::DeviceState(gen::RankState& state, const port::Env& env) : state_(state), env_(env) {
  std::size_t memory = 0;
  for (auto& [name, entry] : state_.dict.entries()) {
    auto* tensor = std::get_if<TensorEntry>(&entry);
    if (!tensor) continue;
    for (LocalShard& shard : tensor->shards) {
      Bytes& host = state_.memory[memory++];
      auto device = env_.device.allocate_device(host.size());
      CHECK(device.has_value(), "{}", device.error());
      moved_.push_back({&shard, &host, shard.memory.data, *std::move(device)});
    }
  }
  now(env_, [&](port::StreamId stream) -> Status {
    for (Moved& moved : moved_) {
      TRY(env_.device.copy_in(*moved.host, std::make_shared<int>(), raw(moved.device.bytes.data(), moved.host->size()), stream));
      moved.shard->memory.data = moved.device.bytes.data() + (moved.host_data - moved.host->data());
      moved.shard->memory.kind = moved.device.kind;
    }
    return {};
  });
}

void DeviceState::download() {
  now(env_, [&](port::StreamId stream) -> Status {
    for (Moved& moved : moved_) {
      TRY(env_.device.copy_out(raw(moved.device.bytes.data(), moved.host->size()), *moved.host, std::make_shared<int>(), stream));
      moved.shard->memory.data = moved.host_data;
      moved.shard->memory.kind = MemoryKind::host;
    }
    return {};
  });
}

}  // namespace holdfast::properties

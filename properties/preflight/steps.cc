#include "properties/preflight/steps.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "impl/core/encoding.h"

namespace holdfast::properties {
namespace {

constexpr std::uint32_t up = 201, down = 202, ping = 203, pong = 204;  // channels
constexpr port::Duration step_limit = std::chrono::minutes(1), lag_max = std::chrono::seconds(30);
constexpr std::size_t small_bytes = 4096;
const std::string directory = "preflight";

std::string file_of(std::string_view what, Rank rank) { return fmt::format("{}/{}-{}", directory, what, rank); }

/// Bytes that only `from` writes for `to`.
Bytes pattern(Rank from, Rank to, std::size_t size) {
  Bytes bytes(size);
  std::uint64_t noise = static_cast<std::uint64_t>(from.value) * 1'000'003 + static_cast<std::uint64_t>(to.value) + 1;
  for (std::size_t at = 0; at < size; at += sizeof noise) {
    noise = noise * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(bytes.data() + at, &noise, std::min(sizeof noise, size - at));
  }
  return bytes;
}

Status expect_pattern(ByteView found, Rank from, Rank to, std::string_view what) {
  const Bytes expected = pattern(from, to, found.size());
  const auto [at, in] = std::ranges::mismatch(found, expected);
  if (at == found.end()) return {};
  return fail(ErrorCode::corrupt, "{}: byte {} of {} is {:#04x}, expected {:#04x}", what, at - found.begin(), found.size(),
              static_cast<unsigned>(*at), static_cast<unsigned>(*in));
}

double seconds(port::Duration time) { return std::chrono::duration<double>(time).count(); }
std::string speed(std::size_t bytes, port::Duration time) {
  return fmt::format("{:.2f} GB/s", static_cast<double>(bytes) / 1e9 / std::max(seconds(time), 1e-9));
}
std::string milliseconds(port::Duration time) { return fmt::format("{:.2f} ms", seconds(time) * 1e3); }

port::Duration median(std::vector<port::Duration> times) {
  std::ranges::sort(times);
  return times[times.size() / 2];
}

// ---- ranks ---------------------------------------------------------------------------------------------------------------------------

Result<std::string> hear_each_other(Trial& trial) {
  constexpr std::uint64_t rounds = 20;
  TRY(trial.meet());
  const port::Deadline deadline = trial.soon();
  port::Net& net = trial.env.net;
  std::vector<port::Duration> times;
  for (std::uint64_t round = 1; round <= rounds; ++round) {
    for (Rank rank{1}; rank.value < trial.ranks(); ++rank.value) {
      if (trial.self() == Rank{0}) {
        const port::TimePoint begin = trial.env.clock.now();
        TRY(net.send(rank, {ping, round}, Bytes(1), deadline));
        TRY(net.receive(rank, {pong, round}, deadline));
        times.push_back(trial.env.clock.now() - begin);
      } else if (trial.self() == rank) {
        TRY(net.receive(Rank{0}, {ping, round}, deadline));
        TRY(net.send(Rank{0}, {pong, round}, Bytes(1), deadline));
      }
    }
  }
  if (times.empty()) return fmt::format("{} rank{}", trial.ranks(), trial.ranks() == 1 ? "" : "s");
  return fmt::format("{} ranks, {:.0f} us there and back", trial.ranks(), seconds(median(times)) * 1e6);
}

// ---- devices -------------------------------------------------------------------------------------------------------------------------

Status wait_for(const port::Env& env, port::StreamId stream, port::Deadline deadline) {
  const port::EventId event = TRY(env.device.record(stream));
  const Status done = env.device.synchronize(event, deadline);
  env.device.destroy_event(event);
  return done;
}

/// A stream of the device while this lives.
class OpenStream {
 public:
  static Result<OpenStream> open(port::Device& device) { return OpenStream(device, TRY(device.create_stream())); }
  OpenStream(OpenStream&& other) noexcept : device_(std::exchange(other.device_, nullptr)), id_(other.id_) {}
  OpenStream& operator=(OpenStream&&) = delete;
  ~OpenStream() {
    if (device_) device_->destroy_stream(id_);
  }
  port::StreamId id() const { return id_; }

 private:
  OpenStream(port::Device& device, port::StreamId id) : device_(&device), id_(id) {}
  port::Device* device_;
  port::StreamId id_;
};

StridedBlock block_of(const port::Buffer& buffer) {
  return packed_block(buffer.bytes.data(), {static_cast<std::int64_t>(buffer.bytes.size())}, 1, buffer.kind);
}

Result<port::Buffer> allocate(const port::Env& env, MemoryKind kind, std::size_t bytes) {
  return kind == MemoryKind::device ? env.device.allocate_device(bytes) : env.device.allocate_staging(bytes);
}

/// Copies between host memory and a buffer that may be a device's.
Status upload(const port::Env& env, ByteView from, const port::Buffer& to, port::Deadline deadline) {
  const port::Buffer staging = TRY(env.device.allocate_staging(from.size()));
  std::ranges::copy(from, staging.bytes.begin());
  const OpenStream stream = TRY(OpenStream::open(env.device));
  TRY(env.device.copy_in(staging.bytes, staging.owner, block_of(to), stream.id()));
  return wait_for(env, stream.id(), deadline);
}

Result<Bytes> download(const port::Env& env, const port::Buffer& from, port::Deadline deadline) {
  const port::Buffer staging = TRY(env.device.allocate_staging(from.bytes.size()));
  const OpenStream stream = TRY(OpenStream::open(env.device));
  TRY(env.device.copy_out(block_of(from), staging.bytes, staging.owner, stream.id()));
  TRY(wait_for(env, stream.id(), deadline));
  return to_bytes(staging.bytes);
}

struct DeviceDigests {
  TensorDigest in, out;
};

Result<std::string> devices_give_back(Trial& trial) {
  const port::Env& env = trial.env;
  const port::Deadline deadline = trial.soon();
  const Bytes sent = pattern(trial.self(), trial.self(), trial.size.device_bytes);
  const port::Buffer memory = TRY(env.device.allocate_device(sent.size()));
  const port::Buffer staging = TRY(env.device.allocate_staging(sent.size()));
  std::ranges::copy(sent, staging.bytes.begin());
  const StridedBlock block = block_of(memory), source = packed_block(staging.bytes.data(), block.sizes, 1);
  const Box whole{{0}, block.sizes};
  const auto digests = std::make_shared<DeviceDigests>();
  const auto kept = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<DeviceDigests>>>(staging.owner, digests);
  const OpenStream stream = TRY(OpenStream::open(env.device));
  const port::TimePoint begin = env.clock.now();
  const port::UnstageItem in{source, whole, block.sizes, DType::u8, block, &digests->in};
  TRY(env.device.unstage({&in, 1}, kept, stream.id()));
  TRY(wait_for(env, stream.id(), deadline));
  const port::TimePoint between = env.clock.now();
  std::ranges::fill(staging.bytes, std::byte{0});
  const port::StageItem out{block, whole, block.sizes, DType::u8, staging.bytes, &digests->out};
  TRY(env.device.stage({&out, 1}, kept, stream.id()));
  TRY(wait_for(env, stream.id(), deadline));
  const port::TimePoint end = env.clock.now();
  TRY(expect_pattern(staging.bytes, trial.self(), trial.self(), "device memory, read back"));
  const TensorDigest expected = tensor_digest(source, whole, block.sizes, DType::u8);
  for (const auto& [found, way] : {std::pair(digests->in, "in"), std::pair(digests->out, "out")}) {
    if (found != expected)
      return fail(ErrorCode::corrupt, "digest of {} bytes by the device on the way {}: {}, expected {}", sent.size(), way, to_string(found),
                  to_string(expected));
  }
  TRY(trial.meet());
  return fmt::format("{} bytes a rank: in {}, out {}, digests on", sent.size(), speed(sent.size(), between - begin),
                     speed(sent.size(), end - between));
}

// ---- data plane ----------------------------------------------------------------------------------------------------------------------

Result<std::string> all_pairs_exchange(Trial& trial) {
  const port::Env& env = trial.env;
  const port::Deadline deadline = trial.soon();
  const std::size_t bytes =
      std::min(trial.size.pair_bytes, trial.size.sent_bytes / static_cast<std::size_t>(std::max(1, trial.ranks() - 1)));
  const MemoryKind kind = env.data.memory();
  std::vector<port::Buffer> sent, received;
  std::vector<port::Transfer> sends, receives;
  for (Rank peer{0}; peer.value < trial.ranks(); ++peer.value) {
    if (peer == trial.self()) continue;
    sent.push_back(TRY(allocate(env, kind, bytes)));
    received.push_back(TRY(allocate(env, kind, bytes)));
    TRY(upload(env, pattern(trial.self(), peer, bytes), sent.back(), deadline));
    sends.push_back({peer, sent.back().bytes, kind});
    receives.push_back({peer, received.back().bytes, kind});
  }
  if (sends.empty()) return "one rank: nothing to exchange";
  std::vector<port::Duration> times;
  for (std::uint64_t round = 1; round <= 3; ++round) {
    TRY(trial.meet());
    const port::TimePoint begin = env.clock.now();
    TRY(env.data.exchange("preflight", round, sends, receives, deadline));
    times.push_back(env.clock.now() - begin);
  }
  for (std::size_t i = 0; i < receives.size(); ++i) {
    const Bytes found = TRY(download(env, received[i], deadline));
    TRY(expect_pattern(found, receives[i].peer, trial.self(), fmt::format("what rank {} sent", receives[i].peer)));
  }
  TRY(trial.meet());
  return fmt::format("{} bytes a pair of {} memory: {} sent a rank", bytes, kind == MemoryKind::device ? "device" : "host",
                     speed(bytes * sends.size(), median(times)));
}

// ---- storage -------------------------------------------------------------------------------------------------------------------------

/// Uses an open file, and closes it however that went.
template <typename Use>
auto using_file(port::Storage& storage, port::FileId file, Use use) -> decltype(use()) {
  auto used = use();
  const Status closed = storage.close(file);
  if (used && !closed) return fail(closed.error());
  return used;
}

Status write_file(Trial& trial, const std::string& path, Bytes bytes) {
  port::Storage& storage = trial.env.storage;
  const port::Deadline deadline = trial.soon();
  const port::FileId file = TRY(storage.create(path, deadline));
  const SharedBytes shared(std::move(bytes));
  const port::WritePiece piece{0, shared.view(), shared.owner()};
  return using_file(storage, file, [&]() -> Status {
    TRY(storage.write_all(file, {&piece, 1}, deadline));
    return storage.sync(file, deadline);
  });
}

Result<Bytes> read_file(Trial& trial, const std::string& path) {
  port::Storage& storage = trial.env.storage;
  const port::Deadline deadline = trial.soon();
  const port::FileId file = TRY(storage.open(path, deadline));
  return using_file(storage, file, [&]() -> Result<Bytes> {
    const auto bytes = std::make_shared<Bytes>(static_cast<std::size_t>(TRY(storage.size(file, deadline))));
    const port::ReadPiece piece{0, {bytes->data(), bytes->size()}, bytes};
    TRY(storage.read_all(file, {&piece, 1}, deadline));
    return std::move(*bytes);
  });
}

/// How long until this rank sees a file that is there; timeout.
Result<port::Duration> lag_of(Trial& trial, const std::string& path) {
  const port::TimePoint begin = trial.env.clock.now();
  for (;;) {
    auto file = trial.env.storage.open(path, trial.soon());
    if (file) TRY(trial.env.storage.close(*file));
    const port::Duration passed = trial.env.clock.now() - begin;
    if (file) return passed;
    if (file.error().code != ErrorCode::not_found) return fail(std::move(file).error());
    if (passed > lag_max)
      return fail(ErrorCode::timeout, "\"{}\", which another rank has written and synced, is not there after {}", path,
                  milliseconds(passed));
    trial.env.clock.sleep_until(trial.env.clock.now() + std::chrono::milliseconds(1));
  }
}

Result<std::string> all_see_the_storage(Trial& trial) {
  port::Storage& storage = trial.env.storage;
  if (trial.self() == Rank{0}) {
    TRY(storage.make_directory(directory, trial.soon()));
    TRY(storage.sync_directory("", trial.soon()));
  }
  TRY(trial.meet());
  TRY(write_file(trial, file_of("seen", trial.self()), pattern(trial.self(), trial.self(), small_bytes)));
  TRY(storage.sync_directory(directory, trial.soon()));
  TRY(trial.meet());
  port::Duration lag{0};
  for (Rank rank{0}; rank.value < trial.ranks(); ++rank.value) {
    lag = std::max(lag, TRY(lag_of(trial, file_of("seen", rank))));
    const Bytes found = TRY(read_file(trial, file_of("seen", rank)));
    if (found.size() != small_bytes)
      return fail(ErrorCode::corrupt, "the file of rank {} has {} bytes here, expected {}", rank, found.size(), small_bytes);
    TRY(expect_pattern(found, rank, rank, fmt::format("the file of rank {}", rank)));
  }
  Encoder own;
  own.varint(static_cast<std::uint64_t>(lag.count()));
  for (const SharedBytes& said : TRY(trial.tell(own.take()))) {
    Decoder in(said.view(), "a lag");
    lag = std::max(lag, port::Duration(static_cast<std::int64_t>(TRY(in.varint()))));
  }
  const auto listed = TRY(storage.list(directory, trial.soon()));
  if (listed.size() != static_cast<std::size_t>(trial.ranks()))
    return fail(ErrorCode::io_error, "list \"{}\": {} entries, expected {}", directory, listed.size(), trial.ranks());
  TRY(trial.meet());
  return fmt::format("every rank reads what the others wrote, {} after they synced it", milliseconds(lag));
}

/// All try to give the same name; exactly one may.
Result<std::string> links_are_exclusive(Trial& trial) {
  constexpr int rounds = 20;
  for (int round = 0; round < rounds; ++round) {
    const std::string name = fmt::format("{}/winner-{}", directory, round);
    TRY(trial.meet());
    const Status linked = trial.env.storage.link_if_absent(file_of("seen", trial.self()), name, trial.soon());
    if (!linked && linked.error().code != ErrorCode::already_exists) return fail(linked.error());
    const auto told = TRY(trial.tell(Bytes(1, std::byte{linked.has_value()})));
    if (trial.self() != Rank{0}) continue;
    const auto won = std::ranges::count_if(told, [](const SharedBytes& said) { return said.view()[0] == std::byte{1}; });
    if (won != 1)
      return fail(ErrorCode::io_error, "{} ranks at once gave one file the name \"{}\": {} were told that they had; expected 1",
                  trial.ranks(), name, won);
    TRY(trial.env.storage.remove(name, trial.soon()));
  }
  return fmt::format("of {} ranks that give a name at once one succeeds, {} times", trial.ranks(), rounds);
}

Result<std::string> renames_replace(Trial& trial) {
  port::Storage& storage = trial.env.storage;
  const std::string own = file_of("seen", trial.self()), fresh = file_of("fresh", trial.self());
  const Rank peer = trial.after(trial.self());
  TRY(write_file(trial, fresh, pattern(trial.self(), Rank{0}, small_bytes + 1)));
  TRY(storage.rename(fresh, own, trial.soon()));
  TRY(storage.sync_directory(directory, trial.soon()));
  TRY(trial.meet());
  const Bytes found = TRY(read_file(trial, file_of("seen", peer)));
  if (found.size() != small_bytes + 1)
    return fail(ErrorCode::corrupt, "the file of rank {}, replaced by one of {} bytes, has {}", peer, small_bytes + 1, found.size());
  TRY(expect_pattern(found, peer, Rank{0}, fmt::format("the replaced file of rank {}", peer)));
  const auto gone = storage.open(file_of("fresh", peer), trial.soon());
  if (gone) TRY(storage.close(*gone));
  if (gone || gone.error().code != ErrorCode::not_found)
    return fail(ErrorCode::io_error, "\"{}\" is still there after its rename", file_of("fresh", peer));
  TRY(trial.meet());
  return "a renamed file replaces the other for all ranks";
}

Result<std::string> syncs(Trial& trial) {
  std::vector<port::Duration> times;
  for (int round = 0; round < 10; ++round) {
    const std::string path = file_of(fmt::format("synced-{}", round), trial.self());
    const port::TimePoint begin = trial.env.clock.now();
    TRY(write_file(trial, path, Bytes(small_bytes)));
    TRY(trial.env.storage.sync_directory(directory, trial.soon()));
    times.push_back(trial.env.clock.now() - begin);
    TRY(trial.env.storage.remove(path, trial.soon()));
  }
  TRY(trial.meet());
  return fmt::format("{} for a durable file of {} bytes", milliseconds(median(times)), small_bytes);
}

Result<std::string> files_hold_bytes(Trial& trial) {
  const port::Env& env = trial.env;
  const std::size_t bytes = trial.size.file_bytes;
  const std::string path = file_of("large", trial.self());
  Bytes data = pattern(trial.self(), trial.self(), bytes);
  TRY(trial.meet());
  const port::TimePoint begin = env.clock.now();
  TRY(write_file(trial, path, std::move(data)));
  TRY(trial.meet());
  const port::TimePoint between = env.clock.now();
  const Rank peer = trial.after(trial.self());
  const Bytes found = TRY(read_file(trial, file_of("large", peer)));
  TRY(trial.meet());
  const port::TimePoint end = env.clock.now();
  TRY(expect_pattern(found, peer, peer, fmt::format("the large file of rank {}", peer)));
  TRY(env.storage.remove(path, trial.soon()));
  const std::size_t all = bytes * static_cast<std::size_t>(trial.ranks());
  return fmt::format("{} bytes a rank: written durably at {}, read at {}, all ranks together", bytes, speed(all, between - begin),
                     speed(all, end - between));
}

Result<std::string> cleans_up(Trial& trial) {
  TRY(trial.env.storage.remove(file_of("seen", trial.self()), trial.soon()));
  TRY(trial.meet());
  if (trial.self() == Rank{0}) {
    TRY(trial.env.storage.remove_directory(directory, trial.soon()));
    TRY(trial.env.storage.sync_directory("", trial.soon()));
  }
  TRY(trial.meet());
  return "nothing is left behind";
}

}  // namespace

port::Deadline Trial::soon() const { return env.clock.after(step_limit); }

Result<std::vector<SharedBytes>> Trial::tell(Bytes said) {
  const std::uint64_t meeting = ++meetings_;
  const port::Deadline deadline = soon();
  if (self() != Rank{0}) {
    TRY(env.net.send(Rank{0}, {up, meeting}, SharedBytes(std::move(said)), deadline));
    TRY(env.net.receive(Rank{0}, {down, meeting}, deadline));
    return std::vector<SharedBytes>();
  }
  std::vector<SharedBytes> all{SharedBytes(std::move(said))};
  for (Rank rank{1}; rank.value < ranks(); ++rank.value) all.push_back(TRY(env.net.receive(rank, {up, meeting}, deadline)));
  for (Rank rank{1}; rank.value < ranks(); ++rank.value) TRY(env.net.send(rank, {down, meeting}, Bytes(1), deadline));
  return all;
}

Status Trial::meet() {
  TRY(tell(Bytes(1)));
  return {};
}

std::span<const Step> steps() {
  static constexpr std::array all{Step{"ranks", hear_each_other},
                                  Step{"devices", devices_give_back},
                                  Step{"data plane, all pairs", all_pairs_exchange},
                                  Step{"storage, seen by all", all_see_the_storage},
                                  Step{"link", links_are_exclusive},
                                  Step{"rename", renames_replace},
                                  Step{"sync", syncs},
                                  Step{"storage, speed", files_hold_bytes},
                                  Step{"clean up", cleans_up}};
  return all;
}

}  // namespace holdfast::properties

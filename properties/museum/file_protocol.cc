#include "properties/museum/file_protocol.h"

#include <algorithm>

#include "impl/core/check.h"
#include "properties/workload/judge.h"

namespace holdfast::properties::museum {
namespace {

constexpr port::Duration patience = std::chrono::seconds(20);
constexpr std::size_t shard_bytes = 3 * 4096;
constexpr int old_version = 1, new_version = 2;

std::string shard_name(Rank rank) { return fmt::format("__{}_0.distcp", rank); }

Bytes shard_of(Rank rank, int version) {
  Bytes bytes(shard_bytes);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::byte>(i * 7 + i / 4096 + static_cast<std::size_t>(16 * version + rank.value + 1));
  return bytes;
}

/// What the metadata says: how long a shard is. Nothing else of it matters here.
Bytes metadata_bytes() {
  const std::string text = fmt::format("shards of {} bytes", shard_bytes);
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

/// Makes the name as open(O_CREAT | O_TRUNC) does: an old file of that name has lost its bytes, the new ones are not stored yet.
Result<port::FileId> create_truncated(port::Storage& storage, const std::string& path, port::Deadline deadline) {
  auto file = storage.create(path, deadline);
  if (file || file.error().code != ErrorCode::already_exists) return file;
  TRY(storage.remove(path, deadline));
  return storage.create(path, deadline);
}

enum class Sync { none, before_the_bytes, after_the_bytes };

Status write_file(port::Storage& storage, const std::string& path, Bytes bytes, Sync sync, port::Deadline deadline) {
  const port::FileId file = TRY(create_truncated(storage, path, deadline));
  const auto owner = std::make_shared<const Bytes>(std::move(bytes));
  const port::WritePiece piece{0, *owner, owner};
  Status done;
  if (sync == Sync::before_the_bytes) done = storage.sync(file, deadline);
  if (done) done = storage.write_all(file, {&piece, 1}, deadline);
  if (done && sync == Sync::after_the_bytes) done = storage.sync(file, deadline);
  const Status closed = storage.close(file);
  return done ? closed : done;
}

Result<Bytes> read_file(port::Storage& storage, const std::string& path, port::Deadline deadline) {
  const port::FileId file = TRY(storage.open(path, deadline));
  const auto read = [&]() -> Result<Bytes> {
    const auto bytes = std::make_shared<Bytes>(TRY(storage.size(file, deadline)));
    const port::ReadPiece piece{0, *bytes, bytes};
    TRY(storage.read_all(file, {&piece, 1}, deadline));
    return std::move(*bytes);
  };
  auto bytes = read();
  const Status closed = storage.close(file);
  if (bytes && !closed) return fail(closed.error());
  return bytes;
}

SharedBytes word(bool yes) { return Bytes{yes ? std::byte{1} : std::byte{0}}; }
bool says_yes(const Result<SharedBytes>& message) { return message && message->view().size() == 1 && message->view()[0] == std::byte{1}; }

}  // namespace

std::string FileProtocol::directory(int version) const {
  return habits_.overwrites_in_place ? "checkpoint" : fmt::format("checkpoint-{}", version);
}

sim::Disk FileProtocol::prepare() {
  sim::Disk disk;
  sim::Scenario scenario;
  scenario.world_size = world_size();
  scenario.random_latency = false;
  const sim::Trace trace =
      sim::run(scenario, disk, [&](const port::Env& env, Rank rank) { CHECK(save(env, rank, old_version), "prepare"); });
  CHECK(trace.all_returned(), "prepare: {}", trace.deadlock);
  disk.settle();
  return disk;
}

void FileProtocol::begin() {
  committed_.assign(static_cast<std::size_t>(world_size()), false);
  loaded_.assign(static_cast<std::size_t>(world_size()), {"was not run", {}});
}

void FileProtocol::act(const port::Env& env, Rank rank) { committed_[static_cast<std::size_t>(rank.value)] = save(env, rank, new_version); }

bool FileProtocol::save(const port::Env& env, Rank rank, int version) const {
  const port::Deadline deadline = env.clock.after(patience);
  env.enter("4 write");
  Status wrote = write_shard(env, rank, version, deadline);
  if (rank == Rank{0}) return coordinate(env, std::move(wrote), version, deadline);
  env.enter("5 agree");
  if (!env.net.send(Rank{0}, {1, 1}, word(wrote || !habits_.tells_failures), deadline)) return false;
  return says_yes(env.net.receive(Rank{0}, {1, 2}, deadline)) && wrote;
}

Status FileProtocol::write_shard(const port::Env& env, Rank rank, int version, port::Deadline deadline) const {
  const Status made = env.storage.make_directory(directory(version), deadline);
  if (!made && made.error().code != ErrorCode::already_exists) return made;
  const Sync sync = habits_.syncs_data ? Sync::after_the_bytes : Sync::none;
  return write_file(env.storage, fmt::format("{}/{}", directory(version), shard_name(rank)), shard_of(rank, version), sync, deadline);
}

bool FileProtocol::coordinate(const port::Env& env, Status own, int version, port::Deadline deadline) const {
  env.enter("5 agree");
  bool all = own.has_value();
  for (int r = 1; r < world_size(); ++r) all = says_yes(env.net.receive(Rank{r}, {1, 1}, deadline)) && all;
  env.enter("6 publish");
  const bool committed = all && publish(env, version, deadline).has_value();
  env.enter("7 outcome");
  // Who does not hear it counts the save as not committed: nothing is lost by that.
  for (int r = 1; r < world_size(); ++r) static_cast<void>(env.net.send(Rank{r}, {1, 2}, word(committed), deadline));
  return committed;
}

Status FileProtocol::publish(const port::Env& env, int version, port::Deadline deadline) const {
  const std::string home = directory(version), name = home + "/.metadata", temporary = name + ".tmp";
  if (habits_.syncs_directories) TRY(env.storage.sync_directory(home, deadline));
  if (habits_.metadata == MetadataWrite::in_place) return write_file(env.storage, name, metadata_bytes(), Sync::none, deadline);
  const Sync sync = habits_.metadata == MetadataWrite::synced_then_renamed ? Sync::after_the_bytes : Sync::before_the_bytes;
  TRY(write_file(env.storage, temporary, metadata_bytes(), sync, deadline));
  if (habits_.deletes_committed_first) {
    const Status removed = env.storage.remove(name, deadline);
    if (!removed && removed.error().code != ErrorCode::not_found) return removed;
  }
  TRY(env.storage.rename(temporary, name, deadline));
  if (!habits_.syncs_directories) return {};
  TRY(env.storage.sync_directory(home, deadline));
  return env.storage.sync_directory("", deadline);
}

Result<std::string> FileProtocol::newest(const port::Env& env, port::Deadline deadline) const {
  std::string found;
  for (const port::DirectoryEntry& entry : TRY(env.storage.list("", deadline))) {
    const auto inside = TRY(env.storage.list(entry.name, deadline));
    const bool committed = std::ranges::find(inside, ".metadata", &port::DirectoryEntry::name) != inside.end();
    if (committed) found = std::max(found, entry.name);
  }
  if (found.empty()) return fail(ErrorCode::not_found, "no directory holds a .metadata");
  return found;
}

Result<std::optional<int>> FileProtocol::load(const port::Env& env, Rank rank) const {
  const port::Deadline deadline = env.clock.after(patience);
  const std::string home = TRY(newest(env, deadline));
  if (TRY(read_file(env.storage, home + "/.metadata", deadline)) != metadata_bytes())
    return fail(ErrorCode::corrupt, "\"{}/.metadata\" cannot be read", home);
  const Bytes shard = TRY(read_file(env.storage, fmt::format("{}/{}", home, shard_name(rank)), deadline));
  if (shard.size() < shard_bytes)
    return fail(ErrorCode::corrupt, "\"{}/{}\" has {} bytes of {}", home, shard_name(rank), shard.size(), shard_bytes);
  for (const int version : {old_version, new_version}) {
    if (shard == shard_of(rank, version)) return version;
  }
  return std::nullopt;
}

void FileProtocol::recover(const port::Env& env, Rank rank) {
  Loaded& result = loaded_[static_cast<std::size_t>(rank.value)] = {};
  const auto version = load(env, rank);
  if (version) {
    result.version = *version;
  } else {
    result.error = fmt::format("{}", version.error());
  }
}

bool FileProtocol::noticed() const { return std::ranges::find(committed_, false) != committed_.end(); }

Verdict FileProtocol::judge(const sim::Trace& act, const sim::Trace& recovery, const sim::Disk& /*disk*/) {
  Verdict verdict;
  judge_run(act, "save", verdict);
  judge_run(recovery, "recovery", verdict);
  const auto violation = [&](std::string_view property, std::string text) {
    verdict.push_back({VerdictClass::safety, std::string(property), std::move(text)});
  };
  const bool committed = std::ranges::find(committed_, true) != committed_.end();
  for (std::size_t r = 0; r < loaded_.size(); ++r) {
    const Loaded& loaded = loaded_[r];
    if (!loaded.error.empty()) {
      violation(committed ? "S2" : "S3",
                fmt::format("after recovery, rank {}: {}: {}", r,
                            committed ? "a save that reported success does not load" : "no checkpoint loads", loaded.error));
    } else if (!loaded.version) {
      violation("S1", fmt::format("after recovery, rank {}: its shard holds the bytes of neither save", r));
    } else if (*loaded.version != loaded_[0].version.value_or(*loaded.version)) {
      violation("S1", fmt::format("after recovery rank 0 holds save {}, rank {} save {}: old and new values mixed", *loaded_[0].version, r,
                                  *loaded.version));
    } else if (committed && *loaded.version == old_version) {
      violation("S2", fmt::format("after recovery, rank {}: a save that reported success is gone, the old one is loaded", r));
    }
  }
  return verdict;
}

}  // namespace holdfast::properties::museum

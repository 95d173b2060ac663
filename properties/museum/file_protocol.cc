#include "properties/museum/file_protocol.h"

#include <algorithm>

namespace holdfast::properties::museum {
namespace {

constexpr port::Duration patience = std::chrono::seconds(20);

std::string shard_name(Rank rank) { return fmt::format("__{}_0.distcp", rank); }

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

Status not_committed() { return fail(ErrorCode::aborted, "the checkpoint was not committed"); }

}  // namespace

std::string FileProtocol::directory(Step step) const {
  return habits_.overwrites_in_place ? "checkpoint" : fmt::format("checkpoint-{}", step);
}

/// What the metadata says: how long a shard is. Nothing else of it matters here.
Bytes FileProtocol::metadata_bytes() const { return to_bytes(as_bytes(fmt::format("shards of {} bytes", state_bytes()))); }

Status FileProtocol::save(const port::Env& env, Rank rank, Step step, ByteView state) const {
  const port::Deadline deadline = env.clock.after(patience);
  env.enter("4 write");
  Status wrote = write_shard(env, rank, step, state, deadline);
  if (rank == Rank{0}) return coordinate(env, std::move(wrote), step, deadline);
  env.enter("5 agree");
  TRY(env.net.send(Rank{0}, {1, 1}, word(wrote || !habits_.tells_failures), deadline));
  if (!says_yes(env.net.receive(Rank{0}, {1, 2}, deadline))) return not_committed();
  return wrote;
}

Status FileProtocol::write_shard(const port::Env& env, Rank rank, Step step, ByteView state, port::Deadline deadline) const {
  const Status made = env.storage.make_directory(directory(step), deadline);
  if (!made && made.error().code != ErrorCode::already_exists) return made;
  const Sync sync = habits_.syncs_data ? Sync::after_the_bytes : Sync::none;
  return write_file(env.storage, fmt::format("{}/{}", directory(step), shard_name(rank)), to_bytes(state), sync, deadline);
}

Status FileProtocol::coordinate(const port::Env& env, Status own, Step step, port::Deadline deadline) const {
  env.enter("5 agree");
  bool all = own.has_value();
  for (int r = 1; r < world_size(); ++r) all = says_yes(env.net.receive(Rank{r}, {1, 1}, deadline)) && all;
  env.enter("6 publish");
  const Status published = all ? publish(env, step, deadline) : not_committed();
  env.enter("7 outcome");
  // Who does not hear it counts the save as not committed: nothing is lost by that.
  for (int r = 1; r < world_size(); ++r) static_cast<void>(env.net.send(Rank{r}, {1, 2}, word(published.has_value()), deadline));
  return published;
}

Status FileProtocol::publish(const port::Env& env, Step step, port::Deadline deadline) const {
  const std::string home = directory(step), name = home + "/.metadata", temporary = name + ".tmp";
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

Result<Bytes> FileProtocol::load(const port::Env& env, Rank rank) const {
  const port::Deadline deadline = env.clock.after(patience);
  const std::string home = TRY(newest(env, deadline));
  if (TRY(read_file(env.storage, home + "/.metadata", deadline)) != metadata_bytes())
    return fail(ErrorCode::corrupt, "\"{}/.metadata\" cannot be read", home);
  Bytes shard = TRY(read_file(env.storage, fmt::format("{}/{}", home, shard_name(rank)), deadline));
  if (shard.size() < state_bytes())
    return fail(ErrorCode::corrupt, "\"{}/{}\" has {} bytes of {}", home, shard_name(rank), shard.size(), state_bytes());
  return shard;
}

}  // namespace holdfast::properties::museum

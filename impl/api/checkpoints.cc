#include "impl/api/checkpoints.h"

#include <algorithm>

#include "impl/api/folder.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/protocol/files.h"
#include "impl/protocol/segment_file.h"

namespace holdfast {

Error to_error(const CheckpointError& error) {
  const auto& groups = error.failures.groups();
  const auto damage = [](const FailureMap::Group& group) { return group.error.code == ErrorCode::corrupt; };
  ErrorCode code = groups.empty() ? ErrorCode::peer_lost : groups.front().error.code;
  if (code == ErrorCode::corrupt && !(error.lost.empty() && std::ranges::all_of(groups, damage))) code = ErrorCode::io_error;
  if (error.outcome == Outcome::unknown) code = ErrorCode::unknown_outcome;
  return {code, to_string(error)};
}

Result<std::unique_ptr<Checkpoints>> Checkpoints::open(Job& job, const std::string& folder) {
  TRY(make_folder(folder));
  std::shared_ptr<port::Storage> storage = TRY(backend::PosixStorage::open_root(folder));
  return std::make_unique<Checkpoints>(job, std::move(storage));
}

Checkpoints::Checkpoints(Job& job, std::shared_ptr<port::Storage> storage, port::Observer* observer)
    : job_(job), storage_(std::move(storage)),
      session_(job.env(*storage_, observer), {.coordinator = Rank{0}, .channel = job.next_channel()}) {}

Checkpointed<Saved> Checkpoints::save(const StateDict& state, const SaveOptions& options) {
  return protocol::save(session_, state, options);
}

Checkpointed<PendingSave> Checkpoints::async_save(const StateDict& state, const SaveOptions& options) {
  return protocol::async_save(session_, state, options);
}

Checkpointed<Loaded> Checkpoints::load(StateDict& destination, const LoadOptions& options) {
  return protocol::load(session_, destination, options);
}

Checkpointed<NewlyLoaded> Checkpoints::load_new(const NewStateOptions& made, const LoadOptions& options) {
  return protocol::load_new(session_, made, options);
}

Checkpointed<Transferred> Checkpoints::transfer(const StateDict& from, const StateDict& to, const TransferOptions& options) {
  return protocol::transfer(session_, from, to, options);
}

Checkpointed<Recovered> Checkpoints::recover(const RecoverOptions& options) { return protocol::recover(session_, options); }

Result<Survey> Checkpoints::list() { return protocol::survey(*storage_, soon()); }

Result<std::string> Checkpoints::latest() {
  const Survey found = TRY(list());
  if (!found.committed.empty()) return found.committed.front().directory;
  if (found.damaged.empty()) return fail(ErrorCode::not_found, "there is no committed checkpoint");
  return fail(ErrorCode::corrupt, "none of {} checkpoints has an intact MANIFEST; the newest: {}", found.damaged.size(),
              found.damaged.front().error.message);
}

Result<format::Manifest> Checkpoints::manifest(const std::string& directory) {
  const std::string path = protocol::join(directory, protocol::manifest_name);
  const SharedBytes bytes = TRY(protocol::read_file(*storage_, path, protocol::manifest_bytes_max, soon()));
  const format::ManifestReader reader = TRY(format::ManifestReader::open(bytes, path));
  return reader.decode();
}

Result<std::vector<ChunkPlace>> Checkpoints::places(const std::string& directory, const format::Manifest& manifest,
                                                    const std::string& tensor) {
  const auto found = manifest.tensors.find(tensor);
  if (found == manifest.tensors.end()) return fail(ErrorCode::not_found, "\"{}\" holds no tensor \"{}\"", directory, tensor);
  const format::TensorRecord& record = found->second;
  std::vector<ChunkPlace> places;
  Status looked_up;
  record.metadata.chunks.for_each([&](ChunkSet::Id id, const Box& box) {
    if (!looked_up) return;
    looked_up = [&]() -> Status {
      const format::SegmentRecord& segment = manifest.segments[TRY(manifest.segment_of(record, id))];
      const auto file = TRY(protocol::SegmentFile::open(*storage_, directory, segment, soon()));
      const std::size_t position = TRY(file.find(tensor, record.metadata, box));
      const std::uint64_t offset = file.header().layout.tensors[position].offset;
      const std::uint64_t bytes = static_cast<std::uint64_t>(box.volume()) * size_bytes(record.metadata.dtype);
      places.push_back({box, file.path(), segment.header_bytes + offset, bytes});
      return {};
    }();
  });
  TRY(looked_up);
  return places;
}

Result<VerifyReport> Checkpoints::verify(const std::string& directory, const VerifyProgress& progress) {
  return protocol::verify_attempt(*storage_, directory, [this] { return soon(); }, progress);
}

Result<VerifyReport> Checkpoints::verify_all(const VerifyProgress& progress) {
  return protocol::verify_all(*storage_, [this] { return soon(); }, progress);
}

}  // namespace holdfast

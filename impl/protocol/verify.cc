#include "impl/protocol/verify.h"

#include <algorithm>
#include <set>

#include "impl/format/hint.h"
#include "impl/format/manifest.h"
#include "impl/protocol/files.h"
#include "impl/protocol/segment_file.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

using Deadlines = std::function<port::Deadline()>;

/// Blocks read in one go: bounds memory.
constexpr std::size_t window_bytes = 64u << 20;

class Verifier {
 public:
  Verifier(port::Storage& storage, std::string directory, Deadlines deadline, const VerifyProgress& progress, VerifyReport& report)
      : storage_(storage), directory_(std::move(directory)), deadline_(std::move(deadline)), progress_(progress), report_(report) {}

  Status run() {
    const std::string path = join(directory_, manifest_name);
    const Result<SharedBytes> bytes = read_file(storage_, path, manifest_bytes_max, deadline_());
    if (!bytes) return fail(within(bytes.error(), "verify \"{}\"", directory_));
    Result<format::ManifestReader> reader = format::ManifestReader::open(*bytes, path);
    checked(bytes->size());
    if (!reader) return found(path, reader.error());
    manifest_ = reader->decode();
    const auto id = plan::parse_directory_name(directory_);
    if (id && (manifest_.step != id->step || manifest_.attempt != id->attempt)) {
      TRY(found(path, error(ErrorCode::corrupt, "it says step {} attempt {}: it belongs to another directory", manifest_.step,
                            manifest_.attempt)));
    }
    TRY(check_leftover(*bytes));
    TRY(check_listing());
    for (std::uint32_t segment = 0; segment < manifest_.segments.size(); ++segment) TRY(check_segment(segment));
    for (const auto& [key, record] : manifest_.bytes) TRY(check_value(key, record));
    check_tensor_digests();
    return {};
  }

 private:
  /// Damage becomes a finding; anything else ends the verification.
  Status found(const std::string& file, const Error& error) {
    if (error.code != ErrorCode::corrupt && error.code != ErrorCode::unsupported && error.code != ErrorCode::not_found) return fail(error);
    report_.findings.push_back({file, error.message});
    return {};
  }

  void checked(std::uint64_t bytes) {
    ++report_.files;
    report_.bytes += bytes;
    if (progress_) progress_(report_);
  }

  /// A crash while the manifest was published can leave its temporary name beside it: the same bytes, or something is wrong.
  Status check_leftover(const SharedBytes& manifest) {
    const std::string path = join(directory_, std::string(manifest_name) + ".tmp");
    const Result<SharedBytes> leftover = read_file(storage_, path, manifest_bytes_max, deadline_());
    if (!leftover && leftover.error().code == ErrorCode::not_found) return {};
    if (!leftover) return found(path, leftover.error());
    checked(leftover->size());
    if (std::ranges::equal(leftover->view(), manifest.view())) return {};
    return found(path,
                 error(ErrorCode::corrupt, "a leftover of the commit that is not what was committed: it differs from {}", manifest_name));
  }

  Status check_listing() {
    std::set<std::string> expected{std::string(manifest_name), std::string(manifest_name) + ".tmp"};
    for (const format::SegmentRecord& segment : manifest_.segments) expected.insert(segment.path());
    for (const auto& [key, record] : manifest_.bytes) expected.insert(record.path());
    std::vector<port::DirectoryEntry> entries = TRY(storage_.list(directory_, deadline_()));
    std::ranges::sort(entries);
    for (const port::DirectoryEntry& entry : entries) {
      if (expected.contains(entry.name) || entry.name.starts_with(given_up_file_prefix)) continue;
      TRY(found(join(directory_, entry.name),
                error(ErrorCode::corrupt, "the manifest knows no such file: something else wrote into this attempt")));
    }
    return {};
  }

  Status check_segment(std::uint32_t number) {
    const format::SegmentRecord& record = manifest_.segments[number];
    const std::string path = join(directory_, record.path());
    Result<SegmentFile> file = SegmentFile::open(storage_, directory_, record, deadline_());
    if (!file) {
      broken_segments_.insert(number);
      return found(path, file.error());
    }
    checked(record.header_bytes);
    const format::SegmentLayout& layout = file->header().layout;
    Bytes data;
    data.reserve(layout.data_bytes);
    const std::size_t blocks = layout.block_count();
    const std::size_t window = std::max<std::size_t>(1, window_bytes / layout.block_bytes);
    for (std::size_t block = 0; block < blocks; block += window)
      TRY(check_blocks(*file, number, block, std::min(blocks, block + window), data));
    if (!broken_segments_.contains(number)) TRY(add_digests(number, layout, data));
    return {};
  }

  /// Reads blocks [first, end); on damage looks at them one by one, so that every damaged block is named.
  Status check_blocks(SegmentFile& file, std::uint32_t number, std::size_t first, std::size_t end, Bytes& data) {
    const Result<SharedBytes> bytes = file.read_blocks(first, end, deadline_());
    if (bytes) {
      data.insert(data.end(), bytes->view().begin(), bytes->view().end());
      report_.bytes += bytes->size();
      if (progress_) progress_(report_);
      return {};
    }
    if (bytes.error().code != ErrorCode::corrupt) return fail(bytes.error());  // not damage: nothing can be said of this segment
    broken_segments_.insert(number);
    if (end - first == 1) return found(file.path(), bytes.error());
    const std::size_t middle = first + (end - first) / 2;
    TRY(check_blocks(file, number, first, middle, data));
    return check_blocks(file, number, middle, end, data);
  }

  Status add_digests(std::uint32_t number, const format::SegmentLayout& layout, Bytes& data) {
    for (const format::SegmentTensor& tensor : layout.tensors) {
      if (!is_said(number, tensor)) {
        TRY(found(join(directory_, manifest_.segments[number].path()),
                  error(ErrorCode::corrupt, "it holds box {} of tensor \"{}\", the manifest says otherwise", to_string(tensor.box),
                        tensor.name)));
        continue;
      }
      const StridedBlock block = packed_block(data.data() + tensor.offset, tensor.box.size, size_bytes(tensor.dtype));
      digests_[tensor.name] += tensor_digest(block, tensor.box, tensor.shape, tensor.dtype);
    }
    return {};
  }

  /// Whether the manifest says that the segment holds this.
  bool is_said(std::uint32_t number, const format::SegmentTensor& tensor) const {
    const auto record = manifest_.tensors.find(tensor.name);
    if (record == manifest_.tensors.end()) return false;
    const TensorMetadata& metadata = record->second.metadata;
    const auto chunk = metadata.chunks.find(tensor.box.offset);
    return chunk && metadata.shape == tensor.shape && metadata.dtype == tensor.dtype && metadata.chunks.box(*chunk) == tensor.box &&
           manifest_.segment_of(record->second, *chunk) == number;
  }

  /// Whether a chunk of the tensor lies in a damaged segment.
  bool is_broken(const format::TensorRecord& record) const {
    const ChunkSet::OfMesh* mesh = record.metadata.chunks.mesh();
    if (!mesh) return std::ranges::any_of(record.segments, [&](std::uint32_t segment) { return broken_segments_.contains(segment); });
    return std::ranges::any_of(broken_segments_, [&](std::uint32_t segment) {
      const format::SegmentId id = manifest_.segments[segment].id;
      const auto position = mesh->layout.mesh.position(id.rank);
      return position && id.number < local_part(mesh->layout, mesh->shape, *position).size();
    });
  }

  Status check_value(const std::string& key, const format::BytesRecord& record) {
    const std::string path = join(directory_, record.path());
    const Result<SharedBytes> bytes = read_file(storage_, path, record.bytes, deadline_());
    if (!bytes) return found(path, bytes.error());
    checked(bytes->size());
    const BlockDigest digest = block_digest(bytes->view());
    if (bytes->size() == record.bytes && digest == record.digest) return {};
    return found(path, error(ErrorCode::corrupt, "value \"{}\": {} bytes with digest {}, the manifest says {} with {}", key, bytes->size(),
                             to_string(digest), record.bytes, to_string(record.digest)));
  }

  /// Tensors with a damaged segment are reported by block already.
  void check_tensor_digests() {
    for (const auto& [name, record] : manifest_.tensors) {
      ++report_.tensors;
      if (digests_[name] == record.digest || is_broken(record)) continue;
      report_.findings.push_back(
          {join(directory_, manifest_name), fmt::format("tensor \"{}\": its data has digest {}, the manifest says {}", name,
                                                        to_string(digests_[name]), to_string(record.digest))});
    }
  }

  port::Storage& storage_;
  std::string directory_;
  Deadlines deadline_;
  const VerifyProgress& progress_;
  VerifyReport& report_;
  format::Manifest manifest_;
  std::set<std::uint32_t> broken_segments_;
  std::map<std::string, TensorDigest> digests_;
};

Status check_hint(port::Storage& storage, const Survey& found, const Deadlines& deadline, VerifyReport& report) {
  const Result<SharedBytes> bytes = read_file(storage, hint_name, 4096, deadline());
  if (!bytes && bytes.error().code == ErrorCode::not_found) return {};  // a hint is derived: recover writes it again
  if (!bytes && bytes.error().code != ErrorCode::corrupt) return fail(bytes.error());
  const Result<std::string> hint = bytes ? format::decode_hint(bytes->view()) : fail(bytes.error());
  ++report.files;
  const std::string file(hint_name);
  if (!hint) {
    report.findings.push_back({file, hint.error().message});
  } else if (!found.committed.empty() && *hint != found.committed.front().directory) {
    report.findings.push_back(
        {file, fmt::format("it names \"{}\", the newest committed checkpoint is \"{}\"", *hint, found.committed.front().directory)});
  }
  return {};
}

/// A damaged mark gives up no attempt; the next save makes it anew.
Status check_mark(port::Storage& storage, const Deadlines& deadline, VerifyReport& report) {
  const Result<SharedBytes> bytes = read_file(storage, given_up_mark, given_up_record.size(), deadline());
  if (!bytes && bytes.error().code == ErrorCode::not_found) return {};
  if (!bytes && bytes.error().code != ErrorCode::corrupt) return fail(bytes.error());
  ++report.files;
  if (bytes && as_text(bytes->view()) == given_up_record) return {};
  report.findings.push_back({std::string(given_up_mark), "it is not the record of an attempt that was given up"});
  return {};
}

}  // namespace

Result<VerifyReport> verify_attempt(port::Storage& storage, const std::string& directory, const Deadlines& deadline,
                                    const VerifyProgress& progress) {
  VerifyReport report;
  TRY(Verifier(storage, directory, deadline, progress, report).run());
  return report;
}

Result<VerifyReport> verify_all(port::Storage& storage, const Deadlines& deadline, const VerifyProgress& progress) {
  const Survey found = TRY(survey(storage, deadline()));
  if (found.committed.empty() && found.damaged.empty()) return fail(ErrorCode::not_found, "verify: there is no committed checkpoint");
  VerifyReport report;
  for (const CommittedAttempt& attempt : found.committed) TRY(Verifier(storage, attempt.directory, deadline, progress, report).run());
  for (const DamagedAttempt& attempt : found.damaged) {
    ++report.files;
    report.findings.push_back({join(attempt.directory, manifest_name), attempt.error.message});
  }
  TRY(check_hint(storage, found, deadline, report));
  TRY(check_mark(storage, deadline, report));
  return report;
}

}  // namespace holdfast::protocol

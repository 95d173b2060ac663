#include "impl/protocol/segment_reader.h"

#include <algorithm>

#include "impl/protocol/files.h"
#include "impl/protocol/segment_file.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {

Result<Metadata> SegmentReader::read_metadata(const Role& role) {
  role_ = role;
  const std::string path = join(directory_, manifest_name);
  Result<SharedBytes> bytes = read_file(env_.storage, path, manifest_bytes_max, role.work);
  if (!bytes) return fail(std::move(bytes).error());
  manifest_ = TRY(format::ManifestReader::open(*bytes, path));
  return manifest_->metadata();
}

Status SegmentReader::set_up_storage_reader(const Metadata& /*metadata*/, const Role& role) {
  role_ = role;
  volume_ = {};
  return {};
}

Result<LoadPlan> SegmentReader::prepare_local_plan(LoadPlan plan) { return plan; }
Result<std::vector<LoadPlan>> SegmentReader::prepare_global_plan(std::vector<LoadPlan> plans) { return plans; }

Result<port::Future<void>> SegmentReader::read_data(LoadPlan plan, std::shared_ptr<LoadPlanner> planner) {
  plan_ = std::move(plan);
  return port::Future<void>::ready(read(*planner));
}

Result<SegmentSources::Want> SegmentReader::locate(const ReadItem& item, std::uint32_t& segment) {
  auto record = records_.find(item.storage_index.fqn);
  if (record == records_.end()) {
    if (const auto tensor = manifest_->find(item.storage_index.fqn)) {
      record = records_.emplace(item.storage_index.fqn, manifest_->tensor(*tensor)).first;
    }
  }
  const TensorMetadata* tensor = record == records_.end() ? nullptr : &record->second.metadata;
  const auto chunk = tensor && item.storage_index.offset ? tensor->chunks.find(*item.storage_index.offset) : std::nullopt;
  if (!chunk) return fail(ErrorCode::invalid_argument, "load {}: the checkpoint holds no such chunk", to_string(item.storage_index));
  const Box box = tensor->chunks.box(*chunk);
  if (!in_bounds({item.storage_offset, item.lengths}, box.size)) {
    return fail(ErrorCode::invalid_argument, "load {}: the plan asks for {} of the chunk {}", to_string(item.storage_index),
                to_string(Box{item.storage_offset, item.lengths}), to_string(box));
  }
  const Result<std::uint32_t> found = manifest_->segment_of(record->second, *chunk);
  if (!found) return fail(within(found.error(), "load {}", to_string(item.storage_index)));
  segment = *found;
  return SegmentSources::Want{&item, tensor, box};
}

Status SegmentReader::read(LoadPlanner& planner) {
  std::map<std::uint32_t, std::vector<SegmentSources::Want>> by_segment;
  for (const ReadItem& item : plan_.items) {
    if (item.type == ReadItemType::bytes) continue;
    std::uint32_t segment = 0;
    SegmentSources::Want want = TRY(locate(item, segment));
    by_segment[segment].push_back(std::move(want));
  }
  const auto sources = std::make_shared<SegmentSources>(env_, directory_);
  for (auto& [segment, wants] : by_segment) TRY(sources->add(manifest_->segment(segment), std::move(wants), role_.work));
  if (!shares()) {
    TRY(read_tensors(sources, planner));
    return read_values(planner);
  }
  shared_ = std::make_unique<SharedLoad>(*session_, sources, std::move(part_), reading_);
  TRY(shared_->prepare(role_.work));
  return reading_.mode == LoadMode::streamed ? Status() : read_values(planner);
}

Status SegmentReader::read_tensors(std::shared_ptr<const SegmentSources> sources, LoadPlanner& planner) {
  const auto load = SegmentLoad::make(env_, pool_, sources, {reading_, role_.work});
  for (std::size_t source = 0; source < sources->count(); ++source) load->add(source, sources->wanted_blocks(source));
  TRY(load->read(planner));
  volume_ = {sources->bytes_needed(), load->bytes_read()};
  return {};
}

/// Last: a streamed load, which places tensors on the way, leaves them alone when it fails.
Status SegmentReader::read_values(LoadPlanner& planner) {
  for (const ReadItem& item : plan_.items) {
    if (item.type == ReadItemType::bytes) TRY(read_value(item, planner));
  }
  return {};
}

Result<plan::SharedReads> SegmentReader::share(std::span<const LoadPlan> plans) const {
  std::map<std::string, format::TensorRecord, std::less<>> records;
  const auto file_of = [&](const MetadataIndex& chunk) -> Result<std::uint64_t> {
    auto record = records.find(chunk.fqn);
    if (record == records.end()) record = records.emplace(chunk.fqn, manifest_->tensor(*manifest_->find(chunk.fqn))).first;
    return TRY(manifest_->segment_of(record->second, *record->second.metadata.chunks.find(*chunk.offset)));
  };
  return plan::share_reads(plans, manifest_->metadata(), file_of, sharing_options(reading_, manifest_->block_bytes()));
}

void SegmentReader::take_part(Session& session, SharedPart part) {
  session_ = &session;
  part_ = std::move(part);
}

Result<FailureMap> SegmentReader::exchange(LoadPlanner& planner, port::Deadline deadline) {
  role_.work = deadline;
  const FailureMap failures = TRY(shared_->run(planner, deadline));
  volume_ = shared_->volume();
  if (failures.empty() && reading_.mode == LoadMode::streamed) TRY(read_values(planner));
  return failures;
}

Status SegmentReader::read_value(const ReadItem& item, LoadPlanner& planner) {
  const format::BytesRecord record = TRY(manifest_->bytes(item.storage_index.fqn));
  const std::string path = join(directory_, record.path());
  Result<SharedBytes> bytes = read_file(env_.storage, path, record.bytes, role_.work);
  if (!bytes && bytes.error().code == ErrorCode::not_found) return fail(ErrorCode::corrupt, "value file \"{}\" is missing", path);
  if (!bytes) return fail(std::move(bytes).error());
  const BlockDigest found = block_digest(bytes->view());
  if (bytes->size() != record.bytes || found != record.digest) {
    return fail(ErrorCode::corrupt, "value \"{}\" (\"{}\"): {} bytes with digest {}, the manifest says {} with {}", item.storage_index.fqn,
                path, bytes->size(), to_string(found), record.bytes, to_string(record.digest));
  }
  return planner.load_bytes(item, to_bytes(bytes->view()));
}

}  // namespace holdfast::protocol

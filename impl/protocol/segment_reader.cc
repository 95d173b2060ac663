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
  return port::Future<void>::ready(read(plan, *planner));
}

Result<SegmentLoad::Want> SegmentReader::locate(const ReadItem& item, Records& records, std::uint32_t& segment) const {
  auto record = records.find(item.storage_index.fqn);
  if (record == records.end()) {
    if (const auto tensor = manifest_->find(item.storage_index.fqn)) {
      record = records.emplace(item.storage_index.fqn, manifest_->tensor(*tensor)).first;
    }
  }
  const TensorMetadata* tensor = record == records.end() ? nullptr : &record->second.metadata;
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
  return SegmentLoad::Want{&item, tensor, box};
}

Status SegmentReader::read(const LoadPlan& plan, LoadPlanner& planner) {
  Records records;
  std::map<std::uint32_t, std::vector<SegmentLoad::Want>> by_segment;
  for (const ReadItem& item : plan.items) {
    if (item.type == ReadItemType::bytes) continue;
    std::uint32_t segment = 0;
    SegmentLoad::Want want = TRY(locate(item, records, segment));
    by_segment[segment].push_back(std::move(want));
  }
  const auto load = SegmentLoad::make(env_, pool_, {directory_, reading_, role_.work});
  for (auto& [segment, wants] : by_segment) TRY(load->add(manifest_->segment(segment), std::move(wants)));
  TRY(load->read(planner));
  volume_ = load->volume();
  // Last: a streamed load, which places tensors on the way, leaves them alone when it fails.
  for (const ReadItem& item : plan.items) {
    if (item.type == ReadItemType::bytes) TRY(read_value(item, planner));
  }
  return {};
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

#include "impl/protocol/segment_writer.h"

#include <algorithm>
#include <map>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/format/hint.h"
#include "impl/protocol/build_manifest.h"
#include "impl/protocol/files.h"
#include "impl/protocol/staging.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

/// A segment holds one box of a tensor at most: the k-th box of a tensor goes to the k-th segment. Within a segment the widest elements come
/// first: so every tensor lies at a multiple of its element size, which readers that view the bytes in place need.
std::vector<std::vector<const WriteItem*>> by_segment(const SavePlan& plan) {
  std::vector<std::vector<const WriteItem*>> segments;
  std::map<std::string_view, std::size_t> boxes;
  for (const WriteItem& item : plan.items) {
    if (item.type == WriteItemType::bytes) continue;
    const std::size_t segment = boxes[item.index.fqn]++;
    if (segment == segments.size()) segments.emplace_back();
    segments[segment].push_back(&item);
  }
  for (auto& items : segments)
    std::ranges::stable_sort(items, std::greater(), [](const WriteItem* item) { return size_bytes(item->dtype); });
  return segments;
}

std::vector<port::WritePiece> cut_into_pieces(ByteView bytes, std::size_t piece_bytes, const std::shared_ptr<const void>& owner) {
  std::vector<port::WritePiece> pieces;
  for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
    pieces.push_back({at, bytes.subspan(at, std::min(piece_bytes, bytes.size() - at)), owner});
  }
  return pieces;
}

std::vector<plan::Committed> committed_of(const Survey& found) {
  std::vector<plan::Committed> committed;
  for (const CommittedAttempt& attempt : found.committed) committed.push_back(attempt.committed);
  return committed;
}

std::vector<BlockDigest> block_digests(ByteView data, std::size_t block_bytes) {
  std::vector<BlockDigest> digests;
  for (std::size_t at = 0; at < data.size(); at += block_bytes)
    digests.push_back(block_digest(data.subspan(at, std::min(block_bytes, data.size() - at))));
  return digests;
}

}  // namespace

Status SegmentWriter::set_up_storage_writer(const Role& role) {
  role_ = role;
  warnings_.clear();
  return {};
}

Result<SavePlan> SegmentWriter::prepare_local_plan(SavePlan plan) { return plan; }

Result<std::vector<SavePlan>> SegmentWriter::prepare_global_plan(std::vector<SavePlan> plans) {
  env_.enter("1 identify");
  const Survey found = TRY(survey(env_.storage, role_.reduce));
  const std::vector<plan::Committed> committed = committed_of(found);
  attempt_ = plan::next_attempt(found.all, options_.step);
  // Not below the attempt's own number: a MANIFEST that cannot be read just now must not make the new checkpoint rank below the one it commits.
  const std::uint64_t sequence = std::max<std::uint64_t>(plan::next_sequence(committed), attempt_.attempt);
  ticket_ = {plan::directory_name(attempt_), sequence, found.committed.empty() ? "" : found.committed.front().directory};
  // Exclusive: of two coordinators that are alive at once, one gets this name and the other fails here, before anything is written.
  TRY(env_.storage.make_directory(ticket_.directory, role_.reduce));
  TRY(env_.storage.sync_directory("", role_.reduce));
  for (SavePlan& plan : plans) plan.storage_data = encode(ticket_);
  return plans;
}

Result<port::Future<std::vector<WriteResult>>> SegmentWriter::write_data(const SavePlan& plan, SavePlanner& planner) {
  ticket_ = TRY(decode_ticket(plan.storage_data));
  return port::Future<std::vector<WriteResult>>::ready(write(plan, planner));
}

Result<std::vector<WriteResult>> SegmentWriter::write(const SavePlan& plan, SavePlanner& planner) {
  std::vector<WriteResult> results;
  const auto segments = by_segment(plan);
  for (std::size_t number = 0; number < segments.size(); ++number) TRY(write_segment(segments[number], number, planner, results));
  std::size_t values = 0;
  for (const WriteItem& item : plan.items) {
    if (item.type == WriteItemType::bytes) TRY(write_value(item, values++, planner, results));
  }
  if (!results.empty()) TRY(env_.storage.sync_directory(ticket_.directory, role_.work));
  return results;
}

Status SegmentWriter::write_segment(const std::vector<const WriteItem*>& items, std::size_t number, SavePlanner& planner,
                                    std::vector<WriteResult>& results) {
  std::vector<format::SegmentTensor> tensors;
  for (const WriteItem* item : items) tensors.push_back({item->index.fqn, item->dtype, item->shape, item->chunk, 0, 0});
  const format::SegmentLayout layout = TRY(format::lay_out_segment(std::move(tensors), options_.block_bytes));

  env_.enter("3 snapshot");
  const port::Buffer staging = TRY(env_.device.allocate_staging(layout.file_bytes()));
  const ByteSpan data = staging.bytes.subspan(layout.header_bytes, layout.data_bytes);
  std::vector<StagedBox> boxes;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const WriteItem& item = *items[i];
    const format::SegmentTensor& tensor = layout.tensors[i];
    const SavePlanner::Data source = TRY(planner.resolve_data(item));
    const auto* block = std::get_if<StridedBlock>(&source);
    if (!block || block->sizes != tensor.box.size || block->element_bytes != size_bytes(tensor.dtype)) {
      return fail(ErrorCode::invalid_argument, "save {}: the planner's data is not a block of the item's size", to_string(item.index));
    }
    boxes.push_back({*block, tensor.box, tensor.shape, tensor.dtype, data.subspan(tensor.offset, tensor.bytes)});
  }
  const std::vector<TensorDigest> digests = TRY(snapshot(env_.device, boxes, staging.owner, role_.work));

  env_.enter("4 write");
  const Bytes header = format::encode_segment_header(layout, block_digests(data, layout.block_bytes), ticket_.directory);
  std::ranges::copy(header, staging.bytes.begin());
  const std::string name = fmt::format("segment-{:05}-{:03}.safetensors", role_.rank, number);
  TRY(write_new_file(env_.storage, join(ticket_.directory, name), cut_into_pieces(staging.bytes, options_.block_bytes, staging.owner),
                     role_.work));

  TensorPlace place;
  place.segment = format::SegmentRecord{name, layout.file_bytes(), layout.header_bytes, block_digest(header)};
  for (std::size_t i = 0; i < items.size(); ++i) {
    place.offset = layout.tensors[i].offset;
    place.digest = digests[i];
    results.push_back({items[i]->index, layout.tensors[i].bytes, encode(place)});
    place.segment.reset();
  }
  return {};
}

Status SegmentWriter::write_value(const WriteItem& item, std::size_t number, SavePlanner& planner, std::vector<WriteResult>& results) {
  const SavePlanner::Data source = TRY(planner.resolve_data(item));
  const auto* value = std::get_if<ByteView>(&source);
  if (!value) return fail(ErrorCode::invalid_argument, "save \"{}\": the planner's data is not a byte value", item.index.fqn);
  env_.enter("4 write");
  const SharedBytes bytes = to_bytes(*value);
  const std::string name = fmt::format("bytes-{:05}-{:03}.bin", role_.rank, number);
  TRY(write_new_file(env_.storage, join(ticket_.directory, name), cut_into_pieces(bytes.view(), options_.block_bytes, bytes.owner()),
                     role_.work));
  const format::BytesRecord record{name, bytes.size(), block_digest(bytes.view())};
  results.push_back({item.index, bytes.size(), encode(record)});
  return {};
}

Status SegmentWriter::finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) {
  env_.enter("6 publish");
  if (MUTATE("segment_writer.delete_before_publish", false, !ticket_.parent.empty())) {
    warn(remove_directory_tree(env_.storage, ticket_.parent, manifest_name, role_.reduce));
  }
  const Status published = publish(metadata, results);
  if (!published && MUTATE("segment_writer.ignores_failed_publish", true, false)) return published;
  env_.enter("8 retire");
  warn(replace_file(env_.storage, "", hint_name, format::encode_hint(ticket_.directory), role_.reduce));
  warn(retire());
  return {};
}

Status SegmentWriter::publish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) {
  const ManifestHead head{attempt_, ticket_, role_.world_size, options_.block_bytes};
  const format::Manifest manifest = TRY(build_manifest(head, metadata, results));
  return publish_if_absent(env_.storage, ticket_.directory, manifest_name, format::encode_manifest(manifest), role_.reduce);
}

Status SegmentWriter::retire() {
  const Survey found = TRY(survey(env_.storage, role_.reduce));
  const std::vector<plan::Committed> committed = committed_of(found);
  for (const plan::AttemptId id : plan::to_retire(committed, ticket_.sequence, options_.retention, options_.last_verified)) {
    MARK("segment_writer.retired");
    TRY(remove_directory_tree(env_.storage, plan::directory_name(id), manifest_name, role_.reduce));
  }
  for (const plan::AttemptId id : found.uncommitted) {
    // An attempt with a higher number is somebody else's, and younger than ours.
    if (id.attempt >= attempt_.attempt) continue;
    MARK("segment_writer.swept_orphan");
    TRY(remove_directory_tree(env_.storage, plan::directory_name(id), manifest_name, role_.reduce));
  }
  return env_.storage.sync_directory("", role_.reduce);
}

void SegmentWriter::warn(const Status& status) {
  if (status) return;
  MARK("segment_writer.warned");
  warnings_.push_back(fmt::format("{}", status.error()));
}

}  // namespace holdfast::protocol

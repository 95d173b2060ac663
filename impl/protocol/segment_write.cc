#include "impl/protocol/segment_write.h"

#include <algorithm>
#include <map>

#include "impl/format/segment.h"
#include "impl/protocol/files.h"
#include "impl/protocol/staging.h"

namespace holdfast::protocol {
namespace {

std::vector<port::WritePiece> cut_into_pieces(ByteView bytes, std::size_t piece_bytes, const std::shared_ptr<const void>& owner) {
  std::vector<port::WritePiece> pieces;
  for (std::size_t at = 0; at < bytes.size(); at += piece_bytes) {
    pieces.push_back({at, bytes.subspan(at, std::min(piece_bytes, bytes.size() - at)), owner});
  }
  return pieces;
}

std::vector<BlockDigest> block_digests(ByteView data, std::size_t block_bytes) {
  std::vector<BlockDigest> digests;
  for (std::size_t at = 0; at < data.size(); at += block_bytes)
    digests.push_back(block_digest(data.subspan(at, std::min(block_bytes, data.size() - at))));
  return digests;
}

}  // namespace

struct SegmentWrite::Segment {
  std::size_t number = 0;
  std::vector<Tensor>& tensors;
  format::SegmentLayout layout = {};
  port::Buffer staging = {};
  std::vector<TensorDigest> digests = {};

  ByteSpan data() const { return staging.bytes.subspan(layout.header_bytes, layout.data_bytes); }
};

Status SegmentWrite::take(const SavePlan& plan, std::shared_ptr<SavePlanner> planner) {
  planner_ = std::move(planner);
  // A segment holds one box of a tensor at most.
  std::map<std::string_view, std::int64_t> boxes;
  for (const WriteItem& item : plan.items) {
    const SavePlanner::Data source = TRY(planner_->resolve_data(item));
    if (item.type == WriteItemType::bytes) {
      const auto* value = std::get_if<ByteView>(&source);
      if (!value) return fail(ErrorCode::invalid_argument, "save \"{}\": the planner's data is not a byte value", item.index.fqn);
      values_.push_back({item, to_bytes(*value)});
      continue;
    }
    const auto* block = std::get_if<StridedBlock>(&source);
    if (!block || block->sizes != item.chunk.size || block->element_bytes != size_bytes(item.dtype)) {
      return fail(ErrorCode::invalid_argument, "save {}: the planner's data is not a block of the item's size", to_string(item.index));
    }
    const std::int64_t box = boxes[item.index.fqn]++;
    if (box == format::segments_a_rank_max) {
      return fail(ErrorCode::unsupported, "save \"{}\": rank {} is to write over {} boxes of it", item.index.fqn, rank, box);
    }
    const std::size_t segment = format::segment_of_box(rank, box).number;
    if (segment == tensors_.size()) tensors_.emplace_back();
    tensors_[segment].push_back({item, *block});
  }
  // Within a segment the widest elements come first: so every tensor lies at a multiple of its element size, which readers that view the bytes in
  // place need.
  for (auto& tensors : tensors_)
    std::ranges::stable_sort(tensors, std::greater(), [](const Tensor& tensor) { return size_bytes(tensor.item.dtype); });
  return {};
}

Result<std::vector<WriteResult>> SegmentWrite::run(port::Promise<void>& staged) {
  std::vector<Segment> segments;
  for (std::size_t number = 0; number < tensors_.size(); ++number) segments.push_back({number, tensors_[number]});
  for (Segment& segment : segments) {
    if (const Status done = stage(segment); !done) {
      staged.set(done);
      return fail(done.error());
    }
  }
  planner_.reset();
  staged.set({});
  std::vector<WriteResult> results;
  for (Segment& segment : segments) TRY(write(segment, results));
  for (std::size_t number = 0; number < values_.size(); ++number) TRY(write_value(values_[number], number, results));
  if (!results.empty()) TRY(env_.storage.sync_directory(directory, deadline));
  return results;
}

Status SegmentWrite::stage(Segment& segment) {
  std::vector<format::SegmentTensor> tensors;
  for (const Tensor& tensor : segment.tensors)
    tensors.push_back({tensor.item.index.fqn, tensor.item.dtype, tensor.item.shape, tensor.item.chunk, 0, 0});
  segment.layout = TRY(format::lay_out_segment(std::move(tensors), block_bytes));

  env_.enter("3 snapshot");
  const std::uint64_t bytes = segment.layout.file_bytes();
  segment.staging = TRY(pool_->acquire(bytes, staging_budget_bytes.value_or(std::numeric_limits<std::uint64_t>::max()), deadline));
  segment.staging.bytes = segment.staging.bytes.first(bytes);
  std::vector<StagedBox> boxes;
  for (std::size_t i = 0; i < segment.tensors.size(); ++i) {
    const format::SegmentTensor& tensor = segment.layout.tensors[i];
    boxes.push_back(
        {segment.tensors[i].memory, tensor.box, tensor.shape, tensor.dtype, segment.data().subspan(tensor.offset, tensor.bytes)});
  }
  segment.digests = TRY(snapshot(env_.device, boxes, segment.staging.owner, deadline));
  return {};
}

Status SegmentWrite::write(Segment& segment, std::vector<WriteResult>& results) {
  env_.enter("4 write");
  const format::SegmentLayout& layout = segment.layout;
  const Bytes header = format::encode_segment_header(layout, block_digests(segment.data(), layout.block_bytes), directory);
  std::ranges::copy(header, segment.staging.bytes.begin());
  const format::SegmentId id{rank, static_cast<std::uint16_t>(segment.number)};
  TRY(write_new_file(env_.storage, join(directory, format::segment_name(id)),
                     cut_into_pieces(segment.staging.bytes, block_bytes, segment.staging.owner), deadline));
  segment.staging = {};

  TensorPlace place;
  place.segment = format::SegmentRecord{id, layout.file_bytes(), layout.header_bytes, block_digest(header)};
  for (std::size_t i = 0; i < segment.tensors.size(); ++i) {
    place.digest = segment.digests[i];
    results.push_back({segment.tensors[i].item.index, layout.tensors[i].bytes, encode(place)});
    place.segment.reset();
  }
  return {};
}

Status SegmentWrite::write_value(const Value& value, std::size_t number, std::vector<WriteResult>& results) {
  env_.enter("4 write");
  const format::BytesRecord record{rank, static_cast<std::uint32_t>(number), value.bytes.size(), block_digest(value.bytes.view())};
  TRY(write_new_file(env_.storage, join(directory, record.path()), cut_into_pieces(value.bytes.view(), block_bytes, value.bytes.owner()),
                     deadline));
  results.push_back({value.item.index, value.bytes.size(), encode(record)});
  return {};
}

}  // namespace holdfast::protocol

#include "impl/protocol/segment_sources.h"

#include <optional>

#include "impl/core/mark.h"
#include "impl/core/mesh_layout.h"
#include "impl/core/mutate.h"
#include "impl/plan/shared_reads.h"

namespace holdfast::protocol {
namespace {

std::int64_t volume_of(const Dims& sizes) { return volume({sizes.data(), sizes.size()}); }

/// `held`, which lies in `local` and in the item. The local box begins local.start elements from chunk.data, and has the strides of the chunk.
LoadPlanner::Part part_of(const ReadItem& item, const LocalBox& local, const Box& held, const StridedBlock& chunk) {
  Dims offset = held.offset;
  std::int64_t at = MUTATE("segment_load.part_of_wrong_row", local.start, 0) * chunk.element_bytes;
  for (std::size_t d = 0; d < offset.size(); ++d) {
    at += (offset[d] - local.box.offset[d]) * chunk.strides_bytes[d];
    offset[d] -= item.storage_offset[d];
  }
  return {std::move(offset), {chunk.data + at, held.size, chunk.strides_bytes, chunk.element_bytes}};
}

}  // namespace

Status SegmentSources::add(const format::SegmentRecord& segment, std::vector<Want> wants, port::Deadline deadline) {
  SegmentFile file = TRY(SegmentFile::open(storage_, directory_, segment, deadline));
  Source& source = sources_.emplace_back(Source{std::move(file), std::move(wants), {}});
  for (std::size_t i = 0; i < source.wants.size(); ++i) {
    const Want& want = source.wants[i];
    const Result<std::size_t> tensor = source.file.find(want.item->storage_index.fqn, *want.tensor, want.chunk);
    if (!tensor) return fail(within(tensor.error(), "load {}", to_string(want.item->storage_index)));
    source.wants_of.emplace(*tensor, i);
    bytes_needed_ += static_cast<std::uint64_t>(volume_of(want.item->lengths)) * size_bytes(want.tensor->dtype);
  }
  return {};
}

std::vector<bool> SegmentSources::wanted_blocks(std::size_t number) const {
  const Source& source = sources_[number];
  const format::SegmentLayout& layout = source.file.header().layout;
  std::vector<bool> wanted(layout.block_count(), false);
  for (const auto& [tensor, want_number] : source.wants_of) {
    const Want& want = source.wants[want_number];
    const std::uint64_t first_block = layout.tensors[tensor].first_block;
    const plan::ChunkBlocks chunk{want.chunk.size, size_bytes(want.tensor->dtype), layout.block_bytes};
    for (const plan::BlockRange& range : chunk.holding({want.item->storage_offset, want.item->lengths})) {
      for (std::uint64_t block = range.first; block < range.end; ++block) wanted[first_block + block] = true;
    }
  }
  return wanted;
}

std::map<MetadataIndex, SegmentSources::Place> SegmentSources::places() const {
  std::map<MetadataIndex, Place> places;
  for (std::size_t source = 0; source < sources_.size(); ++source) {
    for (const auto& [tensor, want] : sources_[source].wants_of)
      places.emplace(sources_[source].wants[want].item->storage_index, Place{source, tensor});
  }
  return places;
}

Status SegmentSources::check(std::size_t source, const ReadPlan::Run& run, const std::byte* memory) const {
  const SegmentFile& file = sources_[source].file;
  for (std::size_t number = run.first_block; number < run.end_block; ++number) {
    const format::SegmentBlock block = file.header().layout.block(number);
    TRY(file.check_block(number, ByteView(memory + (block.offset - run.begin), block.bytes)));
  }
  return {};
}

/// A run is a flat range of a chunk: of that, the boxes that meet the items.
void SegmentSources::append_parts(std::size_t number, const ReadPlan::Run& run, std::byte* memory, Parts& parts) const {
  const Source& source = sources_[number];
  const format::SegmentTensor& tensor = source.file.header().layout.tensors[run.tensor];
  const std::uint32_t element_bytes = size_bytes(tensor.dtype);
  const std::uint64_t begin = run.begin - tensor.offset;
  const auto first = static_cast<std::int64_t>((begin + element_bytes - 1) / element_bytes);
  const auto end = static_cast<std::int64_t>((run.end - tensor.offset) / element_bytes);
  std::vector<LocalBox> boxes;  // of the chunk
  append_flat_range({Dims(tensor.box.size.size(), 0), tensor.box.size}, first, end, 0, boxes);
  std::byte* const elements = memory + (static_cast<std::uint64_t>(first) * element_bytes - begin);
  const StridedBlock chunk = packed_block(elements, tensor.box.size, element_bytes);
  const auto [first_want, end_want] = source.wants_of.equal_range(run.tensor);
  for (auto want = first_want; want != end_want; ++want) {
    const ReadItem& item = *source.wants[want->second].item;
    for (const LocalBox& local : boxes) {
      const std::optional<Box> held = intersection(local.box, {item.storage_offset, item.lengths});
      if (held) parts[{number, want->second}].push_back(part_of(item, local, *held, chunk));
    }
  }
}

Status SegmentSources::hand_over(const Parts& parts, const std::shared_ptr<const void>& owner, LoadPlanner& planner) const {
  for (const auto& [number, of_item] : parts) {
    if (of_item.size() > 1) MARK("segment_load.item_in_parts");
    TRY(planner.load_tensor(*sources_[number.first].wants[number.second].item, of_item, owner));
  }
  return {};
}

Status SegmentSources::hand_over_empty(LoadPlanner& planner) const {
  Parts parts;
  for (std::size_t source = 0; source < sources_.size(); ++source) {
    for (std::size_t want = 0; want < sources_[source].wants.size(); ++want) {
      if (volume_of(sources_[source].wants[want].item->lengths) == 0) parts[{source, want}];
    }
  }
  return hand_over(parts, nullptr, planner);
}

}  // namespace holdfast::protocol

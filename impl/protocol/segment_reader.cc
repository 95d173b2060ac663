#include "impl/protocol/segment_reader.h"

#include <algorithm>

#include "impl/protocol/files.h"
#include "impl/protocol/segment_file.h"
#include "impl/protocol/survey.h"

namespace holdfast::protocol {
namespace {

/// Calls run(chunk element index, item element index, elements) for each innermost run of a sub-box of a row-major chunk.
template <typename Run>
void for_each_row(const Dims& chunk_size, const Dims& offset, const Dims& lengths, Run run) {
  // A block of one-byte "elements" at address 0: its offsets are element indices.
  const StridedBlock chunk = packed_block(nullptr, chunk_size, 1);
  StridedBlock part = chunk;
  part.sizes = lengths;
  std::int64_t start = 0;
  for (std::size_t d = 0; d < offset.size(); ++d) start += offset[d] * chunk.strides_bytes[d];
  for_each_run(part, [&](std::int64_t at, std::int64_t elements) { run(start + at, elements); });
}

const SegmentFile::Run& run_at(const std::vector<SegmentFile::Run>& runs, std::uint64_t offset) {
  return *std::prev(std::ranges::upper_bound(runs, offset, {}, &SegmentFile::Run::begin));
}

}  // namespace

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

Result<SegmentReader::Want> SegmentReader::locate(const ReadItem& item, Records& records, std::uint32_t& segment) const {
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
  return Want{&item, tensor, box, size_bytes(tensor->dtype)};
}

Status SegmentReader::read(const LoadPlan& plan, LoadPlanner& planner) {
  Records records;
  std::map<std::uint32_t, std::vector<Want>> by_segment;
  for (const ReadItem& item : plan.items) {
    if (item.type == ReadItemType::bytes) {
      TRY(read_value(item, planner));
      continue;
    }
    std::uint32_t segment = 0;
    const Want want = TRY(locate(item, records, segment));
    by_segment[segment].push_back(want);
  }
  for (auto& [segment, wants] : by_segment) TRY(read_segment(segment, wants, planner));
  return {};
}

Status SegmentReader::read_segment(std::uint32_t number, std::vector<Want>& wants, LoadPlanner& planner) {
  const format::SegmentRecord record = manifest_->segment(number);
  SegmentFile file = TRY(SegmentFile::open(env_.storage, directory_, record, role_.work));
  const format::SegmentLayout& layout = file.header().layout;

  std::vector<bool> wanted(layout.block_count(), false);
  for (Want& want : wants) {
    const Result<std::uint64_t> place = file.place_of(want.item->storage_index.fqn, *want.tensor, want.chunk);
    if (!place) return fail(within(place.error(), "load {}", to_string(want.item->storage_index)));
    want.chunk_offset = *place;
    for_each_row(want.chunk.size, want.item->storage_offset, want.item->lengths, [&](std::int64_t element, std::int64_t elements) {
      const std::uint64_t begin = want.chunk_offset + static_cast<std::uint64_t>(element) * want.element_bytes;
      const std::uint64_t end = begin + static_cast<std::uint64_t>(elements) * want.element_bytes;
      for (std::uint64_t block = begin / layout.block_bytes; block * layout.block_bytes < end; ++block) wanted[block] = true;
    });
  }
  const std::vector<SegmentFile::Run> runs = TRY(file.read_blocks(wanted, role_.work));
  for (const SegmentFile::Run& run : runs) volume_.bytes_read += run.bytes->size();

  for (const Want& want : wants) {
    const StridedBlock destination = TRY(planner.resolve_tensor(*want.item));
    if (destination.sizes != want.item->lengths || destination.element_bytes != want.element_bytes) {
      return fail(ErrorCode::invalid_argument, "load {}: the planner's memory is not of the item's size", to_string(want.item->dest_index));
    }
    Bytes packed(destination.bytes());
    std::byte* out = packed.data();
    for_each_row(want.chunk.size, want.item->storage_offset, want.item->lengths, [&](std::int64_t element, std::int64_t elements) {
      const std::uint64_t begin = want.chunk_offset + static_cast<std::uint64_t>(element) * want.element_bytes;
      const auto bytes = static_cast<std::size_t>(elements) * want.element_bytes;
      const SegmentFile::Run& run = run_at(runs, begin);
      out = std::copy_n(run.bytes->data() + (begin - run.begin), bytes, out);
    });
    copy_block(packed_block(packed.data(), destination.sizes, destination.element_bytes), destination);
    volume_.bytes_needed += packed.size();
    TRY(planner.commit_tensor(*want.item));
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

#include "impl/protocol/staging.h"

#include <algorithm>
#include <array>
#include <optional>

#include "impl/core/mark.h"
#include "impl/core/mesh_layout.h"
#include "impl/core/mutate.h"
#include "impl/protocol/device_wait.h"

namespace holdfast::protocol {
namespace {

/// Host memory is staged in groups of so many bytes: both copies of one, and the keys of its digest, stay in a core's cache.
constexpr std::uint64_t host_group_bytes = 256 << 10;

/// A box of a tensor whose bytes are consecutive in the segment.
struct Part {
  std::size_t tensor = 0;
  Box box;  ///< of the whole tensor
  StridedBlock memory;
  ByteSpan staging;
};

void append_parts(const format::SegmentTensor& tensor, std::size_t number, const StridedBlock& memory, std::uint64_t begin, ByteSpan into,
                  std::vector<Part>& parts) {
  if (into.size() == tensor.bytes) {
    parts.push_back({number, tensor.box, memory, into});
    return;
  }
  const std::uint32_t element = memory.element_bytes;
  std::vector<LocalBox> boxes;
  append_flat_range({Dims(tensor.box.size.size(), 0), tensor.box.size}, static_cast<std::int64_t>(begin / element),
                    static_cast<std::int64_t>((begin + into.size()) / element), 0, boxes);
  for (const LocalBox& local : boxes) {
    Box box = local.box;
    for (std::size_t d = 0; d < box.offset.size(); ++d) box.offset[d] += MUTATE("staging.digest_of_wrong_range", tensor.box.offset[d], 0);
    StridedBlock part = narrow(memory, local.box.offset, local.box.size);
    const std::size_t bytes = part.bytes();
    parts.push_back({number, std::move(box), std::move(part), into.first(bytes)});
    into = into.subspan(bytes);
  }
}

/// What bytes [begin, begin + into.size()) of a segment's data area are.
std::vector<Part> parts_of(const format::SegmentLayout& layout, std::span<const StridedBlock> memory, std::uint64_t begin, ByteSpan into) {
  const auto end_of = [](const format::SegmentTensor& tensor) { return tensor.offset + tensor.bytes; };
  const auto first = std::ranges::upper_bound(layout.tensors, begin, {}, end_of);
  std::vector<Part> parts;
  for (auto i = static_cast<std::size_t>(first - layout.tensors.begin()); !into.empty(); ++i) {
    const format::SegmentTensor& tensor = layout.tensors[i];
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), end_of(tensor) - begin));
    if (bytes != 0) append_parts(tensor, i, memory[i], begin - tensor.offset, into.first(bytes), parts);
    into = into.subspan(bytes);
    begin += bytes;
  }
  return parts;
}

/// Bytes of the longest run of whole inner slices of a tensor that is at most `bytes_max`: cut there, a range is one box.
std::uint64_t slice_bytes(const format::SegmentTensor& tensor, std::uint64_t bytes_max) {
  std::uint64_t bytes = size_bytes(tensor.dtype);
  for (std::size_t d = tensor.box.size.size(); d-- > 0;) {
    const auto size = static_cast<std::uint64_t>(tensor.box.size[d]);
    if (size == 0 || size > bytes_max / bytes) break;
    bytes *= size;
  }
  return bytes;
}

/// Where the group that starts at `begin` ends, at `end` at the latest.
std::uint64_t group_end(const format::SegmentLayout& layout, std::span<const StridedBlock> memory, std::uint64_t begin, std::uint64_t end) {
  const std::uint64_t cut = begin + host_group_bytes;
  if (cut >= end) return end;
  const auto after = std::ranges::upper_bound(layout.tensors, cut, {}, &format::SegmentTensor::offset);
  const format::SegmentTensor& tensor = *std::prev(after);
  // A device copies and digests better in one piece.
  if (memory[static_cast<std::size_t>(std::prev(after) - layout.tensors.begin())].kind == MemoryKind::device) return end;
  const std::uint64_t inside = cut - tensor.offset;
  const std::uint64_t even = cut - inside % slice_bytes(tensor, host_group_bytes / 4);
  return even > begin ? even : cut;
}

TensorDigest staging_digest(const Part& part, const format::SegmentTensor& tensor) {
  return tensor_digest(packed_block(part.staging.data(), part.box.size, part.memory.element_bytes), part.box, tensor.shape, tensor.dtype);
}

/// Adds bytes of one tensor, cut into its blocks. `tensor_ends`: they are its last.
void add_blocks(ByteView bytes, std::uint32_t block_bytes, bool tensor_ends, SegmentDigests& digests) {
  while (!bytes.empty()) {
    const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), block_bytes - digests.block_bytes));
    const bool ends = digests.block_bytes + taken == block_bytes || (tensor_ends && taken == bytes.size());
    if (ends && digests.block_bytes == 0) {
      digests.blocks.push_back(block_digest(bytes.first(taken)));
    } else {
      digests.block.update(bytes.first(taken));
      digests.block_bytes = ends ? 0 : digests.block_bytes + taken;
      if (ends) digests.blocks.push_back(digests.block.finish());
    }
    bytes = bytes.subspan(taken);
  }
}

/// The part's bytes as they are stored, in host memory: its own, where they lie like that. They are in the cache, and staging is not (pack_and_digest);
/// and a copy that went wrong within the processor then differs from its digest.
ByteView stored_bytes(const Part& part) {
  const bool as_stored = part.memory.kind == MemoryKind::host && is_packed(part.memory);
  return as_stored ? ByteView(part.memory.data, part.staging.size()) : ByteView(part.staging);
}

}  // namespace

Result<Stager> Stager::open(const port::Env& env, const TrainerWork& after, port::Deadline deadline) {
  const port::StreamId stream = TRY(after.open_stream(env));
  return Stager(env, stream, deadline);
}

Stager::~Stager() {
  if (env_) env_->device.destroy_stream(stream_);
}

Status Stager::stage(std::span<const port::StageItem> items, const std::shared_ptr<void>& owner) {
  return finish(*env_, stream_, env_->device.stage(items, owner, stream_), deadline_);
}

namespace {

/// Adds the digest of a part of a tensor. `moved`: taken where the part lay, by who moved it; none where staging is all there is.
Status add_tensor(const Part& part, const format::SegmentTensor& tensor, bool is_last, const std::optional<TensorDigest>& moved,
                  SegmentDigests& digests) {
  TensorDigest& sum = digests.tensors[part.tensor];
  if (digests.snapshot.empty()) {
    const TensorDigest staged = part.memory.kind == MemoryKind::device ? staging_digest(part, tensor) : *moved;
    if (staged != *moved) {
      return fail(ErrorCode::corrupt, "copy out \"{}\" box {}: staging has digest {}, the device {}", tensor.name, to_string(part.box),
                  to_string(staged), to_string(*moved));
    }
    sum += *moved;
    return {};
  }
  sum += moved ? *moved : staging_digest(part, tensor);
  const TensorDigest& source = digests.snapshot[part.tensor];
  if (is_last && MUTATE("snapshot.digest_of_copy_only", sum != source, false)) {
    return fail(ErrorCode::corrupt, "stage the snapshot of \"{}\" box {}: it has digest {}, the tensor had {}", tensor.name,
                to_string(tensor.box), to_string(sum), to_string(source));
  }
  return {};
}

}  // namespace

Status Stager::stage(const format::SegmentLayout& layout, std::span<const StridedBlock> memory, std::uint64_t begin, ByteSpan into,
                     const std::shared_ptr<void>& owner, SegmentDigests& digests) {
  struct Kept {
    std::shared_ptr<void> staging;
    std::vector<TensorDigest> digests;
  };
  digests.tensors.resize(layout.tensors.size());
  while (!into.empty()) {
    const auto bytes = static_cast<std::size_t>(group_end(layout, memory, begin, begin + into.size()) - begin);
    const ByteSpan group = into.first(bytes);
    const std::vector<Part> parts = parts_of(layout, memory, begin, group);
    const auto kept = std::make_shared<Kept>(Kept{owner, std::vector<TensorDigest>(parts.size())});
    // A device need not digest what was digested before it was copied: staging is compared with that.
    const auto is_digested = [&](const Part& part) { return digests.snapshot.empty() || part.memory.kind == MemoryKind::host; };
    std::vector<port::StageItem> items;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const format::SegmentTensor& tensor = layout.tensors[parts[i].tensor];
      items.push_back({parts[i].memory, parts[i].box, tensor.shape, tensor.dtype, parts[i].staging,
                       is_digested(parts[i]) ? &kept->digests[i] : nullptr});
    }
    TRY(stage(items, kept));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const Part& part = parts[i];
      const format::SegmentTensor& tensor = layout.tensors[part.tensor];
      const auto end = static_cast<std::uint64_t>(part.staging.data() - group.data()) + begin + part.staging.size();
      const bool is_last = end == tensor.offset + tensor.bytes;
      TRY(add_tensor(part, tensor, is_last, is_digested(part) ? std::optional(kept->digests[i]) : std::nullopt, digests));
      if (part.staging.size() != tensor.bytes) MARK("staging.tensor_in_parts");
      add_blocks(stored_bytes(part), layout.block_bytes, is_last, digests);
    }
    into = into.subspan(bytes);
    begin += bytes;
  }
  return {};
}

namespace {

Status upload_here(const port::Env& env, const TrainerWork& after, std::span<Upload> parts, std::shared_ptr<const void> owner,
                   port::Deadline deadline) {
  struct Kept {
    std::shared_ptr<const void> staging;
    std::vector<TensorDigest> digests;
  };
  const auto kept = std::make_shared<Kept>(Kept{std::move(owner), std::vector<TensorDigest>(parts.size())});
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].destination.kind == MemoryKind::device) parts[i].digest = &kept->digests[i];
  }
  const port::StreamId stream = TRY(after.open_stream(env));
  const Status done = finish(env, stream, env.device.unstage(parts, kept, stream), deadline);
  env.device.destroy_stream(stream);
  TRY(done);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Upload& part = parts[i];
    if (part.destination.kind != MemoryKind::device) continue;
    const TensorDigest staged = tensor_digest(part.source, part.box, part.shape, part.dtype);
    if (staged == kept->digests[i]) continue;
    return fail(ErrorCode::corrupt, "copy in box {}: staging has digest {}, the device {}", to_string(part.box), to_string(staged),
                to_string(kept->digests[i]));
  }
  return {};
}

/// The parts in two halves of about as many bytes; the part in the middle is cut along its outermost dimension.
std::array<std::vector<Upload>, 2> halves(const std::vector<Upload>& parts, std::uint64_t bytes) {
  std::array<std::vector<Upload>, 2> cut;
  std::uint64_t before = 0;
  for (const Upload& part : parts) {
    const std::uint64_t here = part.source.bytes();
    const auto outer =
        static_cast<std::size_t>(std::ranges::find_if(part.box.size, [](std::int64_t size) { return size > 1; }) - part.box.size.begin());
    if (before + here <= bytes / 2 || before >= bytes / 2 || outer == part.box.size.size()) {
      cut[before >= bytes / 2].push_back(part);
    } else {
      const std::int64_t size = part.box.size[outer];
      const auto first = static_cast<std::int64_t>((bytes / 2 - before) / (here / static_cast<std::uint64_t>(size)));
      const auto add = [&](std::vector<Upload>& to, std::int64_t begin, std::int64_t end) {
        Dims offset(part.box.size.size(), 0), sizes = part.box.size;
        offset[outer] = begin;
        sizes[outer] = end - begin;
        Box box{part.box.offset, sizes};
        box.offset[outer] += begin;
        to.push_back({narrow(part.source, offset, sizes), box, part.shape, part.dtype, narrow(part.destination, offset, sizes)});
      };
      add(cut[0], 0, first);
      add(cut[1], first, size);
    }
    before += here;
  }
  return cut;
}

}  // namespace

Status upload(const port::Env& env, const TrainerWork& after, std::vector<Upload> parts, std::shared_ptr<const void> owner,
              std::uint64_t alone_bytes_max, port::Deadline deadline) {
  std::uint64_t bytes = 0;
  for (const Upload& part : parts) bytes += part.source.bytes();
  const auto is_on_host = [](const Upload& part) { return part.destination.kind == MemoryKind::host; };
  // A device moves bytes itself, and the processor only waits for it.
  if (bytes <= alone_bytes_max || !std::ranges::all_of(parts, is_on_host))
    return upload_here(env, after, parts, std::move(owner), deadline);
  std::array<std::vector<Upload>, 2> cut = halves(parts, bytes);
  auto promise = std::make_shared<port::Promise<void>>(env.tasks.make_monitor());
  port::Future<void> other = promise->future();
  auto place = [promise = std::move(promise), env, after = TrainerWork(after), half = std::move(cut[1]), owner, deadline]() mutable {
    const Status placed = upload_here(env, std::exchange(after, {}), half, std::move(owner), deadline);
    promise->set(placed);  // who hears of it may count the memory that is left
  };
  const Result<port::TaskId> task = env.tasks.spawn("place", std::move(place));
  Status done = task ? upload_here(env, after, cut[0], std::move(owner), deadline) : fail(task.error());
  if (task) env.tasks.detach(*task);
  const Status other_done = task ? other.get(deadline) : Status();
  if (other.pending() && env.unfinished) env.unfinished->add(std::move(other));
  return done ? other_done : done;
}

}  // namespace holdfast::protocol

#include "impl/protocol/segment_load.h"

#include <algorithm>
#include <limits>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

constexpr std::size_t readers = 4;      // so that the disk has work while one of them waits for its turn on a busy processor
constexpr std::size_t reads_ahead = 8;  // of what is verified

/// Calls call(chunk element index, elements) for each innermost run of a sub-box of a row-major chunk.
template <typename Call>
void for_each_row(const Dims& chunk_size, const Dims& offset, const Dims& lengths, Call call) {
  // A block of one-byte "elements" at address 0: its offsets are element indices.
  const StridedBlock chunk = packed_block(nullptr, chunk_size, 1);
  StridedBlock part = chunk;
  part.sizes = lengths;
  std::int64_t start = 0;
  for (std::size_t d = 0; d < offset.size(); ++d) start += offset[d] * chunk.strides_bytes[d];
  for_each_run(part, [&](std::int64_t at, std::int64_t elements) { call(start + at, elements); });
}

std::int64_t volume_of(const Dims& sizes) { return volume({sizes.data(), sizes.size()}); }

/// Where element `number` of a row-major box lies.
Dims position(std::int64_t number, const Dims& sizes) {
  Dims at(sizes.size(), 0);
  for (std::size_t d = sizes.size(); d-- > 0; number /= sizes[d]) at[d] = number % sizes[d];
  return at;
}

/// The size of a run of `elements` that covers whole inner dimensions of `sizes`.
Dims run_size(std::int64_t elements, const Dims& sizes) {
  Dims size(sizes.size(), 1);
  for (std::size_t d = sizes.size(); d-- > 0 && elements > 1; elements /= sizes[d]) size[d] = sizes[d];
  return size;
}

}  // namespace

SegmentLoad::SegmentLoad(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options)
    : env_(env), pool_(std::move(pool)), options_(std::move(options)), monitor_(env.tasks.make_monitor()),
      pipe_(env.tasks, "a read to do") {}

std::shared_ptr<SegmentLoad> SegmentLoad::make(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options) {
  return std::shared_ptr<SegmentLoad>(new SegmentLoad(env, std::move(pool), std::move(options)));
}

Status SegmentLoad::add(const format::SegmentRecord& segment, std::vector<Want> wants) {
  SegmentFile file = TRY(SegmentFile::open(env_.storage, options_.directory, segment, options_.deadline));
  Source& source = sources_.emplace_back(Source{std::move(file), std::move(wants), {}});
  for (const Want& want : source.wants) {
    const Result<std::size_t> tensor = source.file.find(want.item->storage_index.fqn, *want.tensor, want.chunk);
    if (!tensor) return fail(within(tensor.error(), "load {}", to_string(want.item->storage_index)));
    source.tensors.push_back(*tensor);
    bytes_needed_ += static_cast<std::uint64_t>(volume_of(want.item->lengths)) * size_bytes(want.tensor->dtype);
  }
  add_reads(sources_.size() - 1, source.file.header().layout, wanted_blocks(source), options_.limits, plan_);
  return {};
}

std::vector<bool> SegmentLoad::wanted_blocks(const Source& source) const {
  const format::SegmentLayout& layout = source.file.header().layout;
  std::vector<bool> wanted(layout.block_count(), false);
  for (std::size_t i = 0; i < source.wants.size(); ++i) {
    const Want& want = source.wants[i];
    const std::uint64_t first_block = layout.tensors[source.tensors[i]].first_block;
    const std::uint64_t element_bytes = size_bytes(want.tensor->dtype);
    for_each_row(want.chunk.size, want.item->storage_offset, want.item->lengths, [&](std::int64_t element, std::int64_t elements) {
      const std::uint64_t begin = static_cast<std::uint64_t>(element) * element_bytes;
      const std::uint64_t end = begin + static_cast<std::uint64_t>(elements) * element_bytes;
      for (std::uint64_t block = begin / layout.block_bytes; block * layout.block_bytes < end; ++block) wanted[first_block + block] = true;
    });
  }
  return wanted;
}

Status SegmentLoad::read() {
  arenas_.resize(plan_.arena_bytes.size());
  done_.resize(plan_.reads.size());
  if (plan_.bytes > options_.limits.read_bytes) return read_ahead();
  for (std::size_t read = 0; read < plan_.reads.size(); ++read) {
    TRY(take_memory(read));
    TRY(perform(read));
    TRY(check_runs(read));
  }
  return {};
}

Status SegmentLoad::read_ahead() {
  MARK("segment_load.read_ahead");
  std::vector<port::Future<void>> tasks;
  Status done;
  for (std::size_t i = 0; done && i < std::min(readers, plan_.reads.size()); ++i) {
    auto task = port::Future<void>::run(env_.tasks, "read", [self = shared_from_this()] { return self->perform_reads(); });
    if (task) tasks.push_back(*std::move(task));
    if (!task) done = fail(std::move(task).error());
  }
  std::size_t begun = 0;
  for (std::size_t read = 0; done && read < plan_.reads.size(); ++read) {
    for (; done && begun < std::min(plan_.reads.size(), read + reads_ahead); ++begun) {
      done = take_memory(begun);
      if (done) done = pipe_.push(begun);
    }
    if (done) done = await(read);
    if (done) done = check_runs(read);
  }
  if (!done) pipe_.fail(done.error());
  pipe_.close();
  for (auto& task : tasks) {
    const Status ended = task.get(options_.deadline);
    if (done) done = ended;
  }
  return done;
}

Status SegmentLoad::await(std::size_t read) {
  bool done = false;
  const auto is_done = [&] { return done = done_[read] || MUTATE("segment_load.skip_wait", false, true); };
  monitor_->change(is_done);
  if (!done) TRY(monitor_->wait("a read", [&] { return is_done() || failure_; }, options_.deadline));
  std::optional<Error> failure;
  monitor_->change([&] { failure = failure_; });
  return failure ? Status(fail(*std::move(failure))) : Status();
}

Status SegmentLoad::take_memory(std::size_t read) {
  for (const ReadPlan::Piece& piece : plan_.reads[read].pieces) {
    port::Buffer& arena = arenas_[piece.arena];
    if (arena.owner) continue;
    arena = TRY(pool_->acquire(plan_.arena_bytes[piece.arena], std::numeric_limits<std::uint64_t>::max(), options_.deadline));
  }
  return {};
}

Status SegmentLoad::perform(std::size_t read) {
  std::vector<port::ReadPiece> pieces;
  for (const ReadPlan::Piece& piece : plan_.reads[read].pieces) {
    const port::Buffer& arena = arenas_[piece.arena];
    pieces.push_back({piece.offset, arena.bytes.subspan(piece.arena_offset, piece.bytes), arena.owner});
  }
  return env_.storage.read_all(sources_[plan_.reads[read].source].file.id(), pieces, options_.deadline);
}

Status SegmentLoad::perform_reads() {
  for (;;) {
    Result<std::optional<std::size_t>> read = pipe_.pop(options_.deadline);
    if (!read) return fail(std::move(read).error());
    if (!*read) return {};
    const Status performed = perform(**read);
    monitor_->change([&] {
      if (performed) done_[**read] = true;
      if (!performed && !failure_) failure_ = performed.error();
    });
    TRY(performed);
  }
}

/// Verifies the blocks that are there once the reads up to `read` are done: memory fills in the order of the reads.
Status SegmentLoad::check_runs(std::size_t read) {
  const ReadPlan::Piece& last = plan_.reads[read].pieces.back();
  const std::pair filled(last.arena, last.arena_offset + last.bytes);
  for (; checked_runs_ < plan_.runs.size(); ++checked_runs_, checked_blocks_ = 0) {
    const ReadPlan::Run& run = plan_.runs[checked_runs_];
    const SegmentFile& file = sources_[run.source].file;
    for (; run.first_block + checked_blocks_ < run.end_block; ++checked_blocks_) {
      const std::size_t number = run.first_block + checked_blocks_;
      const format::SegmentBlock block = file.header().layout.block(number);
      const std::uint64_t at = block.offset - run.begin;
      if (std::pair(run.arena, run.arena_offset + at + block.bytes) > filled) return {};
      TRY(file.check_block(number, {address(run) + at, block.bytes}));
    }
  }
  return {};
}

Status SegmentLoad::hand_over(LoadPlanner& planner) const {
  CHECK(checked_runs_ == plan_.runs.size(), "{} of {} runs are verified", checked_runs_, plan_.runs.size());
  const auto owner = std::make_shared<std::vector<port::Buffer>>(arenas_);
  for (std::size_t source = 0; source < sources_.size(); ++source) {
    for (std::size_t want = 0; want < sources_[source].wants.size(); ++want) {
      std::vector<LoadPlanner::Part> parts;
      append_parts(source, want, parts);
      TRY(planner.load_tensor(*sources_[source].wants[want].item, parts, owner));
    }
  }
  return {};
}

/// The item as one part where its bytes lie in one run, else row by row.
void SegmentLoad::append_parts(std::size_t number, std::size_t which, std::vector<LoadPlanner::Part>& parts) const {
  const Source& source = sources_[number];
  const Want& want = source.wants[which];
  const Dims& lengths = want.item->lengths;
  if (volume_of(lengths) == 0) return;
  const format::SegmentTensor& tensor = source.file.header().layout.tensors[source.tensors[which]];
  const auto part = [&](std::uint64_t begin, std::uint64_t end, std::int64_t first, const Dims& sizes) {
    const auto place = [](const ReadPlan::Run& run) { return std::pair(run.source, run.begin); };
    const ReadPlan::Run& run = *std::prev(std::ranges::upper_bound(plan_.runs, std::pair(number, begin), {}, place));
    if (end > run.end) return false;
    StridedBlock memory = packed_block(nullptr, want.chunk.size, size_bytes(want.tensor->dtype));
    memory.data = address(run) + (begin - run.begin);
    memory.sizes = sizes;
    parts.push_back({position(first, lengths), std::move(memory)});
    return true;
  };
  const StridedBlock chunk = packed_block(nullptr, want.chunk.size, size_bytes(want.tensor->dtype));
  std::uint64_t begin = tensor.offset, end = tensor.offset + chunk.element_bytes;
  for (std::size_t d = 0; d < lengths.size(); ++d) {
    begin += static_cast<std::uint64_t>(want.item->storage_offset[d] * chunk.strides_bytes[d]);
    end += static_cast<std::uint64_t>((want.item->storage_offset[d] + lengths[d] - 1) * chunk.strides_bytes[d]);
  }
  if (part(begin, end, 0, lengths)) return;
  MARK("segment_load.rows_apart");
  std::int64_t first = 0;
  for_each_row(want.chunk.size, want.item->storage_offset, lengths, [&](std::int64_t element, std::int64_t elements) {
    const std::uint64_t at = tensor.offset + static_cast<std::uint64_t>(element) * chunk.element_bytes;
    const bool whole_row = part(at, at + static_cast<std::uint64_t>(elements) * chunk.element_bytes, first, run_size(elements, lengths));
    CHECK(whole_row, "the blocks of {} are not all there", to_string(want.item->storage_index));
    first += elements;
  });
}

}  // namespace holdfast::protocol

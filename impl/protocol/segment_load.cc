#include "impl/protocol/segment_load.h"

#include <algorithm>
#include <limits>

#include "impl/core/mark.h"
#include "impl/core/mesh_layout.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

constexpr std::size_t readers = 4;        // so that the disk has work while one of them waits for its turn on a busy processor
constexpr std::size_t windows_ahead = 8;  // of the one that is verified

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

SegmentLoad::SegmentLoad(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options)
    : env_(env), pool_(std::move(pool)), options_(std::move(options)), monitor_(env.tasks.make_monitor()),
      pipe_(env.tasks, "a read to do") {}

std::shared_ptr<SegmentLoad> SegmentLoad::make(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options) {
  return std::shared_ptr<SegmentLoad>(new SegmentLoad(env, std::move(pool), std::move(options)));
}

Status SegmentLoad::add(const format::SegmentRecord& segment, std::vector<Want> wants) {
  SegmentFile file = TRY(SegmentFile::open(env_.storage, options_.directory, segment, options_.deadline));
  Source& source = sources_.emplace_back(Source{std::move(file), std::move(wants), {}});
  for (std::size_t i = 0; i < source.wants.size(); ++i) {
    const Want& want = source.wants[i];
    const Result<std::size_t> tensor = source.file.find(want.item->storage_index.fqn, *want.tensor, want.chunk);
    if (!tensor) return fail(within(tensor.error(), "load {}", to_string(want.item->storage_index)));
    source.wants_of.emplace(*tensor, i);
    bytes_needed_ += static_cast<std::uint64_t>(volume_of(want.item->lengths)) * size_bytes(want.tensor->dtype);
  }
  std::uint64_t window_bytes = options_.reading.window_bytes;
  if (streams()) window_bytes = std::min(window_bytes, options_.reading.staging_budget_bytes / 2);
  add_reads(sources_.size() - 1, source.file.header().layout, wanted_blocks(source), window_bytes, plan_);
  return {};
}

std::vector<bool> SegmentLoad::wanted_blocks(const Source& source) const {
  const format::SegmentLayout& layout = source.file.header().layout;
  std::vector<bool> wanted(layout.block_count(), false);
  for (const auto& [tensor, number] : source.wants_of) {
    const Want& want = source.wants[number];
    const std::uint64_t first_block = layout.tensors[tensor].first_block;
    const std::uint64_t element_bytes = size_bytes(want.tensor->dtype);
    for_each_row(want.chunk.size, want.item->storage_offset, want.item->lengths, [&](std::int64_t element, std::int64_t elements) {
      const std::uint64_t begin = static_cast<std::uint64_t>(element) * element_bytes;
      const std::uint64_t end = begin + static_cast<std::uint64_t>(elements) * element_bytes;
      for (std::uint64_t block = begin / layout.block_bytes; block * layout.block_bytes < end; ++block) wanted[first_block + block] = true;
    });
  }
  return wanted;
}

Status SegmentLoad::read(LoadPlanner& planner) {
  memory_.resize(plan_.windows.size());
  done_.resize(plan_.windows.size());
  budget_ = budget_of_windows();
  TRY(hand_over_empty(planner));
  TRY(plan_.bytes > options_.reading.window_bytes ? read_ahead(planner) : read_here(planner));
  return streams() ? Status() : hand_over_all(planner);
}

Status SegmentLoad::read_here(LoadPlanner& planner) {
  for (std::size_t window = 0; window < plan_.windows.size(); ++window) {
    memory_[window] = TRY(pool_->acquire(plan_.windows[window].memory_bytes, budget_, options_.deadline));
    TRY(perform(window));
    TRY(take_in(window, planner));
  }
  return {};
}

Status SegmentLoad::read_ahead(LoadPlanner& planner) {
  MARK("segment_load.read_ahead");
  const std::size_t windows = plan_.windows.size();
  std::vector<port::Future<void>> tasks;
  Status done;
  for (std::size_t i = 0; done && i < std::min(readers, windows); ++i) {
    auto task = port::Future<void>::run(env_.tasks, "read", [self = shared_from_this()] { return self->perform_reads(); });
    if (task) tasks.push_back(*std::move(task));
    if (!task) done = fail(std::move(task).error());
  }
  std::size_t begun = 0;
  for (std::size_t window = 0; done && window < windows; ++window) {
    done = begin_reads(window, begun);
    if (done) done = await(window);
    if (done) done = take_in(window, planner);
  }
  if (!done) pipe_.fail(done.error());
  pipe_.close();
  for (auto& task : tasks) {
    const Status ended = task.get(options_.deadline);
    if (done) done = ended;
  }
  return done;
}

/// Asks for reads up to windows_ahead, and for that of `window` in any case. `begun`: how many were asked for.
Status SegmentLoad::begin_reads(std::size_t window, std::size_t& begun) {
  for (; begun < std::min(plan_.windows.size(), window + windows_ahead); ++begun) {
    const std::uint64_t bytes = plan_.windows[begun].memory_bytes;
    if (begun == window) {
      memory_[begun] = TRY(pool_->acquire(bytes, budget_, options_.deadline));
    } else {  // what it might wait for is ours
      std::optional<port::Buffer> memory = TRY(pool_->try_acquire(bytes, budget_));
      if (!memory) return {};
      memory_[begun] = *std::move(memory);
    }
    TRY(pipe_.push(begun));
  }
  return {};
}

std::uint64_t SegmentLoad::budget_of_windows() const {
  if (!streams()) return std::numeric_limits<std::uint64_t>::max();
  std::uint64_t budget = options_.reading.staging_budget_bytes;
  for (const ReadPlan::Window& window : plan_.windows) budget = std::max(budget, window.memory_bytes);
  return budget;
}

Status SegmentLoad::perform(std::size_t window) {
  std::vector<port::ReadPiece> pieces;
  const port::Buffer& memory = memory_[window];
  for (const ReadPlan::Piece& piece : plan_.windows[window].pieces)
    pieces.push_back({piece.offset, memory.bytes.subspan(piece.at, piece.bytes), memory.owner});
  return env_.storage.read_all(sources_[plan_.windows[window].source].file.id(), pieces, options_.deadline);
}

Status SegmentLoad::perform_reads() {
  for (;;) {
    Result<std::optional<std::size_t>> window = pipe_.pop(options_.deadline);
    if (!window) return fail(std::move(window).error());
    if (!*window) return {};
    const Status performed = perform(**window);
    monitor_->change([&] {
      if (performed) done_[**window] = true;
      if (!performed && !failure_) failure_ = performed.error();
    });
    TRY(performed);
  }
}

Status SegmentLoad::await(std::size_t window) {
  bool done = false;
  const auto is_done = [&] { return done = done_[window] || MUTATE("segment_load.skip_wait", false, true); };
  monitor_->change(is_done);
  if (!done) TRY(monitor_->wait("a read", [&] { return is_done() || failure_; }, options_.deadline));
  std::optional<Error> failure;  // of another window's read, maybe: no matter to one that is there
  monitor_->change([&] {
    if (!done) failure = failure_;
  });
  return failure ? Status(fail(*std::move(failure))) : Status();
}

/// Verifies a window that is read; streamed, moves what it holds to the destination and lets its memory go.
Status SegmentLoad::take_in(std::size_t window, LoadPlanner& planner) {
  TRY(check_blocks(window));
  if (!streams()) return {};
  MARK("segment_load.streamed");
  Parts parts;
  append_parts(window, parts);
  TRY(hand_over(parts, memory_[window].owner, planner));
  Status placed = planner.place(env_, options_.deadline);
  // What is stored is intact: no reason to take an older checkpoint.
  if (!placed && placed.error().code == ErrorCode::corrupt) placed.error().code = ErrorCode::io_error;
  TRY(placed);
  memory_[window] = {};
  return {};
}

Status SegmentLoad::check_blocks(std::size_t window) const {
  const SegmentFile& file = sources_[plan_.windows[window].source].file;
  for (const ReadPlan::Run& run : plan_.windows[window].runs) {
    for (std::size_t number = run.first_block; number < run.end_block; ++number) {
      const format::SegmentBlock block = file.header().layout.block(number);
      TRY(file.check_block(number, memory_[window].bytes.subspan(run.at + block.offset - run.begin, block.bytes)));
    }
  }
  return {};
}

/// What a window holds of the items: of each of its runs, which are flat ranges of a chunk, the boxes that meet the item. A block may end within an
/// element: the elements that a run holds in part are none that an item wants of it.
void SegmentLoad::append_parts(std::size_t number, Parts& parts) const {
  const ReadPlan::Window& window = plan_.windows[number];
  const Source& source = sources_[window.source];
  for (const ReadPlan::Run& run : window.runs) {
    const format::SegmentTensor& tensor = source.file.header().layout.tensors[run.tensor];
    const std::uint32_t element_bytes = size_bytes(tensor.dtype);
    const std::uint64_t begin = run.begin - tensor.offset;
    const auto first = static_cast<std::int64_t>((begin + element_bytes - 1) / element_bytes);
    const auto end = static_cast<std::int64_t>((run.end - tensor.offset) / element_bytes);
    std::vector<LocalBox> boxes;  // of the chunk
    append_flat_range({Dims(tensor.box.size.size(), 0), tensor.box.size}, first, end, 0, boxes);
    std::byte* const memory = memory_[number].bytes.data() + run.at + (static_cast<std::uint64_t>(first) * element_bytes - begin);
    const StridedBlock chunk = packed_block(memory, tensor.box.size, element_bytes);
    const auto [first_want, end_want] = source.wants_of.equal_range(run.tensor);
    for (auto want = first_want; want != end_want; ++want) {
      const ReadItem& item = *source.wants[want->second].item;
      for (const LocalBox& local : boxes) {
        const std::optional<Box> held = intersection(local.box, {item.storage_offset, item.lengths});
        if (held) parts[{window.source, want->second}].push_back(part_of(item, local, *held, chunk));
      }
    }
  }
}

Status SegmentLoad::hand_over(const Parts& parts, const std::shared_ptr<const void>& owner, LoadPlanner& planner) const {
  for (const auto& [number, of_item] : parts) {
    if (of_item.size() > 1) MARK("segment_load.item_in_parts");
    TRY(planner.load_tensor(*sources_[number.first].wants[number.second].item, of_item, owner));
  }
  return {};
}

/// Items without elements are in no window.
Status SegmentLoad::hand_over_empty(LoadPlanner& planner) const {
  Parts parts;
  for (std::size_t source = 0; source < sources_.size(); ++source) {
    for (std::size_t want = 0; want < sources_[source].wants.size(); ++want) {
      if (volume_of(sources_[source].wants[want].item->lengths) == 0) parts[{source, want}];
    }
  }
  return hand_over(parts, nullptr, planner);
}

Status SegmentLoad::hand_over_all(LoadPlanner& planner) const {
  Parts parts;
  for (std::size_t window = 0; window < plan_.windows.size(); ++window) append_parts(window, parts);
  return hand_over(parts, std::make_shared<std::vector<port::Buffer>>(memory_), planner);
}

}  // namespace holdfast::protocol

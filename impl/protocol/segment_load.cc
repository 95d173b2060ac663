#include "impl/protocol/segment_load.h"

#include <algorithm>
#include <limits>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

constexpr std::size_t readers = 4;        // so that the disk has work while one of them waits for its turn on a busy processor
constexpr std::size_t windows_ahead = 8;  // of the one that is verified

}  // namespace

SegmentLoad::SegmentLoad(const port::Env& env, std::shared_ptr<StagingPool> pool, std::shared_ptr<const SegmentSources> sources,
                         SegmentLoadOptions options)
    : env_(env), pool_(std::move(pool)), sources_(std::move(sources)), options_(std::move(options)), monitor_(env.tasks.make_monitor()),
      pipe_(env.tasks, "a read to do") {}

std::shared_ptr<SegmentLoad> SegmentLoad::make(const port::Env& env, std::shared_ptr<StagingPool> pool,
                                               std::shared_ptr<const SegmentSources> sources, SegmentLoadOptions options) {
  return std::shared_ptr<SegmentLoad>(new SegmentLoad(env, std::move(pool), std::move(sources), std::move(options)));
}

void SegmentLoad::add(std::size_t source, const std::vector<bool>& wanted, std::size_t first) {
  std::uint64_t window_bytes = options_.reading.window_bytes;
  if (streams()) window_bytes = std::min(window_bytes, options_.reading.staging_budget_bytes / 2);
  add_reads(source, sources_->file(source).header().layout, wanted, window_bytes, plan_, first);
}

Status SegmentLoad::read(LoadPlanner& planner) {
  TRY(sources_->hand_over_empty(planner));
  TRY(run(&planner));
  return streams() ? Status() : hand_over(planner);
}

Status SegmentLoad::run(LoadPlanner* planner) {
  memory_.resize(plan_.windows.size());
  done_.resize(plan_.windows.size());
  budget_ = budget_of_windows();
  return plan_.bytes > options_.reading.window_bytes ? read_ahead(planner) : read_here(planner);
}

Status SegmentLoad::read_here(LoadPlanner* planner) {
  for (std::size_t window = 0; window < plan_.windows.size(); ++window) {
    memory_[window] = *TRY(memory_for(window, true));
    TRY(perform(window));
    TRY(take_in(window, planner));
  }
  return {};
}

Status SegmentLoad::read_ahead(LoadPlanner* planner) {
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
    std::optional<port::Buffer> memory = TRY(memory_for(begun, begun == window));
    if (!memory) return {};
    memory_[begun] = *std::move(memory);
    TRY(pipe_.push(begun));
  }
  return {};
}

/// None where it would have to wait for what is ours, and is not to.
Result<std::optional<port::Buffer>> SegmentLoad::memory_for(std::size_t window, bool waits) {
  const std::uint64_t bytes = plan_.windows[window].memory_bytes;
  if (given_.owner)
    return port::Buffer{given_.bytes.subspan(std::exchange(given_used_, given_used_ + bytes), bytes), given_.owner, given_.kind};
  if (!waits) return pool_->try_acquire(bytes, budget_);
  return TRY(pool_->acquire(bytes, budget_, options_.deadline));
}

std::uint64_t SegmentLoad::memory_bytes() const {
  std::uint64_t bytes = 0;
  for (const ReadPlan::Window& window : plan_.windows) bytes += window.memory_bytes;
  return bytes;
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
  return env_.storage.read_all(sources_->file(plan_.windows[window].source).id(), pieces, options_.deadline);
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
Status SegmentLoad::take_in(std::size_t window, LoadPlanner* planner) {
  const ReadPlan::Window& of = plan_.windows[window];
  for (const ReadPlan::Run& run : of.runs) TRY(sources_->check(of.source, run, memory_[window].bytes.data() + run.at));
  if (!streams()) return {};
  MARK("segment_load.streamed");
  SegmentSources::Parts parts;
  append_parts(window, parts);
  TRY(sources_->hand_over(parts, memory_[window].owner, *planner));
  TRY(place_intact(env_, *planner, options_.deadline));
  memory_[window] = {};
  return {};
}

void SegmentLoad::append_parts(std::size_t window, SegmentSources::Parts& parts) const {
  const ReadPlan::Window& of = plan_.windows[window];
  for (const ReadPlan::Run& run : of.runs) sources_->append_parts(of.source, run, memory_[window].bytes.data() + run.at, parts);
}

Status SegmentLoad::hand_over(LoadPlanner& planner) const {
  SegmentSources::Parts parts;
  for (std::size_t window = 0; window < plan_.windows.size(); ++window) append_parts(window, parts);
  return sources_->hand_over(parts, std::make_shared<std::vector<port::Buffer>>(memory_), planner);
}

Status place_intact(const port::Env& env, LoadPlanner& planner, port::Deadline deadline) {
  Status placed = planner.place(env, deadline);
  if (!placed && placed.error().code == ErrorCode::corrupt) placed.error().code = ErrorCode::io_error;
  return placed;
}

}  // namespace holdfast::protocol

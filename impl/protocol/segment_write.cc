#include "impl/protocol/segment_write.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

constexpr std::uint64_t window_bytes_max = 4 << 20;  // long for a disk
constexpr std::uint64_t windows_in_budget = 4;       // one is staged while others are written
constexpr std::uint64_t writers = 8;                 // a disk wants 32 MiB under way; each writer ends its window before it begins another

std::uint64_t whole_pages(std::uint64_t bytes) { return bytes / format::segment_alignment * format::segment_alignment; }

}  // namespace

SegmentWrite::SegmentWrite(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentWriteOptions options)
    : env_(env), pool_(std::move(pool)), options_(std::move(options)), monitor_(env.tasks.make_monitor()),
      pipe_(env.tasks, "a staged window") {}

Result<Writing> SegmentWrite::start(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentWriteOptions options,
                                    const SavePlan& plan, std::shared_ptr<SavePlanner> planner) {
  const std::shared_ptr<SegmentWrite> self(new SegmentWrite(env, std::move(pool), std::move(options)));
  self->planner_ = std::move(planner);
  TRY(self->take(plan));
  TRY(self->lay_out());
  auto staged = std::make_shared<port::Promise<void>>(self->monitor_);
  port::Future<void> is_staged = staged->future();
  auto written = port::run_detached<std::vector<WriteResult>>(env.tasks, "write", self->monitor_,
                                                              [self, staged = std::move(staged)] { return run(self, *staged); });
  if (!written && env.unfinished) env.unfinished->add(std::move(is_staged));
  if (!written) return fail(std::move(written).error());
  // Whoever gives up may do so when nothing of it is left.
  const auto give_up = [weak = std::weak_ptr(self)] {
    if (const auto alive = weak.lock()) alive->give_up();
  };
  return Writing{std::move(is_staged), *std::move(written), give_up};
}

/// The stager ends with the window that it is at, and the writers with theirs.
void SegmentWrite::give_up() { pipe_.fail(error(ErrorCode::aborted, "write \"{}\": given up", options_.directory)); }

Status SegmentWrite::take(const SavePlan& plan) {
  struct Tensor {
    const WriteItem* item;
    StridedBlock memory;
  };
  // A segment holds one box of a tensor at most.
  std::vector<std::vector<Tensor>> by_segment;
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
      return fail(ErrorCode::unsupported, "save \"{}\": rank {} is to write over {} boxes of it", item.index.fqn, options_.rank, box);
    }
    const std::size_t segment = format::segment_of_box(options_.rank, box).number;
    if (segment == by_segment.size()) by_segment.emplace_back();
    by_segment[segment].push_back({&item, *block});
  }
  segments_.reserve(by_segment.size());  // windows point to them
  for (auto& tensors : by_segment) {
    // The widest elements come first: so every tensor lies at a multiple of its element size, which readers that view the bytes in place need.
    std::ranges::stable_sort(tensors, std::greater(), [](const Tensor& tensor) { return size_bytes(tensor.item->dtype); });
    Segment& segment = segments_.emplace_back();
    segment.id = {options_.rank, static_cast<std::uint16_t>(segments_.size() - 1)};
    for (Tensor& tensor : tensors) {
      segment.items.push_back(*tensor.item);
      segment.memory.push_back(std::move(tensor.memory));
    }
  }
  return {};
}

Status SegmentWrite::lay_out() {
  const std::uint64_t budget = options_.staging_budget_bytes.value_or(std::numeric_limits<std::uint64_t>::max());
  if (budget < format::segment_alignment) {
    return fail(ErrorCode::invalid_argument, "save: a staging budget of {} bytes, expected at least {}", budget, format::segment_alignment);
  }
  window_bytes_ = std::clamp(whole_pages(budget / windows_in_budget), format::segment_alignment, window_bytes_max);
  for (Segment& segment : segments_) {
    std::vector<format::SegmentTensor> tensors;
    for (const WriteItem& item : segment.items) tensors.push_back({item.index.fqn, item.dtype, item.shape, item.chunk, 0, 0, 0});
    segment.layout = TRY(format::lay_out_segment(std::move(tensors), options_.block_bytes));
    segment.windows_left = is_one_window(segment) ? 1 : (segment.layout.data_bytes + window_bytes_ - 1) / window_bytes_;
    windows_ += segment.windows_left;
  }
  return {};
}

Result<std::vector<WriteResult>> SegmentWrite::run(const std::shared_ptr<SegmentWrite>& self, port::Promise<void>& staged) {
  std::vector<port::Future<void>> others;
  Status done;
  for (std::uint64_t i = 0; done && i < writers && i + 1 < self->windows_; ++i) {
    MARK("segment_write.writers");
    auto other = port::run_detached<void>(self->env_.tasks, "write windows", self->monitor_, [self] { return self->write_windows(); });
    if (other) others.push_back(*std::move(other));
    if (!other) done = fail(std::move(other).error());
  }
  if (done) done = self->stage_all(staged);
  if (!done) self->pipe_.fail(done.error());
  const bool lets_go = MUTATE("snapshot.held_until_written", true, false);
  for (Segment& segment : self->segments_) {
    if (lets_go) segment.copies.clear();
  }
  self->planner_.reset();
  staged.set(done);
  self->pipe_.close();
  const auto note = [&](Status status) {
    if (done) done = std::move(status);
  };
  note(self->write_windows());
  std::vector<SyncedFile> values;
  for (std::size_t number = 0; done && number < self->values_.size(); ++number) note(self->write_value(number, values));
  for (auto& other : others) note(other.get(self->options_.deadline));
  if (!done) return fail(std::move(done).error());
  return self->report(std::move(values));
}

Status SegmentWrite::stage_all(port::Promise<void>& staged) {
  const auto take_after = [&] {
    return std::exchange(options_.after, {});
  };  // not kept: this object goes after others have heard of the end
  if (segments_.empty()) {
    (void)take_after();
    env_.enter("4 write");
    return {};
  }
  env_.enter("3 snapshot");
  Stager stager = TRY(Stager::open(env_, take_after(), options_.deadline));
  if (MUTATE("snapshot.returns_before_copied", false, options_.snapshot_bytes_max.has_value())) staged.set({});
  if (TRY(copy_tensors(stager))) {
    *options_.snapshot = Snapshot::device;
    stager.reads_own_memory();
    planner_.reset();
    if (MUTATE("snapshot.staged_in_the_call", true, false)) staged.set({});
  }
  for (Segment& segment : segments_) TRY(stage(stager, segment));
  return {};
}

/// Makes copies stand for the tensors. False: there are none, the tensors are to be staged.
Result<bool> SegmentWrite::copy_tensors(Stager& stager) {
  if (!options_.snapshot_bytes_max) return false;
  std::vector<port::StageItem> tensors;
  for (const Segment& segment : segments_) {
    for (std::size_t i = 0; i < segment.items.size(); ++i) {
      const WriteItem& item = segment.items[i];
      tensors.push_back({segment.memory[i], item.chunk, item.shape, item.dtype});
    }
  }
  const std::uint64_t budget = options_.staging_budget_bytes.value_or(std::numeric_limits<std::uint64_t>::max());
  const SnapshotLimits limits{*options_.snapshot_bytes_max, budget - window_bytes_, budget};  // what is left must do for a window
  std::optional<std::vector<TensorCopy>> copies = TRY(take_snapshot(stager, *pool_, std::move(tensors), limits));
  if (!copies) return false;
  auto copy = copies->begin();
  for (Segment& segment : segments_) {
    segment.memory.clear();
    for (std::size_t i = 0; i < segment.items.size(); ++i, ++copy) {
      segment.memory.push_back(std::move(copy->memory));
      segment.copies.push_back(std::move(copy->owner));
      segment.digests.snapshot.push_back(copy->digest);
    }
  }
  return true;
}

std::vector<std::shared_ptr<void>> SegmentWrite::copies_in(const Segment& segment, std::uint64_t bytes) {
  std::vector<std::shared_ptr<void>> owners;
  for (std::size_t i = segment.copies_gone; i < segment.copies.size() && segment.layout.tensors[i].offset < bytes; ++i)
    owners.push_back(segment.copies[i]);
  return owners;
}

void SegmentWrite::let_go_of_copies(Segment& segment, std::uint64_t staged_bytes) {
  for (; segment.copies_gone < segment.copies.size(); ++segment.copies_gone) {
    const format::SegmentTensor& tensor = segment.layout.tensors[segment.copies_gone];
    if (tensor.offset + tensor.bytes > staged_bytes) return;
    if (MUTATE("snapshot.held_until_written", true, false)) segment.copies[segment.copies_gone].reset();
  }
}

Status SegmentWrite::stage(Stager& stager, Segment& segment) {
  const format::SegmentLayout& layout = segment.layout;
  if (is_one_window(segment)) {
    Window window = TRY(stage_window(stager, segment, 0, layout.data_bytes, layout.header_bytes));
    std::ranges::copy(encode_header(segment), window.buffer.bytes.begin());
    return pipe_.push(std::move(window));
  }
  for (std::uint64_t begin = 0; begin < layout.data_bytes; begin += window_bytes_) {
    const std::uint64_t bytes = std::min(window_bytes_, layout.data_bytes - begin);
    TRY(pipe_.push(TRY(stage_window(stager, segment, begin, bytes, 0))));
  }
  return {};
}

/// `room`: bytes before the data, for the header.
Result<SegmentWrite::Window> SegmentWrite::stage_window(Stager& stager, Segment& segment, std::uint64_t begin, std::uint64_t bytes,
                                                        std::uint64_t room) {
  const std::uint64_t budget = options_.staging_budget_bytes.value_or(std::numeric_limits<std::uint64_t>::max());
  Window window{&segment, room == 0 ? segment.layout.header_bytes + begin : 0,
                TRY(pool_->acquire(room + bytes, budget, options_.deadline))};
  window.buffer.bytes = window.buffer.bytes.first(room + bytes);
  // A device that is late keeps what it still reads and writes.
  struct Kept {
    std::shared_ptr<void> window;
    std::vector<std::shared_ptr<void>> copies;
  };
  std::shared_ptr<void> owner = window.buffer.owner;
  if (!segment.copies.empty()) {
    owner = std::make_shared<Kept>(
        Kept{owner, MUTATE("snapshot.freed_while_read", copies_in(segment, begin + bytes), std::vector<std::shared_ptr<void>>())});
  }
  TRY(stager.stage(segment.layout, segment.memory, begin, window.buffer.bytes.subspan(room), owner, segment.digests));
  owner.reset();
  let_go_of_copies(segment, begin + bytes);
  if (!segment.file) {
    env_.enter("4 write");
    segment.file.emplace(TRY(NewFile::create(env_.storage, join(options_.directory, format::segment_name(segment.id)), options_.deadline)));
    if (!is_one_window(segment)) TRY(segment.file->reserve(segment.layout.file_bytes(), options_.deadline));
  }
  return window;
}

Status SegmentWrite::write_windows() {
  for (;;) {
    Result<std::optional<Window>> window = pipe_.pop(options_.deadline);
    if (!window) return fail(std::move(window).error());
    if (!*window) return {};
    if (Status written = write_window(**std::move(window)); !written) {
      pipe_.fail(written.error());
      return written;
    }
  }
}

Status SegmentWrite::write_window(Window window) {
  Segment& segment = *window.segment;
  const port::WritePiece piece{
      window.offset, window.buffer.bytes,
      MUTATE("segment_write.reused_before_written", window.buffer.owner, std::shared_ptr<void>(std::make_shared<int>()))};
  window.buffer.owner.reset();
  TRY(segment.file->write({&piece, 1}, options_.deadline));
  bool last = false;
  monitor_->change([&] { last = --segment.windows_left == 0; });
  return last ? finish(segment) : Status();
}

Status SegmentWrite::finish(Segment& segment) {
  if (!is_one_window(segment)) {
    MARK("segment_write.streamed");
    const SharedBytes header = encode_header(segment);
    const port::WritePiece piece{0, header.view(), header.owner()};
    TRY(segment.file->write({&piece, 1}, options_.deadline));
  }
  NewFile file = *std::move(segment.file);
  segment.synced =
      TRY(MUTATE("segment_write.skip_sync", std::move(file).sync_and_close(options_.deadline), std::move(file).close_unsynced()));
  return {};
}

Bytes SegmentWrite::encode_header(Segment& segment) const {
  segment.digests.tensors.resize(segment.items.size());
  Bytes header = format::encode_segment_header(segment.layout, segment.digests.blocks, options_.directory);
  segment.header_digest = block_digest(header);
  return header;
}

Status SegmentWrite::write_value(std::size_t number, std::vector<SyncedFile>& written) {
  Value& value = values_[number];
  value.record = {options_.rank, static_cast<std::uint32_t>(number), value.bytes.size(), block_digest(value.bytes.view())};
  const port::WritePiece piece{0, value.bytes.view(), value.bytes.owner()};
  written.push_back(TRY(write_new_file(env_.storage, join(options_.directory, value.record.path()), {&piece, 1}, options_.deadline)));
  return {};
}

Result<std::vector<WriteResult>> SegmentWrite::report(std::vector<SyncedFile> values) {
  std::vector<SyncedFile> files = std::move(values);
  for (Segment& segment : segments_) {
    CHECK(segment.synced, "{} was staged, but not finished", format::segment_name(segment.id));
    files.push_back(*std::move(segment.synced));
  }
  const DurablePart part = TRY(DurablePart::sync_directory(env_.storage, options_.directory, std::move(files), options_.deadline));
  std::vector<WriteResult> results;
  for (const Segment& segment : segments_) TRY(add_results(segment, part, results));
  for (const Value& value : values_) {
    Bytes told = TRY(encode(value.record, part));
    results.push_back({value.item.index, value.bytes.size(), std::move(told)});
  }
  return results;
}

Status SegmentWrite::add_results(const Segment& segment, const DurablePart& part, std::vector<WriteResult>& results) const {
  TensorPlace place;
  place.segment = format::SegmentRecord{segment.id, segment.layout.file_bytes(), segment.layout.header_bytes, segment.header_digest};
  for (std::size_t i = 0; i < segment.items.size(); ++i) {
    place.digest = segment.digests.tensors[i];
    Bytes told = TRY(encode(place, part));
    results.push_back({segment.items[i].index, segment.layout.tensors[i].bytes, std::move(told)});
    place.segment.reset();
  }
  return {};
}

}  // namespace holdfast::protocol

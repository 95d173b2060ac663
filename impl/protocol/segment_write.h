// What one rank writes of a save: its boxes as segments, its byte values as files, durably. Runs in tasks that own all that they use but the tensors'
// memory, which they let go when it is staged.
//
//   [snapshot: tensors -> copies, which then stand for them]
//   stager: tensors -> windows of staging memory -> pipe -> writers: windows -> files; the header last, then sync
//
// A window comes back to the pool when it is written, so that a state larger than the budget streams through it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/port/env.h"
#include "impl/protocol/device_snapshot.h"
#include "impl/protocol/durable.h"
#include "impl/protocol/pipe.h"
#include "impl/protocol/segment_result.h"
#include "impl/protocol/staging.h"
#include "impl/protocol/staging_pool.h"
#include "impl/protocol/storage_io.h"
#include "impl/protocol/trainer_work.h"

namespace holdfast::protocol {

struct SegmentWriteOptions {
  Rank rank;
  std::string directory;  ///< of the attempt, and the generation of its segments
  std::uint32_t block_bytes = 0;
  std::optional<std::uint64_t> staging_budget_bytes = {};  ///< none: enough for the whole part
  std::optional<std::uint64_t> snapshot_bytes_max = {};    ///< of device memory; none: no snapshot
  std::shared_ptr<Snapshot> snapshot = {};                 ///< gets what it was, before Writing::staged
  port::Deadline deadline;
  TrainerWork after = {};  ///< before the tensors are read
};

class SegmentWrite {
 public:
  /// Asks the planner for the memory of every tensor item, copies the byte values, and starts 3 snapshot and 4 write.
  /// Errors: the planner's; invalid_argument when what it gives does not fit the item, when the items do not fit a segment, or when the budget is
  /// smaller than a page.
  static Result<Writing> start(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentWriteOptions options, const SavePlan& plan,
                               std::shared_ptr<SavePlanner> planner);

 private:
  struct Segment {
    format::SegmentId id;
    std::vector<WriteItem> items;
    std::vector<StridedBlock> memory;
    std::vector<std::shared_ptr<void>> copies = {};  ///< owners of `memory`, of a snapshot; empty without one
    std::size_t copies_gone = 0;                     ///< the first of them, which are staged
    format::SegmentLayout layout = {};
    SegmentDigests digests = {};
    std::optional<NewFile> file = {};
    std::optional<SyncedFile> synced = {};  ///< what became of `file`
    std::uint64_t windows_left = 0;         ///< not yet written; guarded by monitor_
    BlockDigest header_digest = {};
  };
  struct Value {
    WriteItem item;
    SharedBytes bytes;
    format::BytesRecord record = {};
  };
  /// Bytes of a segment's file. The last of a small segment, which is one window, has the header too.
  struct Window {
    Segment* segment = nullptr;
    std::uint64_t offset = 0;  ///< in the file
    port::Buffer buffer;
  };

  SegmentWrite(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentWriteOptions options);
  Status take(const SavePlan& plan);
  Status lay_out();
  bool is_one_window(const Segment& segment) const { return segment.layout.file_bytes() <= window_bytes_; }

  static Result<std::vector<WriteResult>> run(const std::shared_ptr<SegmentWrite>& self, port::Promise<void>& staged);
  Status stage_all(port::Promise<void>& staged);
  Result<bool> copy_tensors(Stager& stager);
  Status stage(Stager& stager, Segment& segment);
  Result<Window> stage_window(Stager& stager, Segment& segment, std::uint64_t begin, std::uint64_t bytes, std::uint64_t room);
  /// Of the tensors in the first bytes of the segment's data, as far as they are still there; these may then go.
  static std::vector<std::shared_ptr<void>> copies_in(const Segment& segment, std::uint64_t bytes);
  static void let_go_of_copies(Segment& segment, std::uint64_t staged_bytes);
  void give_up();
  /// Writes windows until there are no more.
  Status write_windows();
  Status write_window(Window window);
  Status finish(Segment& segment);
  Bytes encode_header(Segment& segment) const;
  Status write_value(std::size_t number, std::vector<SyncedFile>& written);
  /// What the rank says it wrote, when all of it is durable: `values` and every segment.
  Result<std::vector<WriteResult>> report(std::vector<SyncedFile> values);
  Status add_results(const Segment& segment, const DurablePart& part, std::vector<WriteResult>& results) const;

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  SegmentWriteOptions options_;
  std::shared_ptr<SavePlanner> planner_;  ///< may own the memory of tensors
  std::vector<Segment> segments_;
  std::vector<Value> values_;
  std::uint64_t window_bytes_ = 0;
  std::uint64_t windows_ = 0;  ///< of all segments
  std::shared_ptr<port::Monitor> monitor_;
  Pipe<Window> pipe_;
};

}  // namespace holdfast::protocol

// What one rank reads of a load: whole blocks of the segments of one attempt, each block once and verified before anything else sees a byte of it.
//
//   readers: files -> windows of staging memory, several at once; meanwhile the caller verifies what has come, in the order of the files
//
// The planner gets views of the windows: of all when the last is verified, or of each as it is verified, whose memory is then used again.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "impl/port/env.h"
#include "impl/protocol/pipe.h"
#include "impl/protocol/planner.h"
#include "impl/protocol/read_plan.h"
#include "impl/protocol/segment_file.h"
#include "impl/protocol/staging_pool.h"

namespace holdfast::protocol {

enum class LoadMode : std::uint8_t {
  /// Nothing of the destination changes before every rank has verified all that it reads: a load that fails leaves it as it was. All of it lies in staging
  /// memory meanwhile, and is copied once more.
  all_or_nothing,
  /// What is verified is moved to the destination at once, and its staging memory is used again: what a failed load leaves is not defined. Each byte
  /// is verified before it is moved, all the same.
  streamed,
};

struct ReadingOptions {
  LoadMode mode = LoadMode::all_or_nothing;
  std::uint64_t window_bytes = 4 << 20;  ///< of one read; a window has at least one block and the pages that hold it
  /// Streamed: staging memory that is held at once; windows are cut to half of it. One window is held in any case, of a block that is longer, too.
  std::uint64_t staging_budget_bytes = 128 << 20;
};

struct SegmentLoadOptions {
  std::string directory = {};  ///< of the attempt
  ReadingOptions reading = {};
  port::Deadline deadline = {};
};

/// How much was asked of the storage.
struct Volume {
  std::uint64_t bytes_needed = 0;  ///< of the items
  std::uint64_t bytes_read = 0;    ///< of data: whole blocks, because only these can be verified, and the whole pages that hold them
};

/// Used by the task that loads; tasks of its own read, and own it too.
class SegmentLoad : public std::enable_shared_from_this<SegmentLoad> {
 public:
  static std::shared_ptr<SegmentLoad> make(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options);

  /// An item and the chunk that it is read from. Item and metadata live until read() is over.
  struct Want {
    const ReadItem* item;
    const TensorMetadata* tensor;
    Box chunk;
  };
  /// Opens a segment, of which `wants` are wanted. Errors: corrupt also when it does not hold what is wanted.
  Status add(const format::SegmentRecord& segment, std::vector<Want> wants);
  /// Reads and verifies everything, and gives every item to the planner with the memory that holds it; streamed, part by part, each placed at once.
  /// Errors: the storage's; timeout; corrupt for a block that is not as it was written; the planner's.
  Status read(LoadPlanner& planner);

  Volume volume() const { return {bytes_needed_, plan_.bytes}; }

 private:
  struct Source {
    SegmentFile file;
    std::vector<Want> wants;
    std::multimap<std::size_t, std::size_t> wants_of;  ///< of a tensor of the segment's layout
  };
  /// The parts of wants, by number of source and want.
  using Parts = std::map<std::pair<std::size_t, std::size_t>, std::vector<LoadPlanner::Part>>;

  SegmentLoad(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options);
  bool streams() const { return options_.reading.mode == LoadMode::streamed; }
  std::vector<bool> wanted_blocks(const Source& source) const;
  Status read_here(LoadPlanner& planner);
  Status read_ahead(LoadPlanner& planner);
  std::uint64_t budget_of_windows() const;
  Status begin_reads(std::size_t window, std::size_t& begun);
  Status perform(std::size_t window);
  Status perform_reads();
  Status await(std::size_t window);
  Status take_in(std::size_t window, LoadPlanner& planner);
  Status check_blocks(std::size_t window) const;
  void append_parts(std::size_t window, Parts& parts) const;
  Status hand_over(const Parts& parts, const std::shared_ptr<const void>& owner, LoadPlanner& planner) const;
  Status hand_over_all(LoadPlanner& planner) const;
  Status hand_over_empty(LoadPlanner& planner) const;

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  SegmentLoadOptions options_;
  std::deque<Source> sources_;
  ReadPlan plan_;
  std::uint64_t bytes_needed_ = 0;
  std::uint64_t budget_ = 0;
  std::vector<port::Buffer> memory_;        ///< by window, from when its read is due until it is placed
  std::shared_ptr<port::Monitor> monitor_;  ///< over done_ and failure_
  std::vector<bool> done_;                  ///< by window
  std::optional<Error> failure_;            ///< of a read
  Pipe<std::size_t> pipe_;                  ///< numbers of windows
};

}  // namespace holdfast::protocol

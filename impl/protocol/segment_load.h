// What one rank reads of a load: whole blocks of the segments of one attempt, each block once and verified before anything else sees a byte of it.
//
//   readers: files -> staging memory, several reads at once; meanwhile the caller verifies what has come, in the order of the files
//
// The bytes stay where they were read; the planner gets views of them.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "impl/port/env.h"
#include "impl/protocol/pipe.h"
#include "impl/protocol/planner.h"
#include "impl/protocol/read_plan.h"
#include "impl/protocol/segment_file.h"
#include "impl/protocol/staging_pool.h"

namespace holdfast::protocol {

struct SegmentLoadOptions {
  std::string directory = {};  ///< of the attempt
  ReadPlanLimits limits = {};
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

  /// An item and the chunk that it is read from. Item and metadata live until hand_over() is over.
  struct Want {
    const ReadItem* item;
    const TensorMetadata* tensor;
    Box chunk;
  };
  /// Opens a segment, of which `wants` are wanted. Errors: corrupt also when it does not hold what is wanted.
  Status add(const format::SegmentRecord& segment, std::vector<Want> wants);
  /// Reads and verifies everything. Errors: the storage's; timeout; corrupt for a block that is not as it was written.
  Status read();
  /// Gives every item to the planner, with the memory that holds it.
  Status hand_over(LoadPlanner& planner) const;

  Volume volume() const { return {bytes_needed_, plan_.bytes}; }

 private:
  struct Source {
    SegmentFile file;
    std::vector<Want> wants;
    std::vector<std::size_t> tensors;  ///< of the wants, in the segment's layout
  };

  SegmentLoad(const port::Env& env, std::shared_ptr<StagingPool> pool, SegmentLoadOptions options);
  std::vector<bool> wanted_blocks(const Source& source) const;
  Status read_ahead();
  Status await(std::size_t read);
  Status take_memory(std::size_t read);
  Status perform(std::size_t read);
  Status perform_reads();
  Status check_runs(std::size_t read);
  std::byte* address(const ReadPlan::Run& run) const { return arenas_[run.arena].bytes.data() + run.arena_offset; }
  void append_parts(std::size_t source, std::size_t want, std::vector<LoadPlanner::Part>& parts) const;

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  SegmentLoadOptions options_;
  std::deque<Source> sources_;
  ReadPlan plan_;
  std::uint64_t bytes_needed_ = 0;
  std::vector<port::Buffer> arenas_;  ///< taken when the first read into each is due
  std::size_t checked_runs_ = 0;      ///< how far verification is: runs, and blocks of the next
  std::size_t checked_blocks_ = 0;
  std::shared_ptr<port::Monitor> monitor_;  ///< over done_ and failure_
  std::vector<bool> done_;                  ///< by read
  std::optional<Error> failure_;            ///< of a read
  Pipe<std::size_t> pipe_;                  ///< numbers of reads
};

}  // namespace holdfast::protocol

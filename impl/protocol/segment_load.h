// What one rank reads of a load: whole blocks of the segments of one attempt, each block once and verified before anything else sees a byte of it.
//
//   readers: files -> windows of staging memory, several at once; meanwhile the caller verifies what has come, in the order of the files
//
// The planner gets views of the windows: of all when the last is verified, or of each as it is verified, whose memory is then used again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "impl/port/env.h"
#include "impl/protocol/pipe.h"
#include "impl/protocol/planner.h"
#include "impl/protocol/read_plan.h"
#include "impl/protocol/segment_sources.h"
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
  ReadingOptions reading = {};
  port::Deadline deadline = {};
};

/// How much was asked of the storage.
struct Volume {
  std::uint64_t bytes_needed = 0;  ///< of the items
  std::uint64_t bytes_read = 0;    ///< of data: whole blocks, because only these can be verified, and the whole pages that hold them
};

/// Used by the task that loads; tasks of its own read, and own it too. `sources` may grow until read() or fetch() is called.
class SegmentLoad : public std::enable_shared_from_this<SegmentLoad> {
 public:
  static std::shared_ptr<SegmentLoad> make(const port::Env& env, std::shared_ptr<StagingPool> pool,
                                           std::shared_ptr<const SegmentSources> sources, SegmentLoadOptions options);

  /// Reads these blocks, too: of a source not asked for before, number first + i with wanted[i].
  void add(std::size_t source, const std::vector<bool>& wanted, std::size_t first = 0);

  /// Reads and verifies everything, and gives it to the planner with the memory that holds it; streamed, part by part, each placed at once. Called once, and not with
  /// fetch(). Errors: the storage's; timeout; corrupt for a block that is not as it was written; the planner's.
  Status read(LoadPlanner& planner);

  /// Reads and verifies everything, to stay in memory. Requires: LoadMode::all_or_nothing. Errors: as read().
  Status fetch() { return run(nullptr); }
  /// The same, into `memory`, of memory_bytes() at least.
  Status fetch(port::Buffer memory) {
    given_ = std::move(memory);
    return run(nullptr);
  }
  /// What was fetched.
  Status hand_over(LoadPlanner& planner) const;
  /// Calls visit(source, run, where it lies) for each run that is read, by source, then by place. Requires: fetch() succeeded.
  template <typename Visit>
  void for_each_run(Visit visit) const {
    for (std::size_t w = 0; w < plan_.windows.size(); ++w) {
      for (const ReadPlan::Run& run : plan_.windows[w].runs) visit(plan_.windows[w].source, run, memory_[w].bytes.data() + run.at);
    }
  }

  std::uint64_t bytes_read() const { return plan_.bytes; }
  std::uint64_t memory_bytes() const;  ///< for all of it at once

 private:
  SegmentLoad(const port::Env& env, std::shared_ptr<StagingPool> pool, std::shared_ptr<const SegmentSources> sources,
              SegmentLoadOptions options);
  bool streams() const { return options_.reading.mode == LoadMode::streamed; }
  Status run(LoadPlanner* planner);
  Status read_here(LoadPlanner* planner);
  Status read_ahead(LoadPlanner* planner);
  std::uint64_t budget_of_windows() const;
  Result<std::optional<port::Buffer>> memory_for(std::size_t window, bool waits);
  Status begin_reads(std::size_t window, std::size_t& begun);
  Status perform(std::size_t window);
  Status perform_reads();
  Status await(std::size_t window);
  Status take_in(std::size_t window, LoadPlanner* planner);
  void append_parts(std::size_t window, SegmentSources::Parts& parts) const;

  port::Env env_;
  std::shared_ptr<StagingPool> pool_;
  std::shared_ptr<const SegmentSources> sources_;
  SegmentLoadOptions options_;
  ReadPlan plan_;
  std::uint64_t budget_ = 0;
  port::Buffer given_;  ///< the memory of all windows, or none: it comes from the pool
  std::uint64_t given_used_ = 0;
  std::vector<port::Buffer> memory_;        ///< by window, from when its read is due until it is placed
  std::shared_ptr<port::Monitor> monitor_;  ///< over done_ and failure_
  std::vector<bool> done_;                  ///< by window
  std::optional<Error> failure_;            ///< of a read
  Pipe<std::size_t> pipe_;                  ///< numbers of windows
};

/// Moves what the planner was given of an intact checkpoint. Errors: the planner's, but corrupt becomes io_error: no reason to take an older checkpoint.
Status place_intact(const port::Env& env, LoadPlanner& planner, port::Deadline deadline);

}  // namespace holdfast::protocol

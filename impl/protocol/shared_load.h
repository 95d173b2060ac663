// What one rank does in a load whose ranks share what they read: it reads its share of the blocks that several want, sends them to the others, and takes those
// that others have read for it; what it alone wants it reads for itself.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "impl/core/failure.h"
#include "impl/protocol/block_exchange.h"
#include "impl/protocol/segment_load.h"

namespace holdfast::protocol {

/// What a rank has to do with of a job's shared reads; exchange number first_exchange + s of the session is step s.
struct SharedPart {
  plan::SharedReads reads;
  std::uint64_t first_exchange = 0;
};
/// Of a job that reads so: `step_bytes` follows from the budget of a streamed load.
plan::SharingOptions sharing_options(const ReadingOptions& reading, std::uint32_t block_bytes);

class SharedLoad {
 public:
  /// `sources` has all that this rank wants, also what others read.
  SharedLoad(Session& session, std::shared_ptr<const SegmentSources> sources, SharedPart part, ReadingOptions reading);

  /// Takes all memory that the rest needs, so that no rank is short of it when others wait for it; unless streamed, also reads and verifies all that this rank
  /// reads. Errors: as SegmentLoad::fetch(); the device's; corrupt for a part that does not fit the segments.
  Status prepare(port::Deadline deadline);

  /// Requires: every rank has prepared. Sends and receives, step by step; what came is compared with the digests of its blocks, and then given to the planner, with what this
  /// rank has read; streamed, each step is read here, and placed at once, and in the end what this rank alone wants.
  /// After a failure of its own a rank goes on to exchange, bytes that nobody will believe, so that no other waits for it in vain.
  /// Gives this rank and what the data plane did to it, if it did: perhaps a consequence of another's failure (exchange_causes.h); then the rest was not done.
  /// Errors: of this rank's own work.
  Result<FailureMap> run(LoadPlanner& planner, port::Deadline deadline);

  Volume volume() const { return {sources_->bytes_needed(), bytes_read_}; }
  /// As BlockExchange: to be kept.
  std::shared_ptr<const void> left_in_use() const { return exchange_ ? exchange_->left_in_use() : nullptr; }

 private:
  bool streams() const { return reading_.mode == LoadMode::streamed; }
  Status resolve();
  std::shared_ptr<SegmentLoad> reads_of(std::span<const SharedPiece> pieces, port::Deadline deadline) const;
  std::vector<std::vector<bool>> blocks_for_itself() const;
  Status take_memory(port::Deadline deadline);
  Status read_all(port::Deadline deadline);
  Status read_step(std::size_t step, port::Deadline deadline);
  void find_runs();
  Status pack(std::size_t step, port::Deadline deadline);
  Status check(std::size_t step) const;
  Status hand_over(std::size_t step, LoadPlanner& planner) const;
  Status place_step(std::size_t step, LoadPlanner& planner, port::Deadline deadline);
  Status read_rest(LoadPlanner& planner, port::Deadline deadline);

  /// A run that was read, and where it lies.
  struct Held {
    std::size_t source = 0;
    ReadPlan::Run run = {};
    std::byte* memory = nullptr;
  };

  Session& session_;
  std::shared_ptr<const SegmentSources> sources_;
  SharedPart part_;
  ReadingOptions reading_;
  std::vector<SharedPiece> pieces_;
  std::unique_ptr<BlockExchange> exchange_;
  std::vector<port::Buffer> received_;  ///< by step of this rank; streamed, all of them the same
  port::Buffer read_;                   ///< streamed: for what is read in a step
  std::shared_ptr<SegmentLoad> load_;   ///< of everything this rank reads; streamed, of the step
  std::vector<Held> held_;              ///< what load_ has read, by source, then by block
  std::uint64_t bytes_read_ = 0;
};

}  // namespace holdfast::protocol

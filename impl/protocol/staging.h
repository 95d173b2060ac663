// Moves tensors between the trainer's memory and host staging, and takes their digests where they lie.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "impl/core/digest.h"
#include "impl/format/segment.h"
#include "impl/port/env.h"
#include "impl/protocol/trainer_work.h"

namespace holdfast::protocol {

/// What is known of a segment's data, as far as it is staged.
struct SegmentDigests {
  std::vector<TensorDigest> tensors;  ///< of SegmentLayout::tensors, taken from their own memory
  std::vector<BlockDigest> blocks;    ///< of the bytes as they are stored
  BlockDigester block;                ///< of the block that is not yet whole
  std::uint64_t block_bytes = 0;      ///< of it so far
  /// Of the tensors, where what is staged are copies of them that were digested as they were made (device_snapshot.h). Else empty.
  std::vector<TensorDigest> snapshot;
};

/// Copies tensors to staging, part by part, in the order of a segment's data. One pass over host memory: each part is copied, and both its digests are
/// taken, while it is in the cache.
class Stager {
 public:
  /// Creates a stream, which comes after the trainer's work. Errors: the device's.
  static Result<Stager> open(const port::Env& env, const TrainerWork& after, port::Deadline deadline);
  Stager(Stager&& other) noexcept : env_(std::exchange(other.env_, std::nullopt)), stream_(other.stream_), deadline_(other.deadline_) {}
  Stager& operator=(Stager&&) = delete;
  ~Stager();

  /// Stages bytes [begin, begin + into.size()) of the segment's data area; memory[i] is tensor i's. Calls for one segment follow one another without gaps
  /// and end at element boundaries. Blocks until all of it is done; `owner` keeps `into` for copies that outlive a timeout, which are then unfinished work (device_wait.h).
  /// Errors: what the device says; timeout; corrupt when staging does not hold what a device digested before it moved the bytes: of a snapshot, when the last
  /// of a tensor is staged.
  Status stage(const format::SegmentLayout& layout, std::span<const StridedBlock> memory, std::uint64_t begin, ByteSpan into,
               const std::shared_ptr<void>& owner, SegmentDigests& digests);

  /// Has the device stage `items` on the same stream, and waits. Errors and `owner`: the same.
  Status stage(std::span<const port::StageItem> items, const std::shared_ptr<void>& owner);
  /// What is staged from now on is memory of the save's own, which `owner` keeps: work on it that outlives a timeout is nobody else's to wait for.
  void reads_own_memory() { env_->unfinished = nullptr; }

 private:
  Stager(const port::Env& env, port::StreamId stream, port::Deadline deadline) : env_(env), stream_(stream), deadline_(deadline) {}

  std::optional<port::Env> env_;  ///< none: moved from
  port::StreamId stream_;
  port::Deadline deadline_;
};

/// A part of a tensor on its way from staging to where it belongs, without a digest.
using Upload = port::UnstageItem;

/// Copies every part to its destination, after the trainer's work; where that is device memory, checks the destination's digest against that of the source. Above
/// `alone_bytes_max` of host memory a task helps. Blocks until done; `owner` keeps the sources for copies that outlive a timeout, which are then unfinished work.
Status upload(const port::Env& env, const TrainerWork& after, std::vector<Upload> parts, std::shared_ptr<const void> owner,
              std::uint64_t alone_bytes_max, port::Deadline deadline);

}  // namespace holdfast::protocol

// Blocks of segments on their way between the ranks of a load: packed, exchanged over the data plane, and there again in host memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "impl/plan/shared_reads.h"
#include "impl/protocol/segment_sources.h"
#include "impl/protocol/session.h"

namespace holdfast::protocol {

/// A shared read of this rank's part, and where it lies in the segment.
struct SharedPiece {
  std::size_t source = 0;  ///< number of the segment
  ReadPlan::Run run = {};
  Rank reader;
  std::uint32_t group = 0;  ///< of the part
  std::uint64_t step = 0;
  std::uint64_t at = 0;  ///< in the memory of what is sent in the step, or of what comes
  std::uint64_t bytes() const { return run.end - run.begin; }
};

class BlockExchange {
 public:
  /// Lays out `pieces`, which are those of `part` in its order, and which hold from here on where they lie in memory. A step is a stretch of pieces.
  /// Errors: corrupt when the pieces are not this rank's.
  static Result<std::unique_ptr<BlockExchange>> make(Session& session, const plan::SharedReads& part, std::vector<SharedPiece>& pieces);
  ~BlockExchange();
  BlockExchange(const BlockExchange&) = delete;
  BlockExchange& operator=(const BlockExchange&) = delete;

  std::uint64_t send_bytes() const { return send_bytes_; }        ///< of the largest step
  std::uint64_t receive_bytes() const { return receive_bytes_; }  ///< likewise
  std::size_t steps() const { return steps_.size(); }             ///< in which this rank has to do
  std::span<SharedPiece> pieces_of(std::size_t step) const { return steps_[step].pieces; }
  std::uint64_t received_in(std::size_t step) const { return steps_[step].receive_bytes; }

  /// Takes what a data plane that moves device memory needs besides; `send` keeps what is packed, of send_bytes().
  /// Errors: the device's.
  Status open(port::Buffer send);
  /// `bytes` of what is sent in a step, and where they were read to.
  struct Copy {
    std::uint64_t at = 0;  ///< in the memory of what is sent
    std::byte* from = nullptr;
    std::uint64_t bytes = 0;
  };
  /// Packs what this rank sends in a step. `owner` keeps it, for a device that is not done by the deadline.
  Status pack(std::span<const Copy> copies, const std::shared_ptr<const void>& owner, port::Deadline deadline);
  /// Sends, and receives into `received`, of received_in(step) at least, or for a data plane that moves device memory into memory of its own. Nothing need be packed.
  /// Errors: those of the data plane.
  Status exchange(std::size_t step, std::uint64_t first_exchange, const port::Buffer& received, port::Deadline deadline);
  /// Brings what came to `received`.
  Status unpack(std::size_t step, const port::Buffer& received, port::Deadline deadline);

  /// Frees the memory of what is sent and of what comes. Nothing else is called after it.
  void let_go();

  /// Memory that a data plane may still use after an exchange of device memory that failed. Else null.
  std::shared_ptr<const void> left_in_use() const;

 private:
  struct Span {
    Rank peer;
    std::uint64_t at = 0, bytes = 0;
  };
  struct Step {
    std::uint64_t number = 0;
    std::span<SharedPiece> pieces = {};
    std::vector<Span> sends = {}, receives = {};
    std::uint64_t send_bytes = 0, receive_bytes = 0;
  };
  struct Memory;  // shared with the device's work

  explicit BlockExchange(Session& session);
  Status lay_out(Step& step, const plan::SharedReads& part) const;
  bool on_device() const { return session_.env().data.memory() == MemoryKind::device; }

  Session& session_;
  std::vector<Step> steps_;
  std::uint64_t send_bytes_ = 0, receive_bytes_ = 0;
  std::shared_ptr<Memory> memory_;
  std::optional<port::StreamId> stream_;
  bool in_doubt_ = false;  ///< an exchange of device memory has failed
};

}  // namespace holdfast::protocol

// How the blocks of a batch travel between device memory and the memory that they are packed in: in few copies, however many they are. Pure.
#pragma once

#include <deque>
#include <vector>

#include "impl/core/memory.h"

namespace holdfast::backend::cuda {

constexpr std::size_t area_bytes_max = std::size_t{64} << 20;
constexpr std::size_t copy_bytes_min = std::size_t{256}
                                       << 10;  // of a contiguous block with a copy of its own: a call then takes less time than the bytes
constexpr std::size_t device_copy_bytes_min =
    std::size_t{64} << 20;  // the same within the device: thousands of copies would fill the queue of a stream that waits
constexpr std::size_t run_bytes_min = std::size_t{64} << 10;    // of a run with a copy of its own; a shorter one bounces
constexpr std::size_t short_runs_max = 4;                       // so many may have one all the same
constexpr std::size_t direct_bytes_max = std::size_t{1} << 30;  // below what a share can count

/// Where the packed side of a move lies: in memory of the device, or of ours on the host, or in memory that is not known.
enum class Where : std::uint8_t { device, pinned, elsewhere };

/// A block of device memory, not empty, and where its bytes come from or go. Outlives the plan.
struct Move {
  const StridedBlock* tensor = nullptr;
  std::byte* other = nullptr;
  const StridedBlock* with_gaps = nullptr;  ///< the other side, in host memory that is not packed
  Where where = Where::elsewhere;
  std::uintptr_t allocation = 0;  ///< that holds the other side; two are never one run
};

struct MovePlan {
  struct Copy {
    std::byte* tensor = nullptr;
    std::byte* other = nullptr;
    std::size_t bytes = 0;
  };
  /// A block that a kernel moves from or to `packed`, in device memory.
  struct Direct {
    const StridedBlock* tensor = nullptr;
    std::byte* packed = nullptr;
  };
  /// A block that a kernel moves from or to the area, `at` bytes from its beginning.
  struct Piece {
    const StridedBlock* tensor = nullptr;
    std::size_t at = 0;
  };
  /// Bytes of the area that one copy moves.
  struct Run {
    std::size_t at = 0;
    std::byte* other = nullptr;
    std::size_t bytes = 0;
  };
  /// Host memory that a function on the host copies from or to pinned memory, which one copy connects with the area.
  struct Bounced {
    std::size_t at = 0;  ///< in the pinned memory
    StridedBlock other;
  };
  /// What is in the area at once.
  struct Round {
    std::vector<Piece> pieces = {};
    std::vector<Run> runs = {};
    std::vector<Bounced> bounced = {};
    std::size_t bounced_at = 0;  ///< the bounced pieces are the last of the area
    std::size_t bytes = 0;
    std::size_t bounced_bytes() const { return bounced.empty() ? 0 : bytes - bounced_at; }
  };
  std::vector<Copy> copies;
  std::vector<Direct> direct;
  std::vector<Round> rounds;
  std::deque<StridedBlock> parts;  ///< of blocks that are too large for the area

  std::size_t area_bytes() const;
  std::size_t bounce_bytes() const;
};

MovePlan plan_moves(std::vector<Move> moves);

}  // namespace holdfast::backend::cuda

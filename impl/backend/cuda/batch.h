// The blocks of one call of stage() or unstage(), and how they get onto a stream: a constant number of calls, however many small blocks they are.
#pragma once

#include "impl/backend/cuda/allocations.h"
#include "impl/backend/cuda/move_plan.h"
#include "impl/backend/cuda/stream.h"
#include "impl/backend/cuda/tables.h"

namespace holdfast::backend::cuda {

enum class Way : std::uint8_t { out, in };  ///< of device memory, or into it

/// Kept by a device for the batches to come, so that memory for thousands of blocks is not asked for each time.
struct BatchMemory {
  TableBuilder table;
  ScratchPages scratch;
};

class Batch {
 public:
  Batch(Way way, const Allocations& known, BatchMemory& memory) : way_(way), known_(known), memory_(memory) { memory_.table.clear(); }

  // What is added outlives enqueue(). Blocks of device memory are not empty.
  void digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype, TensorDigest* out);
  /// Moves `tensor`, in device memory, to or from packed memory.
  void move(const StridedBlock& tensor, std::byte* packed);
  /// The same with host memory that is not packed.
  void move(const StridedBlock& tensor, const StridedBlock& with_gaps);
  /// Work that needs no device.
  void on_host(std::function<void()> work) { host_work_.push_back(std::move(work)); }

  bool empty() const { return results_.empty() && moves_.empty() && host_work_.empty(); }
  /// Enqueues all of it as the stream's operation. Errors: out_of_memory, io_error; what was enqueued before one runs.
  Status enqueue(Stream& on, const Key* keys);

 private:
  /// Shares of a round, [first, first + count) of the table's moves.
  struct Launch {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
  };
  Result<std::vector<Launch>> build(Stream& on);
  Launch add_moves(const std::vector<MovePlan::Direct>& direct);
  Status upload(Stream& on);
  Status launch_digests(Stream& on, const Key* keys);
  Status launch_moves(Stream& on, const Launch& launch);
  Status move_all(Stream& on, const std::vector<Launch>& launches);
  Status move_out(Stream& on, const MovePlan::Round& round, const Launch& launch);
  Status move_in(Stream& on, const MovePlan::Round& round, const Launch& launch);
  Status hand_out(Stream& on);
  std::size_t lanes_bytes() const { return results_.size() * sizeof(TensorDigest); }
  Table table() const;

  Way way_;
  const Allocations& known_;
  BatchMemory& memory_;
  std::vector<Move> moves_;
  MovePlan plan_;
  std::vector<TensorDigest*> results_;  ///< by the number of their lanes
  std::vector<std::function<void()>> host_work_;
  Scratch scratch_;  ///< the table, then the lanes
  std::byte* area_ = nullptr;
  std::byte* bounce_ = nullptr;
};

}  // namespace holdfast::backend::cuda

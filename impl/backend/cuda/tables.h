// The table of a batch: into which shares regions are cut, and where these stand in the memory that the kernels read. Pure.
#pragma once

#include <cstring>
#include <vector>

#include "impl/backend/cuda/geometry.h"

namespace holdfast::backend::cuda {

class TableBuilder {
 public:
  void clear();

  /// Adds the digest of a region (in units) at `data`, whose first unit has number `index`, to the lanes of `item`.
  void digest(std::span<const Dimension> region, const std::byte* data, std::uint64_t index, std::uint32_t unit_bytes, std::uint32_t item);
  /// Moves a region (in bytes, fewer than 2^31) at `strided` from or to `packed`.
  void move(const Dimensions& region, std::byte* strided, std::byte* packed);
  void move_packed(std::byte* strided, std::byte* packed, std::size_t bytes);

  std::uint32_t runs() const { return static_cast<std::uint32_t>(runs_.size()); }
  std::uint32_t rows() const { return static_cast<std::uint32_t>(rows_.size()); }
  std::uint32_t moves() const { return static_cast<std::uint32_t>(moves_.size()); }

  // Offsets in the table, once all is in it.
  std::uint64_t runs_at() const { return 0; }
  std::uint64_t rows_at() const { return runs_at() + runs_.size() * sizeof(RunShare); }
  std::uint64_t move_at(std::uint32_t number) const { return rows_at() + rows_.size() * sizeof(RowsShare) + number * sizeof(MoveShare); }
  std::uint64_t steps_at() const { return move_at(moves()); }
  std::uint64_t bytes() const { return steps_at() + steps_.size() * sizeof(Step); }
  void write(std::byte* image) const;

 private:
  std::uint32_t append_steps(std::span<const Dimension> outer);
  void append_rows(std::span<const Dimension> region, const std::byte* data, std::uint64_t index, std::uint32_t unit_bytes,
                   std::uint32_t item);
  void append_run(const std::byte* data, std::uint64_t index, std::uint64_t units, std::uint32_t unit_bytes, std::uint32_t item);
  void append_moves(std::span<const Dimension> words, std::uint32_t word_bytes, std::byte* strided, std::byte* packed);

  std::vector<RunShare> runs_;
  std::vector<RowsShare> rows_;
  std::vector<MoveShare> moves_;
  std::vector<Step> steps_;
};

}  // namespace holdfast::backend::cuda

#include "impl/cli/cut.h"

namespace holdfast::cli {

Status add_part(StateDict& state, const std::string& name, std::byte* data, DType dtype, const Dims& shape, int ranks, Rank rank,
                Small small) {
  if (shape.empty() || shape[0] < ranks) {
    if (small == Small::on_one_rank && rank != Rank{0}) return {};
    return state.add(name, data, dtype, shape, ReplicatedLayout{}, rank);
  }
  ChunkLayout rows{0, {}};
  for (Rank placed{0}; placed.value < ranks; ++placed.value) rows.placements.push_back(placed);
  const std::int64_t first = chunk_split(shape[0], ranks).begin(rank.value);
  const std::int64_t row_elements = volume({shape.data() + 1, shape.size() - 1});
  return state.add(name, data + first * row_elements * size_bytes(dtype), dtype, shape, rows, rank);
}

}  // namespace holdfast::cli

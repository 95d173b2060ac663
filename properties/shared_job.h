// A job that loads what several of its ranks want, and reads it once.
#pragma once

#include "impl/protocol/load.h"
#include "properties/faulty_doors.h"
#include "properties/gen/drawn_case.h"
#include "properties/on_ranks.h"
#include "properties/worlds/world.h"

namespace holdfast::properties {

/// The drawn job, with a tensor of many blocks besides that is cut by rows where it is saved, and that all ranks of the loading job want whole, or two of each neighbours.
inline gen::DrawnCase with_shared_tensor(gen::DrawnCase drawn) {
  constexpr std::int64_t rows = 320, columns = 211;
  const DType dtype = drawn.seed % 2 == 0 ? DType::f32 : DType::u8;
  ChunkLayout cut{0, {}};
  for (int r = 0; r < drawn.saved.world_size; ++r) cut.placements.push_back(Rank{r});
  drawn.saved.tensors.push_back({"shared", dtype, {rows, columns}, cut, 0});
  gen::TensorSpec wanted{"shared", dtype, {rows, columns}, ReplicatedLayout{}, static_cast<std::int64_t>(drawn.seed % 3)};
  if (drawn.loaded.world_size % 2 == 0 && drawn.seed % 5 < 2) {
    const std::int64_t size = drawn.loaded.world_size;
    wanted.layout = MeshLayout{
        packed_mesh(std::array{size / 2, std::int64_t{2}}), {Shard{static_cast<int>(drawn.seed % 5)}, Replicate{}}, std::nullopt};
    wanted.row_gap = 0;
  }
  drawn.loaded.tensors.push_back(wanted);
  if (drawn.seed % 3 != 0) drawn.block_bytes = drawn.seed % 3 == 1 ? 8192 : 12288;
  return drawn;
}

inline protocol::ReadingOptions shared_reading(const gen::DrawnCase& drawn) {
  constexpr std::uint64_t page = 4096;
  const auto mode = drawn.seed % 7 < 3 ? protocol::LoadMode::all_or_nothing : protocol::LoadMode::streamed;
  return {mode, page * (1 + drawn.seed % 4), page * (8 + drawn.seed % 64)};
}

/// A data plane of the simulated device, whose device memory is none of the host's kind and lies where the data plane reaches it.
inline bool over_device(const World& world, const gen::DrawnCase& drawn) { return world.name() == "sim" && drawn.seed % 11 < 4; }

}  // namespace holdfast::properties

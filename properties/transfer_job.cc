#include "properties/transfer_job.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::properties {
namespace {

constexpr int ranks_apart_max = 10;  ///< of a job whose source and destination have no rank in common

/// Cut by rows where it lies, by columns where it goes; both with two boxes on one rank.
void enlarge(TransferJob& job) {
  const DType dtype = job.seed % 2 == 0 ? DType::f32 : DType::u8;
  for (gen::StateSpec* spec : {&job.from, &job.to}) {
    ChunkLayout cut{spec == &job.from ? 0 : 1, {}};
    for (int r = 0; r < spec->world_size; ++r) cut.placements.push_back(Rank{r});
    cut.placements.push_back(Rank{0});
    spec->tensors.push_back({"large", dtype, {23, 31}, cut, static_cast<std::int64_t>(job.seed % 3)});
  }
}

/// The first tensor of one side, where there are two, is none of the other's business.
void forget_one(TransferJob& job) {
  if (job.from.tensors.size() < 2 || job.seed % 5 > 1) return;
  const bool in_source = job.seed % 5 == 0;
  gen::StateSpec& spec = in_source ? job.from : job.to;
  (in_source ? job.missing : job.unexpected).push_back(spec.tensors.front().name);
  spec.tensors.erase(spec.tensors.begin());
}

/// The tensors of `to` that the source has, or those that it lacks.
gen::StateSpec part_of(const TransferJob& job, bool missing) {
  gen::StateSpec part = job.to;
  std::erase_if(part.tensors,
                [&](const gen::TensorSpec& tensor) { return (std::ranges::count(job.missing, tensor.name) != 0) != missing; });
  return part;
}

}  // namespace

std::optional<Rank> TransferJob::source_of(Rank rank) const { return rank.value < from.world_size ? std::optional(rank) : std::nullopt; }

std::optional<Rank> TransferJob::destination_of(Rank rank) const {
  const Rank found{mirrored ? ranks - 1 - rank.value : rank.value - shift};
  return found.value >= 0 && found.value < to.world_size ? std::optional(found) : std::nullopt;
}

gen::RankState TransferJob::source(Rank rank, const gen::WholeValues& values) const {
  const auto own = source_of(rank);
  return own ? make_state(from, *own, values) : gen::RankState();
}

gen::RankState TransferJob::destination(Rank rank) const {
  const auto own = destination_of(rank);
  return own ? make_destination(to, *own) : gen::RankState();
}

std::uint64_t TransferJob::wanted_bytes(Rank rank) const {
  const auto own = destination_of(rank);
  std::uint64_t bytes = 0;
  if (!own) return 0;
  for (const gen::TensorSpec& tensor : part_of(*this, false).tensors) {
    const auto boxes = local_boxes(tensor.layout, tensor.shape, *own);
    CHECK(boxes.has_value(), "{}", boxes.error());
    for (const Box& box : *boxes) bytes += static_cast<std::uint64_t>(box.volume()) * size_bytes(tensor.dtype);
  }
  return bytes;
}

std::uint64_t TransferJob::wanted_bytes() const {
  std::uint64_t bytes = 0;
  for (Rank rank{0}; rank.value < ranks; ++rank.value) bytes += wanted_bytes(rank);
  return bytes;
}

Wrong TransferJob::difference(const gen::RankState& state, Rank rank, const gen::WholeValues& values) const {
  const auto own = destination_of(rank);
  if (!own) return std::nullopt;
  if (auto wrong = gen::difference(state, part_of(*this, false), *own, values)) return wrong;
  return gen::touched(state, part_of(*this, true), *own);
}

TransferJob transfer_job(const World& world, const gen::DrawnCase& drawn) {
  TransferJob job;
  job.from = drawn.saved;
  job.to = drawn.loaded;
  job.seed = drawn.seed;
  job.to.values.clear();
  if (drawn.seed % 4 != 0) enlarge(job);
  forget_one(job);
  Draw draw(drawn.seed);
  const int both = job.from.world_size + job.to.world_size;
  const bool apart = draw.one_in(3) && both <= std::min(ranks_apart_max, world.ranks_max());
  job.mirrored = !apart && draw.one_in(2);
  job.ranks = apart ? both : std::max(job.from.world_size, job.to.world_size);
  job.shift = apart ? job.from.world_size : 0;
  job.coordinator = Rank{draw.below(job.ranks)};
  job.budget_bytes = draw.one_in(4) ? std::uint64_t{64} << 20 : std::uint64_t{32} << draw.below(8);
  return job;
}

}  // namespace holdfast::properties

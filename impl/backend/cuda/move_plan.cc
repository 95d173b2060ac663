#include "impl/backend/cuda/move_plan.h"

#include <algorithm>
#include <span>

#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {
namespace {

constexpr std::size_t alignment = 16;

std::size_t aligned(std::size_t at) { return (at + alignment - 1) / alignment * alignment; }

/// The parts of a block of `sizes`, each at most bytes_max, in the order of its packed bytes.
template <typename Add>
void for_each_part(const Dims& offset, const Dims& sizes, std::uint32_t element_bytes, std::size_t bytes_max, const Add& add) {
  const std::size_t bytes = static_cast<std::size_t>(volume({sizes.data(), sizes.size()})) * element_bytes;
  if (bytes <= bytes_max) return add(offset, sizes);
  const auto outer = static_cast<std::size_t>(std::ranges::find_if(sizes, [](std::int64_t size) { return size > 1; }) - sizes.begin());
  const std::size_t slice_bytes = bytes / static_cast<std::size_t>(sizes[outer]);
  const auto step = static_cast<std::int64_t>(std::max<std::size_t>(bytes_max / slice_bytes, 1));
  for (std::int64_t i = 0; i < sizes[outer]; i += step) {
    Dims part_offset = offset, part_sizes = sizes;
    part_offset[outer] += i;
    part_sizes[outer] = std::min(step, sizes[outer] - i);
    for_each_part(part_offset, part_sizes, element_bytes, bytes_max, add);
  }
}

/// The move, or its parts, of at most bytes_max.
void append_cut(const Move& move, std::size_t bytes_max, std::deque<StridedBlock>& parts, std::vector<Move>& result) {
  const StridedBlock& tensor = *move.tensor;
  if (tensor.bytes() <= bytes_max) return result.push_back(move);
  std::byte* other = move.other;
  for_each_part(Dims(tensor.sizes.size(), 0), tensor.sizes, tensor.element_bytes, bytes_max, [&](const Dims& offset, const Dims& sizes) {
    Move part = move;
    part.tensor = &parts.emplace_back(narrow(tensor, offset, sizes));
    part.other = other;
    if (move.with_gaps != nullptr) part.with_gaps = &parts.emplace_back(narrow(*move.with_gaps, offset, sizes));
    other += part.tensor->bytes();
    result.push_back(part);
  });
}

bool is_before(const Move& a, const Move& b) {
  if ((a.with_gaps == nullptr) != (b.with_gaps == nullptr)) return b.with_gaps != nullptr;
  return a.with_gaps == nullptr && a.other < b.other;
}

bool goes_on(const Move& before, const Move& move) {
  if (before.with_gaps != nullptr || move.with_gaps != nullptr || before.allocation == 0 || before.allocation != move.allocation)
    return false;
  const std::byte* end = before.other + before.tensor->bytes();
  return MUTATE("cuda.run_over_gaps", end == move.other, end + 256 >= move.other);
}

using Moves = std::span<const Move>;

/// Moves whose packed bytes lie one behind the other.
std::vector<Moves> runs_of(Moves moves) {
  std::vector<Moves> runs;
  for (std::size_t first = 0, next = 0; first < moves.size(); first = next) {
    for (next = first + 1; next < moves.size() && goes_on(moves[next - 1], moves[next]);) ++next;
    runs.push_back(moves.subspan(first, next - first));
  }
  return runs;
}

std::size_t bytes_of(Moves run) { return static_cast<std::size_t>(run.back().other - run.front().other) + run.back().tensor->bytes(); }

bool is_short(Moves run) { return run.front().where == Where::pinned && bytes_of(run) < run_bytes_min; }

/// Fills rounds, one after the other.
class Filling {
 public:
  explicit Filling(std::vector<MovePlan::Round>& rounds) : rounds_(rounds) {}

  void add_run(Moves run) {
    bool begins = true;
    for (const Move& move : run) {
      const std::size_t bytes = move.tensor->bytes();
      const std::size_t at = place(begins ? aligned(end()) : end(), bytes, begins);
      MovePlan::Round& round = rounds_.back();
      if (begins) round.runs.push_back({at, move.other, 0});
      round.runs.back().bytes += bytes;
      round.pieces.push_back({move.tensor, at});
      round.bytes = at + bytes;
      begins = false;
    }
  }

  void add_bounced(const Move& move) {
    const std::size_t bytes = move.tensor->bytes();
    bool in_new_round = false;
    const std::size_t at = place(aligned(end()), bytes, in_new_round);
    MovePlan::Round& round = rounds_.back();
    if (round.bounced.empty()) round.bounced_at = at;
    const StridedBlock packed = packed_block(move.other, {static_cast<std::int64_t>(bytes)}, 1);
    round.bounced.push_back({at - round.bounced_at, move.with_gaps == nullptr ? packed : *move.with_gaps});
    round.pieces.push_back({move.tensor, at});
    round.bytes = at + bytes;
  }

 private:
  std::size_t end() const { return rounds_.empty() ? area_bytes_max : rounds_.back().bytes; }
  /// `at`, if that many bytes fit there; else the beginning of a new round.
  std::size_t place(std::size_t at, std::size_t bytes, bool& in_new_round) {
    if (at + bytes <= area_bytes_max) return at;
    rounds_.emplace_back();
    in_new_round = true;
    return 0;
  }

  std::vector<MovePlan::Round>& rounds_;
};

}  // namespace

std::size_t MovePlan::area_bytes() const {
  std::size_t bytes = 0;
  for (const Round& round : rounds) bytes = std::max(bytes, round.bytes);
  return bytes;
}

std::size_t MovePlan::bounce_bytes() const {
  std::size_t bytes = 0;
  for (const Round& round : rounds) bytes = std::max(bytes, round.bounced_bytes());
  return bytes;
}

MovePlan plan_moves(std::vector<Move> moves) {
  MovePlan plan;
  std::vector<Move> direct, through;
  for (const Move& move : moves) {
    const std::size_t alone = move.where == Where::device ? device_copy_bytes_min : copy_bytes_min;
    if (move.with_gaps == nullptr && is_packed(*move.tensor) && move.tensor->bytes() >= alone) {
      plan.copies.push_back({move.tensor->data, move.other, move.tensor->bytes()});
    } else if (move.where == Where::device) {
      append_cut(move, direct_bytes_max, plan.parts, direct);
    } else {
      append_cut(move, area_bytes_max, plan.parts, through);
    }
  }
  for (const Move& move : direct) plan.direct.push_back({move.tensor, move.other});
  if (!std::ranges::is_sorted(through, is_before)) std::ranges::stable_sort(through, is_before);
  std::vector<Moves> runs = runs_of(through);
  const bool few = std::ranges::count_if(runs, is_short) <= static_cast<std::ptrdiff_t>(short_runs_max);
  const auto bounces = [&](Moves run) { return run.front().with_gaps != nullptr || (!few && is_short(run)); };
  Filling filling(plan.rounds);
  for (const Moves run : runs) {
    if (bounces(run)) continue;
    const bool alone = run.size() == 1 && is_packed(*run.front().tensor);
    if (alone) plan.copies.push_back({run.front().tensor->data, run.front().other, run.front().tensor->bytes()});
    if (!alone) filling.add_run(run);
  }
  for (const Moves run : runs) {
    if (!bounces(run)) continue;
    for (const Move& move : run) filling.add_bounced(move);
  }
  return plan;
}

}  // namespace holdfast::backend::cuda

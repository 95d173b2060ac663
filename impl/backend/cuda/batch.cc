#include "impl/backend/cuda/batch.h"

#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {
namespace {

constexpr std::uint64_t lanes_alignment = 16;

/// Copies what bounces between its pinned memory and where it belongs; on the host, in stream order.
std::function<void()> bounce_copies(Way way, std::vector<MovePlan::Bounced> bounced, std::byte* bounce) {
  return [=, bounced = std::move(bounced)] {
    for (const MovePlan::Bounced& part : bounced) {
      const StridedBlock packed = packed_block(bounce + part.at, part.other.sizes, part.other.element_bytes);
      way == Way::out ? copy_block(packed, part.other) : copy_block(part.other, packed);
    }
  };
}

}  // namespace

void Batch::digest(const StridedBlock& block, const Box& box, const Dims& shape, DType dtype, TensorDigest* out) {
  const Dimensions region = unit_dimensions(block, shape, dtype);
  const std::uint64_t first = MUTATE("cuda.digest_of_wrong_range", first_unit(box, shape, dtype), std::uint64_t{0});
  memory_.table.digest(region, block.data, first, unit_bytes(dtype), static_cast<std::uint32_t>(results_.size()));
  results_.push_back(out);
}

void Batch::move(const StridedBlock& tensor, std::byte* packed) {
  const Allocations::Found found = known_.find(packed, tensor.bytes());
  const Where where = found.begin == 0 ? Where::elsewhere : found.kind == MemoryKind::device ? Where::device : Where::pinned;
  moves_.push_back({&tensor, packed, nullptr, where, found.begin});
}

void Batch::move(const StridedBlock& tensor, const StridedBlock& with_gaps) {
  moves_.push_back({&tensor, with_gaps.data, &with_gaps, Where::elsewhere, 0});
}

Table Batch::table() const {
  return {reinterpret_cast<const char*>(scratch_.memory), reinterpret_cast<const char*>(scratch_.image), memory_.table.bytes()};
}

Status Batch::enqueue(Stream& on, const Key* keys) {
  plan_ = plan_moves(std::move(moves_));
  const std::vector<Launch> launches = TRY(build(on));
  TRY(upload(on));
  if (way_ == Way::out) TRY(launch_digests(on, keys));
  TRY(move_all(on, launches));
  if (way_ == Way::in) TRY(launch_digests(on, keys));
  return hand_out(on);
}

/// Completes the table; the launches are those of the direct moves, then a round each.
Result<std::vector<Batch::Launch>> Batch::build(Stream& on) {
  if (plan_.area_bytes() != 0) area_ = TRY(on.area(plan_.area_bytes()));
  if (plan_.bounce_bytes() != 0) bounce_ = TRY(on.bounce(plan_.bounce_bytes()));
  std::vector<Launch> launches{add_moves(plan_.direct)};
  for (const MovePlan::Round& round : plan_.rounds) {
    std::vector<MovePlan::Direct> moves;
    for (const MovePlan::Piece& piece : round.pieces) moves.push_back({piece.tensor, area_ + piece.at});
    launches.push_back(add_moves(moves));
  }
  return launches;
}

Batch::Launch Batch::add_moves(const std::vector<MovePlan::Direct>& direct) {
  TableBuilder& table = memory_.table;
  const std::uint32_t first = table.moves();
  for (const MovePlan::Direct& move : direct) {
    if (is_packed(*move.tensor)) {
      table.move_packed(move.tensor->data, move.packed, move.tensor->bytes());
    } else {
      table.move(byte_dimensions(*move.tensor), move.tensor->data, move.packed);
    }
  }
  return {first, table.moves() - first};
}

/// One copy brings the table and clears the lanes behind it.
Status Batch::upload(Stream& on) {
  const std::uint64_t lanes_at = (memory_.table.bytes() + lanes_alignment - 1) / lanes_alignment * lanes_alignment;
  const std::size_t bytes = lanes_at + lanes_bytes();
  if (bytes == 0) return {};
  scratch_ = TRY(memory_.scratch.take(on.site(), bytes));
  on.keep(scratch_);
  memory_.table.write(scratch_.image);
  if (MUTATE("cuda.lanes_not_cleared", true, false)) std::memset(scratch_.image + lanes_at, 0, lanes_bytes());
  return on.copy(scratch_.image, scratch_.memory, bytes);
}

Status Batch::launch_digests(Stream& on, const Key* keys) {
  const TableBuilder& table = memory_.table;
  DigestArguments arguments{this->table(), 0, table.steps_at(), keys, nullptr, 0};
  arguments.lanes = reinterpret_cast<unsigned long long*>(scratch_.memory + scratch_.bytes - lanes_bytes());
  const auto launch = [&](Kernel kernel, std::uint64_t shares_at, std::uint32_t count) -> Status {
    if (count == 0) return {};
    arguments.shares = shares_at;
    arguments.count = count;
    return on.launch(kernel, count, &arguments);
  };
  TRY(launch(Kernel::digest_runs, table.runs_at(), table.runs()));
  return launch(Kernel::digest_rows, table.rows_at(), table.rows());
}

Status Batch::launch_moves(Stream& on, const Launch& launch) {
  if (launch.count == 0) return {};
  MoveArguments arguments{table(), memory_.table.move_at(launch.first), memory_.table.steps_at(), launch.count};
  return on.launch(way_ == Way::out ? Kernel::pack : Kernel::unpack, launch.count, &arguments);
}

Status Batch::move_all(Stream& on, const std::vector<Launch>& launches) {
  TRY(launch_moves(on, launches.front()));
  for (const MovePlan::Copy& copy : plan_.copies) {
    TRY(way_ == Way::out ? on.copy(copy.tensor, copy.other, copy.bytes) : on.copy(copy.other, copy.tensor, copy.bytes));
  }
  for (std::size_t i = 0; i < plan_.rounds.size(); ++i) {
    TRY(way_ == Way::out ? move_out(on, plan_.rounds[i], launches[i + 1]) : move_in(on, plan_.rounds[i], launches[i + 1]));
  }
  return {};
}

Status Batch::move_out(Stream& on, const MovePlan::Round& round, const Launch& launch) {
  TRY(launch_moves(on, launch));
  for (const MovePlan::Run& run : round.runs) TRY(on.copy(area_ + run.at, run.other, run.bytes));
  if (round.bounced.empty()) return {};
  TRY(on.copy(area_ + round.bounced_at, bounce_, round.bounced_bytes()));
  return on.run_on_host(bounce_copies(way_, round.bounced, bounce_));
}

Status Batch::move_in(Stream& on, const MovePlan::Round& round, const Launch& launch) {
  for (const MovePlan::Run& run : round.runs) TRY(on.copy(run.other, area_ + run.at, run.bytes));
  if (!round.bounced.empty()) {
    TRY(on.run_on_host(bounce_copies(way_, round.bounced, bounce_)));
    TRY(on.copy(bounce_, area_ + round.bounced_at, round.bounced_bytes()));
  }
  return launch_moves(on, launch);
}

/// Brings the lanes back, and hands out the digests by one function on the host, which does the host's own blocks, too.
Status Batch::hand_out(Stream& on) {
  if (results_.empty() && host_work_.empty()) return {};
  auto* const lanes = reinterpret_cast<TensorDigest*>(scratch_.image + scratch_.bytes - lanes_bytes());
  if (!results_.empty()) TRY(on.copy(scratch_.memory + scratch_.bytes - lanes_bytes(), lanes, lanes_bytes()));
  const auto give = [lanes](const std::vector<TensorDigest*>& results) {
    for (std::size_t i = 0; i < results.size(); ++i) *results[i] = lanes[MUTATE("cuda.batch_wrong_item", i, (i + 1) % results.size())];
  };
  if (MUTATE("cuda.digest_read_early", false, true)) {
    give(results_);
    results_.clear();
  }
  return on.run_on_host([give, results = std::move(results_), work = std::move(host_work_)] {
    give(results);
    for (const std::function<void()>& each : work) each();
  });
}

}  // namespace holdfast::backend::cuda

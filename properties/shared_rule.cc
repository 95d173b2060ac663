// Who reads what several ranks want: every way in which three ranks can want a small tensor, and drawn jobs.
#include <array>

#include "impl/core/mark.h"
#include "impl/plan/load_plan.h"
#include "impl/plan/save_plan.h"
#include "impl/plan/shared_reads.h"
#include "model/blocks_wanted.h"
#include "properties/gen/draw.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

using Wrong = std::optional<std::string>;

Result<plan::SharedReads> shared_by(std::span<const LoadPlan> plans, const Metadata& metadata, const plan::SharingOptions& options) {
  return plan::share_reads(plans, metadata, [](const MetadataIndex& chunk) -> Result<std::uint64_t> { return chunk.fqn.size(); }, options);
}

/// Each block that two want is read once, by one of them, for all of them; no other is.
Wrong wrong_readers(const plan::SharedReads& shared, const model::BlocksWanted& wanted) {
  std::map<MetadataIndex, std::vector<int>> read;
  for (const plan::SharedRead& one : shared.reads) {
    const MetadataIndex& chunk = shared.chunks[one.chunk];
    const auto found = wanted.find(chunk);
    if (found == wanted.end() || one.blocks.first >= one.blocks.end || one.blocks.end > found->second.size())
      return fmt::format("blocks {} to {} of {}", one.blocks.first, one.blocks.end, to_string(chunk));
    const std::set<Rank> group(shared.groups[one.group].begin(), shared.groups[one.group].end());
    if (!group.contains(one.reader)) return fmt::format("{} is read by rank {}, which wants nothing of it", to_string(chunk), one.reader);
    for (std::uint64_t block = one.blocks.first; block < one.blocks.end; ++block) {
      if (found->second[block] != group)
        return fmt::format("{} block {} goes to ranks {}; it is wanted by {}", to_string(chunk), block, fmt::join(group, ","),
                           fmt::join(found->second[block], ","));
      std::vector<int>& times = read[chunk];
      times.resize(found->second.size());
      if (++times[block] == 2) return fmt::format("{} block {} is read twice", to_string(chunk), block);
    }
  }
  for (const auto& [chunk, blocks] : wanted) {
    std::vector<int>& times = read[chunk];
    times.resize(blocks.size());
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      if ((blocks[block].size() >= 2) != (times[block] == 1))
        return fmt::format("{} block {}, which {} ranks want, is shared {} times", to_string(chunk), block, blocks[block].size(),
                           times[block]);
    }
  }
  return std::nullopt;
}

/// In no step more than there is room for, unless it is one unit of blocks; pieces in order.
Wrong wrong_steps(const plan::SharedReads& shared, std::span<const LoadPlan> plans, const Metadata& metadata,
                  const plan::SharingOptions& options) {
  std::map<std::tuple<std::uint64_t, Rank, bool>, std::pair<std::uint64_t, int>> rooms;
  std::uint64_t last = 0;
  for (const plan::SharedRead& one : shared.reads) {
    if (one.step < last || one.step >= shared.steps) return fmt::format("step {} after {} of {}", one.step, last, shared.steps);
    last = one.step;
    const auto& tensor = std::get<TensorMetadata>(metadata.entries.find(shared.chunks[one.chunk].fqn)->second);
    const Box box = tensor.chunks.box(*tensor.chunks.find(*shared.chunks[one.chunk].offset));
    const plan::ChunkBlocks chunk{box.size, size_bytes(tensor.dtype), options.block_bytes};
    const std::uint64_t units = (one.blocks.end - one.blocks.first + chunk.unit() - 1) / chunk.unit();
    if (units > 1 && chunk.bytes_of(one.blocks) > options.read_bytes_max)
      return fmt::format("{} bytes in one read", chunk.bytes_of(one.blocks));
    for (const Rank rank : shared.groups[one.group]) {
      auto& [room, pieces] = rooms[{one.step, rank, rank == one.reader}];
      room += plan::room_of(chunk.bytes_of(one.blocks));
      if (++pieces > 1 && room > options.step_bytes) return fmt::format("rank {} has {} bytes in step {}", rank, room, one.step);
    }
  }
  if (shared.steps > 1) MARK("share_rule.steps");
  const std::vector<plan::SharedReads> parts = plan::parts_of(shared, plans.size());
  for (std::size_t r = 0; r < parts.size(); ++r) {
    std::size_t next = 0;
    for (const plan::SharedRead& one : shared.reads) {
      const std::vector<Rank>& group = shared.groups[one.group];
      if (std::ranges::find(group, Rank{static_cast<std::int32_t>(r)}) == group.end()) continue;
      if (next == parts[r].reads.size()) return fmt::format("rank {} is not told of all that it has to do with", r);
      const plan::SharedRead& told = parts[r].reads[next++];
      if (parts[r].groups[told.group] != group || parts[r].chunks[told.chunk] != shared.chunks[one.chunk] || told.blocks != one.blocks ||
          told.reader != one.reader || told.step != one.step)
        return fmt::format("rank {} is told something else than the others", r);
    }
    Encoder out;
    plan::encode(out, parts[r]);
    Decoder in(out.bytes(), "part");
    const Result<plan::SharedReads> decoded = plan::decode_shared_reads(in);
    if (!decoded || !in.finish() || *decoded != parts[r] || next != parts[r].reads.size()) return fmt::format("the part of rank {}", r);
  }
  return std::nullopt;
}

Wrong wrong_sharing(std::span<const LoadPlan> plans, const Metadata& metadata, const plan::SharingOptions& options) {
  const auto shared = shared_by(plans, metadata, options);
  if (!shared) return fmt::format("{}", shared.error());
  if (auto wrong = wrong_readers(*shared, model::blocks_wanted(plans, metadata, options.block_bytes))) return wrong;
  return wrong_steps(*shared, plans, metadata, options);
}

/// Cut at the bits of `cuts`.
Metadata saved_in_parts(std::int64_t elements, unsigned cuts, DType dtype) {
  std::vector<Box> boxes;
  for (std::int64_t begin = 0, end = 1; end <= elements; ++end) {
    if (end < elements && (cuts >> (end - 1) & 1) == 0) continue;
    boxes.push_back({{begin}, {end - begin}});
    begin = end;
  }
  Metadata metadata;
  metadata.entries.emplace("t", TensorMetadata{dtype, {elements}, ChunkSet(std::move(boxes), {elements})});
  return metadata;
}

/// Three ranks, each of which wants any interval of four elements, saved in any cut, in blocks of one to three bytes.
Wrong every_small_job() {
  constexpr std::int64_t elements = 4;
  std::vector<Box> intervals;
  for (std::int64_t begin = 0; begin < elements; ++begin) {
    for (std::int64_t size = begin == 0 ? 0 : 1; begin + size <= elements; ++size) intervals.push_back({{begin}, {size}});
  }
  for (const DType dtype : {DType::u8, DType::bf16}) {
    for (unsigned cuts = 0; cuts < 1u << (elements - 1); ++cuts) {
      const Metadata metadata = saved_in_parts(elements, cuts, dtype);
      std::vector<LoadPlan> plan_of;
      for (const Box& interval : intervals) {
        StateDict wanted;
        const StridedBlock memory = packed_block(nullptr, interval.size, size_bytes(dtype));
        const Status added = wanted.add("t", TensorEntry{dtype, {elements}, true, {{interval, memory}}});
        if (!added) return fmt::format("{}", added.error());
        auto plan = plan::local_load_plan(wanted, metadata);
        if (!plan) return fmt::format("{}", plan.error());
        plan_of.push_back(*std::move(plan));
      }
      for (std::size_t i = 0; i < plan_of.size() * plan_of.size() * plan_of.size(); ++i) {
        const std::array plans{plan_of[i % plan_of.size()], plan_of[i / plan_of.size() % plan_of.size()],
                               plan_of[i / plan_of.size() / plan_of.size()]};
        const auto block_bytes = static_cast<std::uint32_t>(1 + i % 3);
        const plan::SharingOptions options{block_bytes, 8192 * (1 + i % 2), 1 + i % 4, 1 + i % 5};
        if (auto wrong = wrong_sharing(plans, metadata, options))
          return fmt::format("plans {} of {} elements cut {}, {}, blocks of {}: {}", i, elements, cuts, to_string(dtype), block_bytes,
                             *wrong);
      }
    }
  }
  return std::nullopt;
}

Wrong drawn_job(const gen::DrawnCase& drawn) {
  const gen::WholeValues values = make_values(drawn.saved, 1);
  std::vector<SavePlan> saving;
  for (int r = 0; r < drawn.saved.world_size; ++r) {
    auto plan = plan::local_save_plan(make_state(drawn.saved, Rank{r}, values).dict, Rank{r});
    if (!plan) return fmt::format("{}", plan.error());
    saving.push_back(*std::move(plan));
  }
  const auto saved = plan::global_save_plan(std::move(saving));
  if (!saved) return fmt::format("{}", saved.error());
  std::vector<LoadPlan> plans;
  for (int r = 0; r < drawn.loaded.world_size; ++r) {
    auto plan = plan::local_load_plan(make_destination(drawn.loaded, Rank{r}).dict, saved->metadata);
    if (!plan) return fmt::format("{}", plan.error());
    plans.push_back(*std::move(plan));
  }
  gen::Draw draw(drawn.seed);
  const plan::SharingOptions options{drawn.block_bytes, 8192u * (1 + draw.below(4u)), 1 + draw.below(std::uint64_t{512}),
                                     1 + draw.below(std::uint64_t{256})};
  return wrong_sharing(plans, saved->metadata, options);
}

}  // namespace

std::vector<Property> shared_rule_properties() {
  const auto check = [](World&, const gen::DrawOptions& options) {
    if (auto wrong = every_small_job()) return gen::Outcome{0, *wrong, "every small job"};
    return gen::for_all(options, drawn_job);
  };
  return {
      {"rule-shared-reads",
       "S7",
       "Of blocks that several ranks want, one that wants them reads each, once, for exactly those others; what one rank wants alone is "
       "not shared.",
       {"sim"},
       check,
       {"share_rule.steps", "share.several_readers"},
       asks_nothing_of_a_world}};
}

}  // namespace holdfast::properties

// Rules of the pure parts, each over drawn jobs: what must be refused is refused, what must be chosen is chosen.
#include <algorithm>
#include <map>

#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "impl/plan/attempts.h"
#include "impl/plan/check.h"
#include "impl/plan/load_plan.h"
#include "impl/plan/lookup.h"
#include "impl/plan/retention.h"
#include "impl/plan/save_plan.h"
#include "impl/protocol/build_manifest.h"
#include "properties/gen/draw.h"
#include "properties/gen/paper_job.h"
#include "properties/property.h"
#include "properties/workload/recording_storage.h"

namespace holdfast::properties {
namespace {

using Wrong = std::optional<std::string>;

constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  return x ^ (x >> 27);
}

std::vector<gen::RankState> states_of(const gen::StateSpec& spec) {
  const gen::WholeValues values = make_values(spec, 1);
  std::vector<gen::RankState> states;
  for (int r = 0; r < spec.world_size; ++r) states.push_back(make_state(spec, Rank{r}, values));
  return states;
}

Result<std::vector<SavePlan>> local_plans(const std::vector<gen::RankState>& states) {
  std::vector<SavePlan> plans;
  for (const gen::RankState& state : states) {
    SavePlan plan = TRY(plan::local_save_plan(state.dict));
    plans.push_back(std::move(plan));
  }
  return plans;
}

/// A tensor item with elements, drawn; null when there is none.
WriteItem* some_item(std::vector<SavePlan>& plans, std::uint64_t seed) {
  std::vector<WriteItem*> items;
  for (SavePlan& plan : plans) {
    for (WriteItem& item : plan.items) {
      if (item.type != WriteItemType::bytes && !item.chunk.empty()) items.push_back(&item);
    }
  }
  return items.empty() ? nullptr : items[mix(seed) % items.size()];
}

/// A save in which nobody holds some box any more.
Wrong hole_is_refused(const gen::DrawnCase& drawn) {
  const auto states = states_of(drawn.saved);
  auto plans = local_plans(states);
  if (!plans) return fmt::format("{}", plans.error());
  const WriteItem* item = some_item(*plans, drawn.seed);
  if (!item) return std::nullopt;
  const MetadataIndex gone = item->index;
  for (SavePlan& plan : *plans) {
    std::erase_if(plan.items, [&](const WriteItem& other) { return other.index == gone && !other.chunk.empty(); });
  }
  // Of a tensor that nobody mentions any more nothing can be known.
  const auto mentions = [&](const SavePlan& plan) {
    return std::ranges::any_of(plan.items, [&](const WriteItem& other) { return other.index.fqn == gone.fqn; });
  };
  if (std::ranges::none_of(*plans, mentions)) return std::nullopt;
  if (plan::global_save_plan(*plans)) return fmt::format("a save without anybody for {} is planned", to_string(gone));
  return std::nullopt;
}

/// A save in which one rank says another dtype.
Wrong dtype_clash_is_refused(const gen::DrawnCase& drawn) {
  const auto states = states_of(drawn.saved);
  auto plans = local_plans(states);
  if (!plans) return fmt::format("{}", plans.error());
  WriteItem* item = some_item(*plans, drawn.seed);
  std::size_t holders = 0;
  for (const SavePlan& plan : *plans) {
    holders += static_cast<std::size_t>(
        std::ranges::count_if(plan.items, [&](const WriteItem& other) { return item && other.index.fqn == item->index.fqn; }));
  }
  if (holders < 2) return std::nullopt;
  item->dtype = item->dtype == DType::i8 ? DType::u8 : DType::i8;
  if (plan::global_save_plan(*plans)) return fmt::format("ranks that disagree on the dtype of \"{}\" are planned", item->index.fqn);
  return std::nullopt;
}

Result<Metadata> metadata_of(const std::vector<gen::RankState>& states) {
  std::vector<SavePlan> plans = TRY(local_plans(states));
  plan::GlobalSavePlan global = TRY(plan::global_save_plan(std::move(plans)));
  return std::move(global.metadata);
}

/// A load into another dtype of the same width, and one from a checkpoint in which a chunk is missing.
Wrong wrong_load_is_refused(const gen::DrawnCase& drawn) {
  const auto states = states_of(drawn.saved);
  const Result<Metadata> metadata = metadata_of(states);
  if (!metadata) return fmt::format("{}", metadata.error());
  for (const auto& [key, entry] : metadata->entries) {
    const auto* tensor = std::get_if<TensorMetadata>(&entry);
    if (!tensor || tensor->chunks.size() == 0) continue;
    for (const gen::RankState& state : states) {
      const auto& local = std::get<TensorEntry>(*state.dict.find(key));
      const bool holds = std::ranges::any_of(local.shards, [](const LocalShard& shard) { return !shard.box.empty(); });
      if (!holds) continue;
      Metadata other = *metadata;
      std::get<TensorMetadata>(other.entries.at(key)).dtype = tensor->dtype == DType::i64 ? DType::u64 : DType::i64;
      if (plan::local_load_plan(state.dict, other)) return fmt::format("\"{}\" is loaded into another dtype", key);
      Metadata holed = *metadata;
      std::vector<Box> boxes;
      for (std::size_t i = 0; i < tensor->chunks.size(); ++i) {
        if (!intersection(tensor->chunks.box(i), local.shards[0].box)) boxes.push_back(tensor->chunks.box(i));
      }
      std::get<TensorMetadata>(holed.entries.at(key)).chunks = ChunkSet(boxes, tensor->shape);
      if (!local.shards[0].box.empty() && plan::local_load_plan(state.dict, holed))
        return fmt::format("\"{}\" is loaded though chunks are missing", key);
    }
  }
  return std::nullopt;
}

/// Whatever the hint, the shard is the one at the offset.
Wrong hints_are_only_hints(const gen::DrawnCase& drawn) {
  const auto states = states_of(drawn.saved);
  for (const gen::RankState& state : states) {
    for (const auto& [key, entry] : state.dict.entries()) {
      const auto* tensor = std::get_if<TensorEntry>(&entry);
      if (!tensor) continue;
      for (const LocalShard& shard : tensor->shards) {
        for (std::uint32_t hint = 0; hint <= tensor->shards.size(); ++hint) {
          const auto found = plan::find_shard(state.dict, {key, shard.box.offset, hint});
          if (!found) return fmt::format("{}", found.error());
          if ((*found)->box.offset != shard.box.offset)
            return fmt::format("\"{}\": hint {} leads to {} instead of {}", key, hint, to_string((*found)->box), to_string(shard.box));
        }
      }
    }
  }
  return std::nullopt;
}

/// No rank writes more than the mean and one piece: what list scheduling guarantees (Graham 1966) when every rank holds everything.
Wrong replicas_are_balanced(const gen::DrawnCase& drawn) {
  gen::StateSpec spec = drawn.saved;
  for (gen::TensorSpec& tensor : spec.tensors) tensor.layout = ReplicatedLayout{};
  const auto states = states_of(spec);
  auto plans = local_plans(states);
  if (!plans) return fmt::format("{}", plans.error());
  const auto global = plan::global_save_plan(*std::move(plans));
  if (!global) return fmt::format("{}", global.error());
  std::uint64_t total = 0, most = 0, largest = 0;
  for (const SavePlan& plan : global->plans) {
    std::uint64_t bytes = 0;
    for (const WriteItem& item : plan.items) {
      bytes += item.stored_bytes();
      largest = std::max(largest, item.stored_bytes());
    }
    total += bytes;
    most = std::max(most, bytes);
  }
  const std::uint64_t ranks = global->plans.size();
  if (most * ranks > total + largest * ranks)
    return fmt::format("a rank writes {} of {} bytes over {} ranks, the largest piece has {}", most, total, ranks, largest);
  return std::nullopt;
}

/// Attempt numbers rise over all steps; what overtook a save, the newest and the last verified checkpoint are never retired.
Wrong ages_are_kept(const gen::DrawnCase& drawn) {
  std::vector<plan::AttemptId> attempts;
  std::vector<plan::Committed> committed;
  std::uint64_t state = drawn.seed;
  for (std::uint32_t k = 1; k <= 6; ++k) {
    state = mix(state + k);
    const plan::AttemptId id{Step{static_cast<std::int64_t>(state % 4)}, k};
    attempts.push_back(id);
    committed.push_back({id, k});
  }
  const Step step{static_cast<std::int64_t>(state % 5)};
  const plan::AttemptId next = plan::next_attempt(attempts, step);
  if (next.attempt != 7) return fmt::format("the attempt after {} is number {}", attempts.size(), next.attempt);
  const std::uint64_t own = 1 + state % 6;
  const plan::AttemptId verified = attempts[state / 7 % 6];
  for (const plan::AttemptId id : plan::to_retire(committed, own, {.keep_last = 1}, verified)) {
    if (id == verified) return "the last verified checkpoint is retired";
    if (id.attempt >= own) return fmt::format("the save with sequence {} retires one with sequence {}", own, id.attempt);
    if (id == attempts.back()) return "the newest checkpoint is retired";
  }
  return std::nullopt;
}

/// Any flipped bit of a commit record or a segment header is refused.
Wrong damage_is_refused(const gen::DrawnCase& drawn) {
  format::Manifest manifest;
  manifest.step = Step{static_cast<std::int64_t>(drawn.seed % 1000)};
  manifest.attempt = 1;
  manifest.sequence = 1;
  manifest.block_bytes = drawn.block_bytes;
  manifest.world_size = drawn.saved.world_size;
  Bytes record = format::encode_manifest(manifest);
  const std::uint64_t bit = mix(drawn.seed) % (record.size() * 8);
  record[bit / 8] ^= std::byte(1u << (bit % 8));
  if (format::ManifestReader::open(std::move(record), "MANIFEST")) return fmt::format("a manifest with bit {} flipped is opened", bit);

  const auto layout = format::lay_out_segment({{"w", DType::u8, {5}, whole({5}), 0, 0}}, 64);
  if (!layout) return fmt::format("{}", layout.error());
  const BlockDigest digest{1, 2};
  Bytes header = format::encode_segment_header(*layout, {&digest, 1}, "step-1.a1");
  const std::uint64_t padding_byte = header.size() - 1 - mix(drawn.seed) % 1000;
  header[padding_byte] = std::byte{'\t'};  // which any JSON parser would pass over
  if (format::decode_segment_header(header, "segment"))
    return fmt::format("a segment header with byte {} of its padding changed is decoded", padding_byte);
  return std::nullopt;
}

/// What the ranks of a mesh report when each has written its boxes, every one in the segment that it belongs into.
std::vector<std::vector<WriteResult>> written_by(const MeshLayout& layout, const Dims& shape) {
  std::vector<std::vector<WriteResult>> results;
  std::vector<std::string> files;
  for (std::int64_t position = 0; position < layout.mesh.size(); ++position) {
    const auto boxes = static_cast<std::int64_t>(local_part(layout, shape, position).size());
    for (std::int64_t box = 0; box < boxes; ++box)
      files.push_back(format::segment_name(format::segment_of_box(layout.mesh.rank(position), box)));
  }
  const protocol::DurablePart part = durable_part("step-1.a1", files);
  for (std::int64_t position = 0; position < layout.mesh.size(); ++position) {
    results.emplace_back();
    std::int64_t number = 0;
    for (const LocalBox& local : local_part(layout, shape, position)) {
      protocol::TensorPlace place;
      place.segment = format::SegmentRecord{format::segment_of_box(layout.mesh.rank(position), number++), 8192, 4096, {}};
      const auto bytes = static_cast<std::uint64_t>(local.box.volume());
      results.back().push_back({{"w", local.box.offset, {}}, bytes, *protocol::encode(place, part)});
    }
  }
  return results;
}

/// A commit that lacks a box of a mesh, or has one twice.
Wrong incomplete_commit_is_refused(const gen::DrawnCase& drawn) {
  gen::Draw draw(drawn.seed);
  const std::int64_t ranks = 1 + draw.below<std::int64_t>(5);
  const Dims shape{1 + draw.below<std::int64_t>(7), 1 + draw.below<std::int64_t>(5)};
  const std::int64_t offset = draw.below<std::int64_t>(9);
  const std::int64_t run = (whole(shape).volume() + offset + ranks - 1) / ranks;
  const MeshLayout layout{packed_mesh({&ranks, 1}), {Replicate{}}, FlatCut{{0}, offset, run, 1 + draw.below<std::int64_t>(3), {}, 1}};
  Metadata metadata;
  metadata.entries.emplace("w", TensorMetadata{DType::u8, shape, ChunkSet(layout, shape)});
  const protocol::ManifestHead head{{Step{1}, 1}, {"step-1.a1", 1, ""}, static_cast<std::int32_t>(ranks), 64};
  auto results = written_by(layout, shape);
  if (const auto whole = protocol::build_manifest(head, metadata, results); !whole) return fmt::format("{}", whole.error());
  std::vector<WriteResult>& changed = *std::ranges::find_if(results, [](const auto& of_rank) { return !of_rank.empty(); });
  const WriteResult one = changed[draw.below(changed.size())];
  std::erase_if(changed, [&](const WriteResult& other) { return other.index == one.index; });
  if (protocol::build_manifest(head, metadata, results)) return fmt::format("committed without {}", to_string(one.index));
  changed = {one, one};
  if (protocol::build_manifest(head, metadata, results)) return fmt::format("committed with {} twice", to_string(one.index));
  return std::nullopt;
}

/// A tensor saved in tiles and wanted in others, both listed box by box.
Wrong boxes_across_are_read(const gen::DrawnCase& drawn) {
  const Dims shape{60, 60};
  gen::Draw draw(drawn.seed);
  const auto tiles = [&] {
    const std::int64_t height = draw.of<std::int64_t>({5, 6, 10, 12, 15, 20}), width = draw.of<std::int64_t>({5, 6, 10, 12, 15, 20});
    std::vector<Box> boxes;
    for (std::int64_t row = 0; row < shape[0]; row += height) {
      for (std::int64_t column = 0; column < shape[1]; column += width) boxes.push_back({{row, column}, {height, width}});
    }
    return boxes;
  };
  Metadata metadata;
  metadata.entries["w"] = TensorMetadata{DType::f32, shape, ChunkSet(tiles(), shape)};
  EnumerableLayout wanted;
  for (Box& box : tiles()) wanted.parts.push_back({Rank{0}, std::move(box)});
  StateDict state;
  if (const Status added = state.add("w", gen::paper_entry(DType::f32, shape, wanted, Rank{0})); !added)
    return fmt::format("{}", added.error());
  const auto plan = plan::local_load_plan(state, metadata);
  if (!plan) return fmt::format("{}", plan.error());
  for (const plan::Finding& finding : plan::check_load_plan(*plan, state, metadata)) return to_string(finding);
  return std::nullopt;
}

Property rule(std::string id, std::string invariants, std::string statement, Wrong (*holds)(const gen::DrawnCase&)) {
  return {std::move(id),
          std::move(invariants),
          std::move(statement),
          {"sim"},
          [holds](World& /*world*/, const gen::DrawOptions& options) { return gen::for_all(options, holds); },
          {},
          asks_nothing_of_a_world};
}

}  // namespace

std::vector<Property> rule_properties() {
  return {
      rule("rule-holes", "S7", "A save in which nobody holds some part of a tensor is refused.", hole_is_refused),
      rule("rule-dtypes", "S7", "A save in which ranks disagree on a dtype is refused.", dtype_clash_is_refused),
      rule("rule-loads", "S4 S7", "A load into another dtype, or from a checkpoint that lacks a chunk, is refused.", wrong_load_is_refused),
      rule("rule-across", "S7", "What lies across saved boxes is read whole, once.", boxes_across_are_read),
      rule("rule-hints", "S4", "The hint of an index never decides which shard is meant.", hints_are_only_hints),
      rule("rule-balance", "S7", "Replicas are written by the ranks that have least to write.", replicas_are_balanced),
      rule("rule-ages", "S3 S9", "Attempt numbers rise over all steps, and retention spares what it must.", ages_are_kept),
      rule("rule-commit", "S7", "A commit in which a rank of a mesh did not write one of its boxes, or wrote it twice, is refused.",
           incomplete_commit_is_refused),
      rule("rule-damage", "S4", "A flipped bit of a manifest or of a segment header's padding is refused.", damage_is_refused),
  };
}

}  // namespace holdfast::properties

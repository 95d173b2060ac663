#include "impl/plan/load_plan.h"

#include <optional>
#include <utility>

#include "impl/core/mutate.h"
#include "impl/plan/box_index.h"
#include "impl/plan/problems.h"
#include "impl/plan/tiling.h"
#include "impl/plan/validate.h"

namespace holdfast::plan {
namespace {

struct Findings {
  std::vector<std::string> missing;
  Problems request;     ///< the destination asks for what the checkpoint is not
  Problems checkpoint;  ///< the checkpoint does not hold what it says
};

Dims minus(const Dims& a, const Dims& b) {
  Dims difference = a;
  for (std::size_t d = 0; d < a.size(); ++d) difference[d] -= b[d];
  return difference;
}

/// The saved chunks that a box meets. Rules know; a list is indexed when it is asked more than once.
class SavedChunks {
 public:
  SavedChunks(const TensorMetadata& saved, std::size_t questions) : saved_(saved) {
    if (questions < 2 || saved.chunks.grid() || saved.chunks.mesh()) return;
    std::vector<Box> boxes;
    saved.chunks.for_each([&](ChunkSet::Id, const Box& box) { boxes.push_back(box); });
    index_.emplace(std::move(boxes));
  }
  const TensorMetadata& saved() const { return saved_; }
  std::vector<ChunkSet::Id> meeting(const Box& box) const {
    if (!index_) return saved_.chunks.intersecting(box);
    const std::vector<std::size_t> found = index_->meeting(box);
    return {found.begin(), found.end()};
  }

 private:
  const TensorMetadata& saved_;
  std::optional<BoxIndex> index_;
};

/// The items that fill shard number `position` of the tensor.
void plan_shard(const std::string& name, const Box& shard, std::size_t position, const SavedChunks& chunks, LoadPlan& plan,
                Problems& problems) {
  if (shard.empty()) return;
  const TensorMetadata& saved = chunks.saved();
  std::vector<Box> parts;
  for (const ChunkSet::Id index : chunks.meeting(shard)) {
    const Box chunk = saved.chunks.box(index);
    const auto common = intersection(chunk, shard);
    if (!common) continue;
    ReadItem item;
    item.type = ReadItemType::tensor;
    item.dest_index = {name, shard.offset, static_cast<std::uint32_t>(position)};
    item.dest_offset = minus(common->offset, shard.offset);
    item.storage_index = {name, chunk.offset, static_cast<std::uint32_t>(index)};
    item.storage_offset = MUTATE("plan.storage_offset_is_global", minus(common->offset, chunk.offset), item.dest_offset);
    item.lengths = common->size;
    plan.items.push_back(std::move(item));
    parts.push_back(*common);
  }
  const std::vector<Overlap> overlaps = find_overlaps(parts);
  for (const Overlap& overlap : overlaps) {
    problems.add("\"{}\": saved chunks overlap in {} and {}", name, to_string(parts[overlap.first]), to_string(parts[overlap.second]));
  }
  if (!overlaps.empty()) return;
  const auto hole = find_uncovered(shard, parts);
  if (MUTATE("plan.load_ignores_holes", hole.has_value(), false)) {
    problems.add("\"{}\": wanted {} of shape {}, but no saved chunk covers {}", name, to_string(shard), text(saved.shape),
                 to_string(*hole));
  }
}

void plan_tensor(const std::string& name, const TensorEntry& wanted, const TensorMetadata& saved, LoadPlan& plan, Findings& findings) {
  bool fits = true;
  if (saved.shape != wanted.shape) {
    findings.request.add("\"{}\": shape {} in the checkpoint, {} in the destination", name, text(saved.shape), text(wanted.shape));
    fits = false;
  }
  if (MUTATE("plan.load_casts", saved.dtype != wanted.dtype, false)) {
    findings.request.add("\"{}\": dtype {} in the checkpoint, {} in the destination; nothing is cast", name, to_string(saved.dtype),
                         to_string(wanted.dtype));
    fits = false;
  }
  for (const LocalShard& shard : wanted.shards) {
    if (in_bounds(shard.box, wanted.shape)) continue;
    findings.request.add("\"{}\": local box {} outside shape {}", name, to_string(shard.box), text(wanted.shape));
    fits = false;
  }
  if (!check_bounds(name, saved, findings.checkpoint) || !fits) return;
  const SavedChunks chunks(saved, wanted.shards.size());
  for (std::size_t i = 0; i < wanted.shards.size(); ++i) plan_shard(name, wanted.shards[i].box, i, chunks, plan, findings.checkpoint);
}

void plan_entry(const std::string& name, const StateDict::Entry& wanted, const Metadata& metadata, LoadPlan& plan, Findings& findings) {
  const auto saved = metadata.entries.find(name);
  if (saved == metadata.entries.end()) {
    findings.missing.push_back(fmt::format("\"{}\"", name));
    return;
  }
  const auto* wanted_tensor = std::get_if<TensorEntry>(&wanted);
  const auto* saved_tensor = std::get_if<TensorMetadata>(&saved->second);
  if (wanted_tensor && saved_tensor) {
    plan_tensor(name, *wanted_tensor, *saved_tensor, plan, findings);
  } else if (wanted_tensor) {
    findings.request.add("\"{}\": a byte value in the checkpoint, a tensor of shape {} in the destination", name,
                         text(wanted_tensor->shape));
  } else if (saved_tensor) {
    findings.request.add("\"{}\": a tensor of shape {} in the checkpoint, a byte value in the destination", name,
                         text(saved_tensor->shape));
  } else {
    ReadItem item;
    item.dest_index.fqn = name;
    item.storage_index.fqn = name;
    plan.items.push_back(std::move(item));
  }
}

}  // namespace

Result<LoadPlan> local_load_plan(const StateDict& destination, const Metadata& metadata, LoadPlanOptions options) {
  LoadPlan plan;
  Findings findings;
  for (const auto& [name, wanted] : destination.entries()) plan_entry(name, wanted, metadata, plan, findings);
  if (options.strict && !findings.missing.empty()) {
    findings.request.add("missing in the checkpoint: {}", fmt::join(findings.missing, ", "));
  }
  TRY(findings.request.status(ErrorCode::invalid_argument, "plan load"));
  TRY(findings.checkpoint.status(ErrorCode::corrupt, "plan load"));
  return plan;
}

Result<std::vector<LoadPlan>> global_load_plan(std::vector<LoadPlan> local) { return local; }

std::vector<std::string> unexpected_keys(const StateDict& destination, const Metadata& metadata) {
  std::vector<std::string> keys;
  for (const auto& [key, entry] : metadata.entries) {
    if (!destination.find(key)) keys.push_back(key);
  }
  return keys;
}

}  // namespace holdfast::plan

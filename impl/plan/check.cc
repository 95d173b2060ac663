#include "impl/plan/check.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "impl/plan/problems.h"
#include "impl/plan/summary.h"
#include "impl/plan/validate.h"

namespace holdfast::plan {
namespace {

class Findings {
 public:
  template <typename... Args>
  void error(std::string_view id, fmt::format_string<Args...> format, Args&&... args) {
    found_.push_back({Severity::error, std::string(id), fmt::format(format, std::forward<Args>(args)...)});
  }
  std::size_t size() const { return found_.size(); }
  std::vector<Finding> take() { return std::move(found_); }

 private:
  std::vector<Finding> found_;
};

/// An element that is not covered exactly once.
struct Miscount {
  Dims at;
  std::int64_t times = 0;
};

/// A box has up to 2^dimensions corners.
constexpr std::size_t dims_max = 16;

/// Adds `sign` times the mixed difference of the box's indicator, over the dimensions `dims`: one signed corner for each subset of them.
void add_corners(const Box& box, std::int64_t sign, const std::vector<std::size_t>& dims, std::map<Dims, std::int64_t>& corners) {
  for (std::uint64_t subset = 0; subset < (std::uint64_t{1} << dims.size()); ++subset) {
    Dims corner = box.offset;
    std::int64_t weight = sign;
    for (std::size_t i = 0; i < dims.size(); ++i) {
      if ((subset >> i & 1) == 0) continue;
      corner[dims[i]] += box.size[dims[i]];
      weight = -weight;
    }
    corners[std::move(corner)] += weight;
  }
}

/// The first element of `region` in row-major order that the boxes, all inside it, do not cover exactly once; none when they tile it.
/// At the lexicographically first corner whose weights do not cancel, every corner before it in all dimensions has cancelled, so its
/// weight is by how much the count there is off. Dimensions that all boxes span need no corners.
std::optional<Miscount> first_miscount(const Box& region, std::vector<Box> boxes) {
  std::erase_if(boxes, [](const Box& box) { return box.empty(); });
  if (region.empty()) return std::nullopt;
  if (boxes.empty()) return Miscount{region.offset, 0};
  std::vector<std::size_t> dims;
  for (std::size_t d = 0; d < region.offset.size(); ++d) {
    if (std::ranges::any_of(boxes, [&](const Box& box) { return box.size[d] != region.size[d]; })) dims.push_back(d);
  }
  std::map<Dims, std::int64_t> corners;
  add_corners(region, -1, dims, corners);
  for (const Box& box : boxes) add_corners(box, 1, dims, corners);
  for (const auto& [corner, weight] : corners) {
    if (weight != 0) return Miscount{corner, weight + 1};
  }
  return std::nullopt;
}

void report_miscount(std::string_view what, std::string_view verb, const Box& region, std::vector<Box> boxes, Findings& findings) {
  const std::size_t dims = region.offset.size();
  if (dims > dims_max) return findings.error("dimensions", "{}: {} of them, counted up to {}", what, dims, dims_max);
  const auto miscount = first_miscount(region, std::move(boxes));
  if (!miscount) return;
  findings.error(miscount->times == 0 ? "uncovered" : "overlap", "{}: element {} is {} {} times", what, text(miscount->at), verb,
                 miscount->times);
}

Dims plus(const Dims& a, const Dims& b) {
  Dims sum = a;
  for (std::size_t d = 0; d < a.size(); ++d) sum[d] += b[d];
  return sum;
}

/// Whether the chunk list can be walked at all.
bool well_formed(std::string_view key, const TensorMetadata& tensor, Findings& findings) {
  Problems problems;
  const bool sound = check_bounds(key, tensor, problems);
  if (!sound) findings.error("metadata", "{}", problems.status(ErrorCode::corrupt, "chunks").error().message);
  return sound;
}

/// The saved chunks of each tensor by offset, gathered once.
using SavedChunks = std::map<std::string_view, std::map<Dims, Dims>>;

SavedChunks saved_chunks(const Metadata& metadata, Findings& findings) {
  SavedChunks saved;
  for (const auto& [key, entry] : metadata.entries) {
    const auto* tensor = std::get_if<TensorMetadata>(&entry);
    if (!tensor || !well_formed(key, *tensor, findings)) continue;
    tensor->chunks.for_each([&](ChunkSet::Id, const Box& box) { saved[key].emplace(box.offset, box.size); });
  }
  return saved;
}

/// Destination, source and region of the items of one plan, one after the other.
class LoadCheck {
 public:
  LoadCheck(const StateDict& destination, const Metadata& metadata)
      : destination_(destination), metadata_(metadata), saved_(saved_chunks(metadata, findings_)) {}

  void add(const ReadItem& item) {
    const StateDict::Entry* wanted = destination_.find(item.dest_index.fqn);
    const auto source = metadata_.entries.find(item.storage_index.fqn);
    if (!wanted) return findings_.error("unknown-destination", "{}", to_string(item.dest_index));
    if (source == metadata_.entries.end()) return findings_.error("unknown-source", "{}", to_string(item.storage_index));
    const auto* wanted_tensor = std::get_if<TensorEntry>(wanted);
    const auto* saved_tensor = std::get_if<TensorMetadata>(&source->second);
    const bool tensor = item.type == ReadItemType::tensor;
    if (tensor != (wanted_tensor != nullptr) || tensor != (saved_tensor != nullptr)) {
      return findings_.error("kind", "{}: tensors and byte values are mixed", to_string(item.dest_index));
    }
    if (tensor) {
      add_tensor(item, *wanted_tensor, *saved_tensor);
    } else {
      ++bytes_read_[item.dest_index.fqn];
    }
  }

  std::vector<Finding> finish() {
    for (const auto& [name, wanted] : destination_.entries()) {
      if (!metadata_.entries.contains(name)) continue;
      const auto* tensor = std::get_if<TensorEntry>(&wanted);
      if (!tensor) {
        const auto read = bytes_read_.find(name);
        const std::size_t times = read == bytes_read_.end() ? 0 : read->second;
        if (times != 1) findings_.error(times == 0 ? "uncovered" : "overlap", "\"{}\": read {} times", name, times);
        continue;
      }
      for (std::size_t i = 0; i < tensor->shards.size(); ++i) {
        const Box& box = tensor->shards[i].box;
        report_miscount(fmt::format("\"{}\" local box {}", name, to_string(box)), "read", box, std::move(filled_[{name, i}]), findings_);
      }
    }
    return findings_.take();
  }

 private:
  /// The position of the shard at the item's offset: the hinted one if it is there, else the first.
  static std::optional<std::size_t> shard_of(const ReadItem& item, const TensorEntry& tensor) {
    const auto fits = [&](std::size_t i) { return item.dest_index.offset && tensor.shards[i].box.offset == *item.dest_index.offset; };
    if (item.dest_index.hint && *item.dest_index.hint < tensor.shards.size() && fits(*item.dest_index.hint)) return *item.dest_index.hint;
    for (std::size_t i = 0; i < tensor.shards.size(); ++i) {
      if (fits(i)) return i;
    }
    return std::nullopt;
  }

  void add_tensor(const ReadItem& item, const TensorEntry& wanted, const TensorMetadata& saved) {
    const std::string name = to_string(item.dest_index);
    if (wanted.dtype != saved.dtype) findings_.error("dtype", "{}: {} from {}", name, to_string(wanted.dtype), to_string(saved.dtype));
    if (wanted.shape != saved.shape) return findings_.error("shape", "{}: {} from {}", name, text(wanted.shape), text(saved.shape));
    const auto shard = shard_of(item, wanted);
    if (!shard) return findings_.error("unknown-destination", "{}", name);
    const auto& chunks = saved_[item.storage_index.fqn];
    const auto chunk = item.storage_index.offset ? chunks.find(*item.storage_index.offset) : chunks.end();
    if (chunk == chunks.end()) return findings_.error("unknown-source", "{}", to_string(item.storage_index));
    const Box& box = wanted.shards[*shard].box;
    if (!in_bounds({item.dest_offset, item.lengths}, box.size) || !in_bounds({item.storage_offset, item.lengths}, chunk->second)) {
      return findings_.error("out-of-bounds", "{}: {} at {} of chunk {} to {} of box {}", name, text(item.lengths),
                             text(item.storage_offset), to_string(Box{chunk->first, chunk->second}), text(item.dest_offset),
                             to_string(box));
    }
    const Box filled{plus(box.offset, item.dest_offset), item.lengths};
    const Dims source = plus(chunk->first, item.storage_offset);
    if (filled.empty()) findings_.error("empty", "{}: an item without elements", name);
    if (filled.offset != source) findings_.error("misplaced", "{}: {} is filled from {}", name, text(filled.offset), text(source));
    filled_[{item.dest_index.fqn, *shard}].push_back(filled);
  }

  const StateDict& destination_;
  const Metadata& metadata_;
  Findings findings_;
  SavedChunks saved_;
  std::map<std::pair<std::string, std::size_t>, std::vector<Box>> filled_;
  std::map<std::string, std::size_t> bytes_read_;
};

/// What a save plan says of one key, over all ranks.
struct Written {
  std::optional<WriteItem> offered;  ///< the first item of the local plans
  std::vector<Box> boxes;
  std::size_t byte_values = 0;
};

/// Plan i box by box, as rank i's.
std::vector<SavePlan> expanded(std::span<const SavePlan> plans) {
  std::vector<SavePlan> all;
  for (std::size_t r = 0; r < plans.size(); ++r) all.push_back(expand(plans[r], Rank{static_cast<std::int32_t>(r)}));
  return all;
}

/// Whether `item` is an offered one, or a box inside an offered one.
bool offers(const WriteItem& offered, const WriteItem& item) {
  if (offered.type == WriteItemType::bytes || item.type == WriteItemType::bytes) {
    return offered.type == item.type && offered.nbytes == item.nbytes && offered.index == item.index;
  }
  return offered.dtype == item.dtype && offered.shape == item.shape && item.index.offset == item.chunk.offset &&
         offered.chunk.size.size() == item.chunk.size.size() && contains(offered.chunk, item.chunk);
}

void check_held(std::span<const SavePlan> global, std::span<const SavePlan> local, Findings& findings) {
  for (std::size_t rank = 0; rank < global.size(); ++rank) {
    std::map<std::string_view, std::vector<const WriteItem*>> offered;
    for (const WriteItem& item : local[rank].items) offered[item.index.fqn].push_back(&item);
    for (const WriteItem& item : global[rank].items) {
      const auto match = offered.find(item.index.fqn);
      const bool held =
          match != offered.end() && std::ranges::any_of(match->second, [&](const WriteItem* other) { return offers(*other, item); });
      if (!held) findings.error("not-held", "rank {} is to write {}, which it did not offer", rank, to_string(item.index));
    }
  }
}

void check_key(const std::string& key, const Written& written, const Metadata& metadata, Findings& findings) {
  const WriteItem& offered = *written.offered;
  const auto entry = metadata.entries.find(key);
  if (entry == metadata.entries.end()) return findings.error("metadata", "\"{}\" is not in it", key);
  const auto* tensor = std::get_if<TensorMetadata>(&entry->second);
  if (offered.type == WriteItemType::bytes) {
    if (tensor) findings.error("metadata", "\"{}\" is a byte value, not a tensor", key);
    if (written.byte_values != 1) {
      findings.error(written.byte_values == 0 ? "uncovered" : "owner", "\"{}\": written {} times", key, written.byte_values);
    }
    return;
  }
  if (!tensor || tensor->dtype != offered.dtype || tensor->shape != offered.shape) {
    return findings.error("metadata", "\"{}\" is a tensor of {} and shape {}, not what it says", key, to_string(offered.dtype),
                          text(offered.shape));
  }
  std::vector<Box> boxes = written.boxes;
  std::ranges::sort(boxes, [](const Box& a, const Box& b) { return a < b; });
  for (std::size_t i = 1; i < boxes.size(); ++i) {
    if (boxes[i] == boxes[i - 1]) findings.error("owner", "\"{}\": {} is written more than once", key, to_string(boxes[i]));
  }
  for (const Box& box : boxes) {
    if (in_bounds(box, offered.shape)) continue;
    return findings.error("out-of-bounds", "\"{}\": {} in shape {}", key, to_string(box), text(offered.shape));
  }
  if (!well_formed(key, *tensor, findings)) return;
  std::vector<Box> listed;
  tensor->chunks.for_each([&](ChunkSet::Id, const Box& box) { listed.push_back(box); });
  std::ranges::sort(listed, [](const Box& a, const Box& b) { return a < b; });
  if (listed != boxes) findings.error("metadata", "\"{}\": {} chunks listed, {} written, or others", key, listed.size(), boxes.size());
  if (boxes.empty()) return findings.error("uncovered", "\"{}\": nothing of it is written", key);
  report_miscount(fmt::format("\"{}\"", key), "written", whole(offered.shape), std::move(boxes), findings);
}

}  // namespace

std::vector<Finding> check_load_plan(const LoadPlan& plan, const StateDict& destination, const Metadata& metadata) {
  LoadCheck check(destination, metadata);
  for (const ReadItem& item : plan.items) check.add(item);
  return check.finish();
}

SavePlanCheck check_save_plan(const GlobalSavePlan& global, std::span<const SavePlan> local_plans) {
  Findings findings;
  if (global.plans.size() != local_plans.size()) {
    findings.error("ranks", "{} plans for {} ranks", global.plans.size(), local_plans.size());
    return {findings.take()};
  }
  const std::vector<SavePlan> plans = expanded(global.plans);
  const std::vector<SavePlan> local = expanded(local_plans);
  check_held(plans, local, findings);
  std::map<std::string, Written> keys;
  for (const SavePlan& plan : local) {
    for (const WriteItem& item : plan.items) {
      auto& offered = keys[item.index.fqn].offered;
      if (!offered) offered = item;
    }
  }
  std::vector<std::uint64_t> bytes;
  for (const SavePlan& plan : plans) {
    bytes.push_back(0);
    for (const WriteItem& item : plan.items) {
      bytes.back() += item.stored_bytes();
      const auto written = keys.find(item.index.fqn);
      if (written == keys.end()) continue;  // reported as not held
      if (item.type == WriteItemType::bytes) {
        ++written->second.byte_values;
      } else {
        written->second.boxes.push_back(item.chunk);
      }
    }
  }
  for (const auto& [key, written] : keys) check_key(key, written, global.metadata, findings);
  for (const auto& [key, entry] : global.metadata.entries) {
    if (!keys.contains(key)) findings.error("metadata", "\"{}\" is in it, but no rank offered it", key);
  }
  SavePlanCheck check{findings.take(), imbalance(bytes)};
  warn_of_imbalance(check.imbalance, check.findings);
  return check;
}

}  // namespace holdfast::plan

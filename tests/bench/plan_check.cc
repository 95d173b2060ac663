#include "tests/bench/plan_check.h"

#include <algorithm>
#include <map>

#include "impl/plan/tiling.h"
#include "model/naive_plan.h"

namespace holdfast::bench {
namespace {

/// What the positions of one layout write, ranks counted from the first of the mesh.
struct Enumerated {
  struct Position {
    std::int64_t rank = 0;
    std::int64_t boxes = 0;
    std::int64_t elements = 0;
  };
  std::vector<Position> positions;
  std::uint64_t chunks = 0;
};

Result<Enumerated> enumerate(const LayoutItem& held, const MeshLayout& written) {
  Enumerated all;
  std::vector<Box> boxes;
  std::int64_t elements = 0;
  for (std::int64_t p = 0; p < written.mesh.size(); ++p) {
    Enumerated::Position position{written.mesh.rank(p).value - written.mesh.first, 0, 0};
    const std::vector<LocalBox> own = local_part(held.layout, held.shape, p);
    for (LocalBox& local : local_part(written, held.shape, p)) {
      const bool inside = std::ranges::any_of(own, [&](const LocalBox& other) { return contains(other.box, local.box); });
      if (!inside) return fail(ErrorCode::corrupt, "check \"{}\": position {} does not hold {}", held.fqn, p, to_string(local.box));
      ++position.boxes;
      position.elements += local.box.volume();
      boxes.push_back(std::move(local.box));
    }
    elements += position.elements;
    all.positions.push_back(position);
  }
  if (elements != whole(held.shape).volume()) return fail(ErrorCode::corrupt, "check \"{}\": {} elements are written", held.fqn, elements);
  if (!plan::find_overlaps(boxes).empty()) return fail(ErrorCode::corrupt, "check \"{}\": boxes overlap", held.fqn);
  all.chunks = boxes.size();
  return all;
}

/// Which tables tell to write which tensor.
class Tables {
 public:
  explicit Tables(const std::vector<SavePlan>& plans) {
    std::map<const void*, std::size_t> numbers;  // to look up only
    for (const SavePlan& plan : plans) {
      const auto [at, fresh] = numbers.try_emplace(plan.layouts.get(), tables_.size());
      if (fresh) tables_.push_back(plan.layouts);
      table_of_.push_back(at->second);
    }
  }
  /// The layouts of `name`, by table; null where it is not told.
  std::vector<const MeshLayout*> find(const std::string& name) const {
    std::vector<const MeshLayout*> found;
    for (const LayoutTable& table : tables_) {
      const auto at = table ? std::ranges::lower_bound(*table, name, {}, &LayoutItem::fqn) : std::vector<LayoutItem>::const_iterator();
      found.push_back(table && at != table->end() && at->fqn == name ? &at->layout : nullptr);
    }
    return found;
  }
  std::size_t table_of(Rank rank) const { return table_of_[static_cast<std::size_t>(rank.value)]; }

 private:
  std::vector<LayoutTable> tables_;
  std::vector<std::size_t> table_of_;
};

}  // namespace

Result<PlanFacts> check_plan(const plan::GlobalSavePlan& global, std::span<const LayoutItem> held) {
  PlanFacts facts;
  facts.rank_bytes.assign(global.plans.size(), 0);
  facts.rank_segments.assign(global.plans.size(), 0);
  const Tables tables(global.plans);
  std::map<std::string, Enumerated> known;
  for (const LayoutItem& item : held) {
    const auto entry = global.metadata.entries.find(item.fqn);
    const auto* tensor = entry == global.metadata.entries.end() ? nullptr : std::get_if<TensorMetadata>(&entry->second);
    if (!tensor || !tensor->chunks.mesh() || tensor->dtype != item.dtype || tensor->shape != item.shape) {
      return fail(ErrorCode::corrupt, "check \"{}\": the metadata has no such tensor by rule", item.fqn);
    }
    const MeshLayout& written = tensor->chunks.mesh()->layout;
    if (written.mesh != item.layout.mesh) return fail(ErrorCode::corrupt, "check \"{}\": written over another mesh", item.fqn);
    MeshLayout anywhere = written;
    anywhere.mesh.first = 0;
    MeshLayout held_anywhere = item.layout;
    held_anywhere.mesh.first = 0;
    const std::string key = fmt::format("{} of {} held by {}", to_string(anywhere), to_string(whole(item.shape)), to_string(held_anywhere));
    auto all = known.find(key);
    if (all == known.end()) all = known.emplace(key, TRY(enumerate(item, written))).first;
    const std::vector<const MeshLayout*> told = tables.find(item.fqn);
    for (const Enumerated::Position& position : all->second.positions) {
      const Rank rank{static_cast<std::int32_t>(written.mesh.first + position.rank)};
      const MeshLayout* layout = told[tables.table_of(rank)];
      if (!layout || *layout != written) return fail(ErrorCode::corrupt, "check \"{}\": rank {} is not told to write it", item.fqn, rank);
      const auto r = static_cast<std::size_t>(rank.value);
      facts.rank_bytes[r] += static_cast<std::uint64_t>(position.elements) * size_bytes(item.dtype);
      facts.rank_segments[r] = std::max(facts.rank_segments[r], static_cast<std::uint16_t>(position.boxes));
    }
    facts.chunks += all->second.chunks;
    facts.bytes += static_cast<std::uint64_t>(whole(item.shape).volume()) * size_bytes(item.dtype);
  }
  return facts;
}

Status compare_with_naive(std::span<const SavePlan> local) {
  const plan::GlobalSavePlan global = TRY(plan::global_save_plan({local.begin(), local.end()}));
  const model::NaivePlan found = model::written_by(global.plans);
  const model::NaivePlan expected = model::naive_plan(local);
  for (const auto& [name, runs] : expected.tensors) {
    const auto at = found.tensors.find(name);
    if (at == found.tensors.end() || at->second != runs) return fail(ErrorCode::corrupt, "naive plan: \"{}\" has other writers", name);
  }
  if (found != expected) return fail(ErrorCode::corrupt, "naive plan: other tensors, or other writers of byte values");
  return {};
}

}  // namespace holdfast::bench

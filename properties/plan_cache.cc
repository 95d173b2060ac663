// The plan cache over jobs on paper: what is claimed of equal plans is honoured, and of a changed one never. 100 changes a case.
#include "impl/plan/plan_cache.h"

#include <algorithm>

#include "impl/plan/save_plan.h"
#include "properties/gen/draw.h"
#include "properties/gen/paper_job.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

using gen::Draw;
using Wrong = std::optional<std::string>;

constexpr int changes_a_case = 100;

template <typename Numbers>
bool change_one(Draw& draw, Numbers& numbers) {
  if (numbers.empty()) return false;
  numbers[static_cast<std::size_t>(draw.below(std::ssize(numbers)))] += draw.of({-1, 1, 8});
  return true;
}

DType other(Draw& draw, DType dtype) {
  const auto all = all_dtypes();
  while (true) {
    const DType drawn = all[static_cast<std::size_t>(draw.below(std::ssize(all)))];
    if (drawn != dtype) return drawn;
  }
}

bool change_flat(Draw& draw, std::optional<FlatCut>& flat) {
  if (!flat) {
    flat = FlatCut{};
    return true;
  }
  switch (draw.below(6)) {
    case 0: flat.reset(); return true;
    case 1: ++flat->offset; return true;
    case 2: ++flat->run; return true;
    case 3: ++flat->unit; return true;
    case 4: flat->inner_axes.push_back(0); return true;
    default: ++flat->inner_unit; return true;
  }
}

bool change_layout(Draw& draw, MeshLayout& layout) {
  const auto axis = layout.mesh.axes.empty() ? 0 : static_cast<std::size_t>(draw.below(std::ssize(layout.mesh.axes)));
  switch (draw.below(6)) {
    case 0: ++layout.mesh.first; return true;
    case 1: layout.mesh.axes.push_back({1, 1}); return true;
    case 2: return !layout.mesh.axes.empty() && ++layout.mesh.axes[axis].size > 0;
    case 3: return !layout.mesh.axes.empty() && ++layout.mesh.axes[axis].stride > 0;
    case 4: {
      if (layout.placements.empty()) return false;
      Placement& placement = layout.placements[axis];
      placement = std::holds_alternative<Replicate>(placement) ? Placement(Shard{0}) : Placement(Replicate{});
      return true;
    }
    default: return change_flat(draw, layout.flat);
  }
}

bool change_table(Draw& draw, SavePlan& plan) {
  if (!plan.layouts || plan.layouts->empty()) return false;
  std::vector<LayoutItem> table = *plan.layouts;
  const std::int64_t at = draw.below(std::ssize(table));
  LayoutItem& item = table[static_cast<std::size_t>(at)];
  bool changed = true;
  switch (draw.below(6)) {
    case 0: item.fqn += "x"; break;
    case 1: item.dtype = other(draw, item.dtype); break;
    case 2: changed = change_one(draw, item.shape); break;
    case 3: table.erase(table.begin() + at); break;
    case 4: table.insert(table.begin() + at, LayoutItem(item)); break;
    default: changed = change_layout(draw, item.layout); break;
  }
  plan.layouts = std::make_shared<const std::vector<LayoutItem>>(std::move(table));
  return changed;
}

bool change_items(Draw& draw, SavePlan& plan) {
  if (plan.items.empty()) return false;
  const std::int64_t at = draw.below(std::ssize(plan.items));
  WriteItem& item = plan.items[static_cast<std::size_t>(at)];
  const bool bytes = item.type == WriteItemType::bytes;
  switch (draw.below(9)) {
    case 0: item.index.fqn += "x"; return true;
    case 1: plan.items.erase(plan.items.begin() + at); return true;
    case 2: plan.items.insert(plan.items.begin() + at, WriteItem(item)); return true;
    case 3: item.index.hint = item.index.hint.value_or(0) + 1; return true;
    case 4: item.nbytes += bytes ? 1 : 0; return bytes;
    case 5:
      if (bytes) return false;
      item.dtype = other(draw, item.dtype);
      return true;
    case 6: return !bytes && change_one(draw, item.shape);
    case 7: return !bytes && change_one(draw, item.chunk.offset);
    default: return !bytes && change_one(draw, item.chunk.size);
  }
}

bool change(Draw& draw, SavePlan& plan, plan::PlanContext& context) {
  switch (draw.below(17)) {
    case 0: ++context.world_size; return true;
    case 1:
      context.dedup = context.dedup == plan::DedupPolicy::least_bytes ? plan::DedupPolicy::lowest_rank : plan::DedupPolicy::least_bytes;
      return true;
    case 2: ++context.format_version; return true;
    case 3: plan.planner_data.push_back(std::byte{1}); return true;
    case 4: plan.storage_data.push_back(std::byte{1}); return true;
    case 5:
    case 6:
    case 7:
    case 8: return change_items(draw, plan);
    case 9: context.notes.push_back(std::byte{1}); return true;
    default: return change_table(draw, plan);
  }
}

/// The plans of a job, planned and proposed to a coordinator's cache and to those of the other ranks.
struct Cached {
  std::vector<SavePlan> local;
  plan::PlanContext context;
  std::vector<plan::Fingerprint> fingerprints;
  plan::Fingerprint id;
  std::vector<plan::PlanCache> caches;  ///< one a rank; the first is the coordinator's
  plan::GlobalSavePlan global;

  std::vector<plan::PlanClaim> claims() const {
    std::vector<plan::PlanClaim> all;
    for (std::size_t r = 0; r < local.size(); ++r) all.push_back(caches[r].claim(local[r], context));
    return all;
  }
};

Result<Cached> propose(std::uint64_t seed) {
  Cached cached;
  const gen::PaperJob job = gen::draw_paper_job(seed, {.ranks_max = 8, .tensors_max = 6});
  cached.context.world_size = static_cast<std::int32_t>(job.states.size());
  for (std::size_t r = 0; r < job.states.size(); ++r) {
    cached.local.push_back(TRY(plan::local_save_plan(job.states[r], Rank{static_cast<std::int32_t>(r)})));
    cached.fingerprints.push_back(plan::fingerprint(cached.local.back(), cached.context));
  }
  cached.global = TRY(plan::global_save_plan(cached.local));
  cached.id = plan::plan_id(cached.fingerprints);
  cached.caches.resize(cached.local.size());
  for (std::size_t r = 0; r < cached.local.size(); ++r) {
    cached.caches[r].propose(cached.fingerprints[r], cached.id, cached.global.plans[r]);
  }
  cached.caches[0].propose_global(cached.local, cached.fingerprints, {cached.global, {}});
  return cached;
}

Wrong found_only_after_success(std::uint64_t seed) {
  auto cached = propose(seed);
  if (!cached) return fmt::format("{}", cached.error());
  if (cached->caches[0].find_global(cached->claims())) return "a plan is used before its save succeeded";
  for (std::size_t r = 0; r < cached->local.size(); ++r) {
    if (cached->caches[r].claim(cached->local[r], cached->context).plan != plan::Fingerprint())
      return "a plan is claimed before its save succeeded";
    cached->caches[r].discard();
    cached->caches[r].commit();
    if (cached->caches[r].claim(cached->local[r], cached->context).plan != plan::Fingerprint())
      return "a plan is claimed though its save failed";
  }
  return std::nullopt;
}

/// Equal but for the digests of byte values, which are not kept.
bool same(std::span<const SavePlan> kept, std::span<const SavePlan> plans) {
  return std::ranges::equal(kept, plans, [](const SavePlan& a, SavePlan b) {
    for (WriteItem& item : b.items) item.digest = {};
    return a == b;
  });
}

/// Whether the last rank's first byte value is on another rank as well.
bool shared_value(const Cached& cached) {
  const auto is_bytes = [](const WriteItem& item) { return item.type == WriteItemType::bytes; };
  const auto first = std::ranges::find_if(cached.local.back().items, is_bytes);
  const auto has = [&](const SavePlan& plan) {
    return std::ranges::any_of(plan.items, [&](const WriteItem& item) { return item.index.fqn == first->index.fqn; });
  };
  return std::ranges::count_if(cached.local, has) > 1;
}

/// Values may change, but not into different ones under one key.
Wrong values_must_agree(const Cached& cached) {
  std::vector<plan::PlanClaim> claims = cached.claims();
  for (plan::PlanClaim& claim : claims) {
    for (BlockDigest& value : claim.values) ++value.low;
  }
  if (!cached.caches[0].find_global(claims)) return "a plan is lost because values changed on all ranks alike";
  if (claims.back().values.empty() || !shared_value(cached)) return std::nullopt;
  ++claims.back().values.front().low;
  if (cached.caches[0].find_global(claims)) return "ranks with different values under one key go unnoticed";
  return std::nullopt;
}

Wrong found_again(const Cached& cached) {
  const std::vector<plan::PlanClaim> claims = cached.claims();
  const plan::CachedPlan* found = cached.caches[0].find_global(claims);
  if (!found || !same(found->plan.plans, cached.global.plans) || found->plan.metadata != cached.global.metadata)
    return "the coordinator's plan is lost";
  for (std::size_t r = 0; r < claims.size(); ++r) {
    const SavePlan* own = cached.caches[r].find(claims[r]);
    if (!own || !same({own, 1}, {&cached.global.plans[r], 1})) return fmt::format("rank {}'s plan is lost", r);
    const auto sent = plan::decode_claim(plan::encode_claim(claims[r]));
    if (!sent || *sent != claims[r]) return "a claim is not what was sent";
  }
  return std::nullopt;
}

Wrong never_stale(const gen::DrawnCase& drawn) {
  if (auto wrong = found_only_after_success(drawn.seed)) return wrong;
  auto cached = propose(drawn.seed);
  if (!cached) return fmt::format("{}", cached.error());
  for (plan::PlanCache& cache : cached->caches) cache.commit();
  if (auto wrong = found_again(*cached)) return wrong;
  if (auto wrong = values_must_agree(*cached)) return wrong;
  std::vector<plan::PlanClaim> claims = cached->claims();
  Draw draw(drawn.seed);
  for (int changed = 0; changed < changes_a_case;) {
    const auto r = static_cast<std::size_t>(draw.below(std::ssize(claims)));
    SavePlan mutated = cached->local[r];
    plan::PlanContext context = cached->context;
    if (!change(draw, mutated, context)) continue;
    ++changed;
    // The rank claims what its cache gives for the changed plan; a rank that would still claim the old plan must not get it either.
    const plan::PlanClaim before = claims[r];
    plan::PlanClaim now = cached->caches[r].claim(mutated, context);
    plan::PlanClaim bold = now;
    bold.plan = cached->id;
    for (const plan::PlanClaim& claim : {now, bold}) {
      claims[r] = claim;
      const bool own = cached->caches[r].find(claim) != nullptr;
      if (own || cached->caches[0].find_global(claims))
        return fmt::format("a change of rank {}'s plan goes unnoticed (paper job {})", r, drawn.seed);
    }
    claims[r] = before;
  }
  return std::nullopt;
}

}  // namespace

std::vector<Property> plan_cache_properties() {
  return {{"plan-cache",
           "S7",
           "A cached plan is found again for equal local plans, and never once one of them, or what else it depends on, has changed; nor "
           "before its save "
           "succeeded.",
           {"sim"},
           [](World& /*world*/, const gen::DrawOptions& options) {
             gen::Outcome outcome = gen::for_all(options, never_stale);
             if (outcome.failure.empty())
               outcome.counted = fmt::format("{} changed layouts, 0 stale plans accepted", outcome.cases * changes_a_case);
             return outcome;
           },
           {"plan.cache_hit"},
           asks_nothing_of_a_world}};
}

}  // namespace holdfast::properties

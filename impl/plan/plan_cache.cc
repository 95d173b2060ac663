#include "impl/plan/plan_cache.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/codec.h"

namespace holdfast::plan {
namespace {

/// Of the encoding: another one must not be taken for it.
constexpr std::uint32_t fingerprint_version = 1;

Fingerprint digest_of(ByteView bytes) {
  const BlockDigest digest = block_digest(bytes);
  return {digest.low, digest.high};
}

SavePlan without_values(SavePlan plan) {
  for (WriteItem& item : plan.items) item.digest = {};
  return plan;
}

/// A planted bug: what a fingerprint would be of that does not know dtypes.
[[maybe_unused]] SavePlan without_dtypes(SavePlan plan) {
  for (WriteItem& item : plan.items) item.dtype = DType::u8;
  if (!plan.layouts) return plan;
  std::vector<LayoutItem> layouts = *plan.layouts;
  for (LayoutItem& item : layouts) item.dtype = DType::u8;
  plan.layouts = std::make_shared<const std::vector<LayoutItem>>(std::move(layouts));
  return plan;
}

/// Moves `fresh` to the front, in the place of its like or of the oldest.
template <typename Kept, typename Like>
void keep(std::vector<Kept>& kept, Kept fresh, std::size_t most, Like&& like) {
  std::erase_if(kept, like);
  if (kept.size() >= most) kept.pop_back();
  kept.insert(kept.begin(), std::move(fresh));
}

}  // namespace

void encode(Encoder& out, const Fingerprint& fingerprint) {
  out.u64(fingerprint.low);
  out.u64(fingerprint.high);
}

Result<Fingerprint> decode_fingerprint(Decoder& in) {
  Fingerprint fingerprint;
  fingerprint.low = TRY(in.u64());
  fingerprint.high = TRY(in.u64());
  return fingerprint;
}

Fingerprint fingerprint(const SavePlan& local, const PlanContext& context) {
  Encoder out;
  out.u32(fingerprint_version);
  out.u32(context.format_version);
  out.u32(static_cast<std::uint32_t>(context.world_size));
  out.u8(static_cast<std::uint8_t>(context.dedup));
  out.blob(context.notes);
  const SavePlan layout = without_values(local);
  encode(out, MUTATE("plan.fingerprint_ignores_dtype", layout, without_dtypes(layout)));
  return digest_of(out.bytes());
}

Fingerprint plan_id(std::span<const Fingerprint> ranks) {
  Encoder out;
  for (const Fingerprint& rank : ranks) encode(out, rank);
  return digest_of(out.bytes());
}

Bytes encode_claim(const PlanClaim& claim) {
  Encoder out;
  encode(out, claim.local);
  encode(out, claim.plan);
  for (const BlockDigest& value : claim.values) encode(out, Fingerprint{value.low, value.high});
  return out.take();
}

Result<PlanClaim> decode_claim(ByteView bytes) {
  Decoder in(bytes, "plan claim");
  PlanClaim claim;
  claim.local = TRY(decode_fingerprint(in));
  claim.plan = TRY(decode_fingerprint(in));
  while (in.left() > 0) {
    const Fingerprint value = TRY(decode_fingerprint(in));
    claim.values.push_back({value.low, value.high});
  }
  return claim;
}

PlanClaim PlanCache::claim(const SavePlan& local, const PlanContext& context) const {
  PlanClaim claim;
  claim.local = fingerprint(local, context);
  const auto kept = std::ranges::find(kept_, claim.local, &Kept::local);
  if (kept != kept_.end()) claim.plan = kept->id;
  for (const WriteItem& item : local.items) {
    if (item.type == WriteItemType::bytes) claim.values.push_back(item.digest);
  }
  return claim;
}

const SavePlan* PlanCache::find(const PlanClaim& claim) const {
  const auto same = [&](const Kept& kept) { return kept.local == claim.local && kept.id == claim.plan; };
  const auto kept = std::ranges::find_if(kept_, same);
  return kept == kept_.end() ? nullptr : &kept->plan;
}

const CachedPlan* PlanCache::find_global(std::span<const PlanClaim> claims) const {
  if (claims.empty()) return nullptr;
  const auto kept = std::ranges::find(kept_global_, claims.front().plan, &KeptGlobal::id);
  if (kept == kept_global_.end() || kept->ranks.size() != claims.size()) return nullptr;
  const std::size_t compared = MUTATE("plan.cache_trusts_other_ranks", claims.size(), std::size_t{1});
  for (std::size_t r = 0; r < compared; ++r) {
    if (claims[r].local != kept->ranks[r] || claims[r].plan != kept->id) return nullptr;
  }
  if (MUTATE("plan.cache_ignores_values", !values_agree(*kept, claims), false)) return nullptr;
  MARK("plan.cache_hit");
  return &kept->made;
}

bool PlanCache::values_agree(const KeptGlobal& kept, std::span<const PlanClaim> claims) {
  std::map<std::string_view, BlockDigest> values;
  const PlanClaim* last = nullptr;
  for (const PlanClaim& claim : claims) {
    if (last && *last == claim) continue;  // as most ranks are
    last = &claim;
    const std::vector<std::string>& keys = kept.values.at(claim.local);
    if (keys.size() != claim.values.size()) return false;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto [known, fresh] = values.try_emplace(keys[i], claim.values[i]);
      if (!fresh && known->second != claim.values[i]) return false;
    }
  }
  return true;
}

void PlanCache::propose(const Fingerprint& local, const Fingerprint& id, SavePlan plan) {
  proposed_ = Kept{local, id, without_values(std::move(plan))};
  if (MUTATE("plan.cache_before_success", false, true)) commit();
}

void PlanCache::propose_global(std::span<const SavePlan> local, std::vector<Fingerprint> ranks, CachedPlan made) {
  CHECK(local.size() == ranks.size(), "{} fingerprints of {} plans", ranks.size(), local.size());
  KeptGlobal kept{std::move(ranks), {}, {}, std::move(made)};
  kept.id = plan_id(kept.ranks);
  for (SavePlan& part : kept.made.plan.plans) part = without_values(std::move(part));
  for (std::size_t r = 0; r < local.size(); ++r) {
    const auto [keys, fresh] = kept.values.try_emplace(kept.ranks[r]);
    if (!fresh) continue;
    for (const WriteItem& item : local[r].items) {
      if (item.type == WriteItemType::bytes) keys->second.push_back(item.index.fqn);
    }
  }
  proposed_global_ = std::move(kept);
}

void PlanCache::commit() {
  if (proposed_) {
    const Fingerprint local = proposed_->local;
    keep(kept_, *std::move(proposed_), plans_max, [&](const Kept& other) { return other.local == local; });
  }
  if (proposed_global_) {
    const Fingerprint id = proposed_global_->id;
    keep(kept_global_, *std::move(proposed_global_), plans_max, [&](const KeptGlobal& other) { return other.id == id; });
  }
  discard();
}

void PlanCache::discard() {
  proposed_.reset();
  proposed_global_.reset();
}

}  // namespace holdfast::plan

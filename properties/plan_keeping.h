// The model of the plan cache over saves: which rank keeps which plan, by what the ranks told when it was made.
#pragma once

#include <algorithm>
#include <vector>

#include "impl/core/ids.h"
#include "impl/plan/plan_cache.h"

namespace holdfast::properties {

/// What ranks and coordinator keep, and what that means for the next save. Every rank has one of its own; all are told the same.
class Keeping {
 public:
  using Key = plan::Fingerprint;  ///< of what a rank tells
  using Keys = std::vector<Key>;  ///< of all ranks

  Keeping(std::size_t ranks, Rank coordinator) : kept_(ranks), coordinator_(coordinator) {}

  void forget(Rank rank) {
    kept_[static_cast<std::size_t>(rank.value)].clear();
    if (rank == coordinator_) whole_.clear();
  }
  std::size_t claims(const Keys& keys) const {
    std::size_t claims = 0;
    for (std::size_t r = 0; r < keys.size(); ++r) claims += plan_of(r, keys[r]) ? 1 : 0;
    return claims;
  }
  bool is_cached(const Keys& keys) const {
    if (std::ranges::find(whole_, keys) == whole_.end()) return false;
    for (std::size_t r = 0; r < keys.size(); ++r) {
      const Keys* plan = plan_of(r, keys[r]);
      if (!plan || *plan != keys) return false;
    }
    return true;
  }
  void made_anew(const Keys& keys) {
    for (std::size_t r = 0; r < keys.size(); ++r) {
      std::erase_if(kept_[r], [&](const Kept& kept) { return kept.key == keys[r]; });
      kept_[r].insert(kept_[r].begin(), {keys[r], keys});
      if (kept_[r].size() > plan::PlanCache::plans_max) kept_[r].pop_back();
    }
    std::erase(whole_, keys);
    whole_.insert(whole_.begin(), keys);
    if (whole_.size() > plan::PlanCache::plans_max) whole_.pop_back();
  }

 private:
  struct Kept {
    Key key;
    Keys plan;
  };
  const Keys* plan_of(std::size_t rank, const Key& key) const {
    const auto at = std::ranges::find(kept_[rank], key, &Kept::key);
    return at == kept_[rank].end() ? nullptr : &at->plan;
  }

  std::vector<std::vector<Kept>> kept_;
  std::vector<Keys> whole_;
  Rank coordinator_;
};

}  // namespace holdfast::properties

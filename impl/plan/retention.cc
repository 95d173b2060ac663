#include "impl/plan/retention.h"

#include <algorithm>

#include "impl/core/mutate.h"

namespace holdfast::plan {

std::vector<AttemptId> to_retire(std::span<const Committed> committed, std::uint64_t own_sequence, const RetentionPolicy& policy,
                                 std::optional<AttemptId> last_verified) {
  std::vector<Committed> by_age = newest_first({committed.begin(), committed.end()});
  if (MUTATE("plan.retire_by_step", false, true))
    std::ranges::stable_sort(by_age, std::ranges::greater(), [](const Committed& checkpoint) { return checkpoint.id.step; });
  std::vector<AttemptId> retired;
  for (std::size_t i = std::max<std::size_t>(1, policy.keep_last); i < by_age.size(); ++i) {
    const Committed& checkpoint = by_age[i];
    if (MUTATE("plan.retire_overtaking", checkpoint.sequence >= own_sequence, false)) continue;
    if (MUTATE("plan.retire_last_verified", checkpoint.id == last_verified, false)) continue;
    if (policy.keep_every > 0 && checkpoint.id.step.value % policy.keep_every == 0) continue;
    retired.push_back(checkpoint.id);
  }
  std::ranges::reverse(retired);
  return retired;
}

}  // namespace holdfast::plan

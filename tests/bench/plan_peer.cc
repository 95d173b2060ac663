#include "tests/bench/plan_peer.h"

#include "tests/bench/peer.h"

namespace holdfast::bench {

Result<std::optional<PlanPeer>> time_plan_peer(int ranks, int tensors, std::string& why) {
  const auto result = TRY(run_peer("plan_peer.py", fmt::format("{} {}", ranks, tensors), why));
  if (!result) return std::nullopt;
  return PlanPeer{result->value("seconds", 0.0), result->value("chunks", std::uint64_t{0}), result->value("version", "")};
}

}  // namespace holdfast::bench

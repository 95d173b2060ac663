// The course of one door call (Kernel::call). Included by kernel.h.
#pragma once

#include "sim/kernel.h"

namespace holdfast::sim {

template <typename Effect>
std::invoke_result_t<Effect&, std::string_view, std::string_view> Kernel::make_call(RankState& rank, const CallInfo& info,
                                                                                    std::optional<port::Deadline> deadline, Effect& effect,
                                                                                    bool goes_on) {
  using Outcome = std::invoke_result_t<Effect&, std::string_view, std::string_view>;
  const auto discard = [](Effect& done, Outcome& outcome) {
    if constexpr (requires { done.discard(*outcome); }) {
      if (outcome) done.discard(*outcome);
    }
  };
  const tsan::Inside inside;
  Begun begun;
  if (!begin(rank, info, begun)) return fail(void_error());
  const Nanoseconds last = deadline ? nanoseconds(deadline->at) : never;
  if (begun.completion > last || begun.completion == never) {
    if (begun.completion != never && goes_on) {
      scheduler_.at(begun.completion,
                    [&rank, effect, discard, object = std::string(info.object), other = std::string(info.other)]() mutable {
                      if (rank.dead) return;
                      Outcome outcome = effect(object, other);
                      discard(effect, outcome);
                    });
    }
    if (!pass_time(rank, info, last)) return fail(void_error());
    end(rank, info, begun, ErrorCode::timeout);
    return fail(timed_out(info));
  }
  if (!pass_time(rank, info, begun.completion)) return fail(void_error());
  const FaultKind* kind = begun.fault ? &begun.fault->kind : nullptr;
  if (kind && *kind == FaultKind::error_before) {
    if constexpr (requires { effect.refused(); }) effect.refused();
    end(rank, info, begun, begun.fault->error);
    return fail(injected(info, *begun.fault));
  }
  Outcome outcome = effect(info.object, info.other);
  if (rank.dead) return outcome;
  if constexpr (requires { effect.flip(std::uint64_t{}); }) {
    if (kind && *kind == FaultKind::bit_flip && outcome)
      effect.flip(decisions_.pick(DecisionKind::bit, static_cast<std::uint32_t>(info.bytes * 8)));
  }
  if (kind && *kind == FaultKind::error_after) {
    discard(effect, outcome);
    end(rank, info, begun, begun.fault->error);
    return fail(injected(info, *begun.fault));
  }
  end(rank, info, begun, outcome ? ErrorCode{} : outcome.error().code);
  return outcome;
}

}  // namespace holdfast::sim

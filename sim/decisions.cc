#include "sim/decisions.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace holdfast::sim {
namespace {

constexpr std::array<const char*, decision_kinds> labels = {"schedule",   "latency",     "message_delay",   "loss_detection",
                                                            "in_flight",  "list_order",  "device_progress", "bit",
                                                            "crash_mode", "crash_subset"};

std::uint64_t splitmix64(std::uint64_t& state) {
  std::uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

const char* to_string(DecisionKind kind) { return labels[static_cast<std::size_t>(kind)]; }

Decisions::Decisions(std::uint64_t seed) {
  for (std::size_t kind = 0; kind < decision_kinds; ++kind) {
    std::uint64_t label = 0xcbf29ce484222325u;
    for (const char c : std::string_view(labels[kind])) label = (label ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    std::uint64_t state = seed ^ label;
    streams_[kind] = splitmix64(state);
  }
}

Decisions::Decisions(std::vector<Decision> list) : replaying_(true), list_(std::move(list)) { used_.reserve(list_.size()); }

Decisions Decisions::loosely(const std::vector<Decision>& list) {
  Decisions decisions;
  decisions.loose_ = true;
  decisions.used_.reserve(list.size());
  for (const Decision& decision : list) decisions.picks_[static_cast<std::size_t>(decision.kind)].push_back(decision.pick);
  return decisions;
}

std::uint32_t Decisions::pick(DecisionKind kind, std::uint32_t n) {
  if (n <= 1) return 0;
  std::uint32_t choice;
  if (loose_) {
    choice = replayed_loosely(kind, n);
  } else if (replaying_) {
    choice = replayed(kind, n);
  } else {
    // The high word of a 32 x 32 product: even to one part in 2^32 / n, and the same on every platform.
    const std::uint64_t random = splitmix64(streams_[static_cast<std::size_t>(kind)]) >> 32;
    choice = static_cast<std::uint32_t>((random * n) >> 32);
  }
  used_.push_back({kind, n, choice});
  return choice;
}

std::uint32_t Decisions::replayed_loosely(DecisionKind kind, std::uint32_t n) {
  const std::vector<std::uint32_t>& picks = picks_[static_cast<std::size_t>(kind)];
  std::size_t& next = next_[static_cast<std::size_t>(kind)];
  return next < picks.size() ? std::min(picks[next++], n - 1) : 0;
}

std::uint32_t Decisions::replayed(DecisionKind kind, std::uint32_t n) {
  const std::size_t at = used_.size();
  if (!divergence_.empty() || at >= list_.size()) return 0;
  const Decision& next = list_[at];
  if (next.kind == kind && next.n == n && next.pick < n) return next.pick;
  divergence_ = fmt::format("decision {}: the run asks for {} of {}, the list holds {} {} of {}", at, to_string(kind), n,
                            to_string(next.kind), next.pick, next.n);
  return 0;
}

}  // namespace holdfast::sim

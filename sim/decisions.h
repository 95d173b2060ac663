// Everything a run leaves open is a decision: a kind, the number of choices, the choice taken. A seed makes the list; a list makes the
// run again.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::sim {

/// Values stand in stored decision lists: append, never renumber.
enum class DecisionKind : std::uint8_t {
  schedule = 0,         ///< which of the runnable fibres goes on
  latency = 1,          ///< how long a door call takes
  message_delay = 2,    ///< how long a message travels
  loss_detection = 3,   ///< how long a rank does not know that a peer is gone
  in_flight = 4,        ///< how many messages of a killed rank still arrive, on one connection
  list_order = 5,       ///< in which order a directory is listed
  device_progress = 6,  ///< how much of a stream's queue runs now
  bit = 7,              ///< which bit a bit_flip flips
  crash_mode = 8,       ///< from which family a crash takes the surviving operations (FAULTS.md)
  crash_subset = 9,     ///< which of them
};
inline constexpr std::size_t decision_kinds = 10;
const char* to_string(DecisionKind kind);

struct Decision {
  DecisionKind kind = DecisionKind::schedule;
  std::uint32_t n = 1;     ///< choices there were
  std::uint32_t pick = 0;  ///< the one taken; 0 is always the mildest
  bool operator==(const Decision&) const = default;
};

class Decisions {
 public:
  /// One random stream a kind, forked from the seed by the kind's label.
  explicit Decisions(std::uint64_t seed);
  /// Takes the choices from `list`. A list that ends early goes on with choice 0.
  explicit Decisions(std::vector<Decision> list);
  /// Takes each kind's choices from that kind's part of `list`, a choice too high as the highest there is; never diverges. For lists that
  /// were edited: what is cut from one kind does not shift the others.
  static Decisions loosely(const std::vector<Decision>& list);

  /// One of 0 .. n-1. A single choice is no decision and is not listed. Once diverged, always 0.
  std::uint32_t pick(DecisionKind kind, std::uint32_t n);

  const std::vector<Decision>& used() const { return used_; }
  std::vector<Decision> take() { return std::move(used_); }
  /// Empty, or how the run first asked for another decision than the list holds.
  const std::string& divergence() const { return divergence_; }

 private:
  Decisions() = default;
  std::uint32_t replayed(DecisionKind kind, std::uint32_t n);
  std::uint32_t replayed_loosely(DecisionKind kind, std::uint32_t n);

  std::array<std::uint64_t, decision_kinds> streams_{};
  bool replaying_ = false;
  bool loose_ = false;
  std::array<std::vector<std::uint32_t>, decision_kinds> picks_{};  // loose: of each kind, in order
  std::array<std::size_t, decision_kinds> next_{};
  std::vector<Decision> list_;
  std::vector<Decision> used_;
  std::string divergence_;
};

}  // namespace holdfast::sim

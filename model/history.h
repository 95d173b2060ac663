// Which checkpoint a load may give back, after whatever has happened: the last one that was acknowledged, or one begun after it whose
// outcome nobody was told; after an acknowledgement exactly that one or a later one, never an older one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::model {

/// The saves of one job in the order in which they began, which is the order of their age. Requires distinct names, each begun before
/// anything else is said of it.
class History {
 public:
  void begin(std::string name);
  /// Some rank was told "committed": from now on it, or a later one, must be there after every crash.
  void acknowledge(std::string_view name);
  /// Some rank was told "failed": it must never be seen.
  void refute(std::string_view name);
  /// Every process is gone: a save that was under way is committed by now or never will be.
  void crash();

  /// What a load may return now, oldest first.
  std::vector<std::string> loadable() const;
  /// Whether a load may find no checkpoint: nothing was ever acknowledged.
  bool may_be_empty() const;

  /// A load returned `name`. True when it may; it then counts as acknowledged, and a later save that a crash ended, and that was not
  /// found, is known to have failed: two loads without a save between them return the same.
  bool observe(std::string_view name);
  /// A load found no checkpoint. True when it may; saves that a crash ended are then known to have failed.
  bool observe_none();

 private:
  enum class State { under_way, ended_by_crash, acknowledged, refuted };
  struct Save {
    std::string name;
    State state = State::under_way;
  };
  std::size_t position(std::string_view name) const;
  /// Positions from the last acknowledged save on, all of them when there is none.
  std::size_t first_loadable() const;
  void refute_ended_from(std::size_t position);
  std::vector<Save> saves_;
};

}  // namespace holdfast::model

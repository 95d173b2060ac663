// Which ranks (or files) stand together in a picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::reports {

using Members = std::vector<std::size_t>;  ///< ascending

/// Each member alone.
std::vector<Members> singles(std::size_t count);
/// Members with equal keys together, ordered by the lowest member.
std::vector<Members> equal_groups(const std::vector<std::uint64_t>& keys);
/// At most `blocks_max` runs of neighbours, of equal length but for the last.
std::vector<Members> blocks(std::size_t count, std::size_t blocks_max);
/// `focus` alone, then all others together.
std::vector<Members> one_and_others(std::size_t count, std::size_t focus);

/// A card of a picture: ranks, or files.
struct Group {
  Members members;
  std::string name;   ///< of its own; empty: by its members
  std::string label;  ///< why its members stand together; empty: it is only one
};
std::vector<Group> groups_of(std::vector<Members> all, std::string_view label);

/// Ranks that belong together for a reason of their own: "pp 3".
struct NamedRanks {
  std::string name;
  Members ranks;
};
/// Groups of the names; empty when they leave out one of `ranks` ranks, or are more than `limit`.
std::vector<Group> named_groups(const std::vector<NamedRanks>& named, std::size_t ranks, std::size_t limit);

/// A mix of a number's bits (SplitMix64), so that sums of mixes tell sets apart.
std::uint64_t mixed(std::uint64_t value);

}  // namespace holdfast::reports

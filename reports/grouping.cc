#include "reports/grouping.h"

#include <algorithm>
#include <map>

namespace holdfast::reports {

std::vector<Members> singles(std::size_t count) { return blocks(count, count); }

std::vector<Members> equal_groups(const std::vector<std::uint64_t>& keys) {
  std::map<std::uint64_t, std::size_t> group_of;
  std::vector<Members> groups;
  for (std::size_t member = 0; member < keys.size(); ++member) {
    const auto [position, added] = group_of.emplace(keys[member], groups.size());
    if (added) groups.emplace_back();
    groups[position->second].push_back(member);
  }
  return groups;
}

std::vector<Members> blocks(std::size_t count, std::size_t blocks_max) {
  std::vector<Members> groups;
  if (count == 0) return groups;
  const std::size_t wanted = std::max<std::size_t>(1, std::min(count, blocks_max));
  const std::size_t length = (count + wanted - 1) / wanted;
  for (std::size_t member = 0; member < count; ++member) {
    if (member % length == 0) groups.emplace_back();
    groups.back().push_back(member);
  }
  return groups;
}

std::vector<Members> one_and_others(std::size_t count, std::size_t focus) {
  std::vector<Members> groups;
  if (focus < count) groups.push_back({focus});
  Members others;
  for (std::size_t member = 0; member < count; ++member) {
    if (member != focus) others.push_back(member);
  }
  if (!others.empty()) groups.push_back(std::move(others));
  return groups;
}

std::vector<Group> groups_of(std::vector<Members> all, std::string_view label) {
  std::vector<Group> groups;
  for (Members& members : all) {
    const bool several = members.size() > 1;
    groups.push_back({std::move(members), "", several ? std::string(label) : ""});
  }
  return groups;
}

std::vector<Group> named_groups(const std::vector<NamedRanks>& named, std::size_t ranks, std::size_t limit) {
  std::vector<Group> groups;
  std::vector<bool> seen(ranks, false);
  std::size_t count = 0;
  for (const NamedRanks& one : named) {
    if (!one.ranks.empty()) groups.push_back({one.ranks, one.name, ""});
    for (const std::size_t rank : one.ranks) {
      if (rank >= ranks || seen[rank]) return {};
      seen[rank] = true;
      ++count;
    }
  }
  return count == ranks && groups.size() <= limit ? groups : std::vector<Group>();
}

std::uint64_t mixed(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace holdfast::reports

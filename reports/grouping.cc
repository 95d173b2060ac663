#include "reports/grouping.h"

#include <algorithm>
#include <map>
#include <string_view>

namespace holdfast::reports {

std::vector<Members> singles(std::size_t count) { return blocks(count, count); }

std::vector<Members> equal_groups(const std::vector<std::string>& keys) {
  std::map<std::string_view, std::size_t> group_of;
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

}  // namespace holdfast::reports

// Which ranks (or files) stand together in a picture.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace holdfast::reports {

using Members = std::vector<std::size_t>;  ///< ascending

/// Each member alone.
std::vector<Members> singles(std::size_t count);
/// Members with equal keys together, ordered by the lowest member.
std::vector<Members> equal_groups(const std::vector<std::string>& keys);
/// At most `blocks_max` runs of neighbours, of equal length but for the last.
std::vector<Members> blocks(std::size_t count, std::size_t blocks_max);
/// `focus` alone, then all others together.
std::vector<Members> one_and_others(std::size_t count, std::size_t focus);

}  // namespace holdfast::reports

// The planted bugs of the mutant build, each with the property that must catch it.
#pragma once

#include <string_view>
#include <vector>

namespace holdfast::properties {

struct Mutant {
  std::string_view id;                             ///< as in MUTATE(id, ...)
  std::string_view what;                           ///< the bug
  std::string_view invariant;                      ///< that it breaks
  std::string_view property;                       ///< that must fail
  std::vector<std::string_view> worlds = {"sim"};  ///< in each of which it must
};

const std::vector<Mutant>& mutants();

}  // namespace holdfast::properties

// Problems found while a plan is made or checked: every one is counted, the first twenty are told.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/error.h"

namespace holdfast::plan {

class Problems {
 public:
  static constexpr std::size_t listed_max = 20;

  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    if (++count_ <= listed_max) listed_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  std::size_t count() const { return count_; }
  /// Success without a problem, else one Error: "<doing>: <problem>" or "<doing>: 3 problems: <problem>; <problem>; <problem>".
  Status status(ErrorCode code, std::string_view doing) const;

 private:
  std::vector<std::string> listed_;
  std::size_t count_ = 0;
};

inline std::string text(const Dims& dims) { return holdfast::to_string({dims.data(), dims.size()}); }

}  // namespace holdfast::plan

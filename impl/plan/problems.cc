#include "impl/plan/problems.h"

namespace holdfast::plan {

Status Problems::status(ErrorCode code, std::string_view doing) const {
  if (count_ == 0) return {};
  if (count_ == 1) return fail(code, "{}: {}", doing, listed_.front());
  const std::string rest = count_ > listed_.size() ? fmt::format("; and {} more", count_ - listed_.size()) : "";
  return fail(code, "{}: {} problems: {}{}", doing, count_, fmt::join(listed_, "; "), rest);
}

}  // namespace holdfast::plan

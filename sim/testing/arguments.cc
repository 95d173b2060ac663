#include "sim/testing/arguments.h"

#include <charconv>

namespace holdfast::sim {
namespace {

constexpr std::size_t commit_id_digits = 40, seed_digits = 16;

}  // namespace

Result<std::uint64_t> parse_seed(const std::string& text) {
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x")) {
    digits.remove_prefix(2);
    base = 16;
  } else if (digits.size() == commit_id_digits) {
    digits = digits.substr(0, seed_digits);
    base = 16;
  }
  std::uint64_t seed = 0;
  const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), seed, base);
  if (!digits.empty() && failed == std::errc() && end == digits.data() + digits.size()) return seed;
  return fail(ErrorCode::invalid_argument, "seed \"{}\": expected a decimal number, 0x and hex digits, or a commit id of 40 hex digits",
              text);
}

Result<std::vector<FaultKind>> parse_kinds(const std::vector<std::string>& names) {
  std::vector<FaultKind> kinds;
  for (const std::string& name : names) {
    const std::size_t before = kinds.size();
    for (std::size_t kind = 0; kind < fault_kinds; ++kind) {
      if (name == to_string(static_cast<FaultKind>(kind))) kinds.push_back(static_cast<FaultKind>(kind));
    }
    if (kinds.size() == before)
      return fail(ErrorCode::invalid_argument, "kind of fault \"{}\": there is none of that name; --help lists them", name);
  }
  return kinds;
}

}  // namespace holdfast::sim

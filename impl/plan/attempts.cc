#include "impl/plan/attempts.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <tuple>

#include "impl/core/check.h"
#include "impl/core/mutate.h"

namespace holdfast::plan {
namespace {

/// Takes a canonical decimal number from the front of `text`.
template <typename Integer>
std::optional<Integer> take_number(std::string_view& text) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  if (text.front() == '0' && text.size() > 1 && text[1] >= '0' && text[1] <= '9') return std::nullopt;
  Integer value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

template <typename Integer>
Integer one_more(Integer value) {
  return value == std::numeric_limits<Integer>::max() ? value : value + 1;
}

}  // namespace

std::string directory_name(AttemptId id) {
  CHECK(id.step.value >= 0, "a checkpoint of step {}", id.step);
  return fmt::format("step-{}.a{}", id.step, id.attempt);
}

std::optional<AttemptId> parse_directory_name(std::string_view name) {
  if (!take(name, "step-")) return std::nullopt;
  const auto step = take_number<std::int64_t>(name);
  if (!step || !take(name, ".a")) return std::nullopt;
  const auto attempt = take_number<std::uint32_t>(name);
  if (!attempt || !name.empty()) return std::nullopt;
  return AttemptId{Step{*step}, *attempt};
}

bool newer(const Committed& a, const Committed& b) {
  const auto age = [](const Committed& c) {
    return MUTATE("plan.newest_by_step", std::tuple(c.sequence, std::uint64_t{c.id.attempt}, c.id.step.value),
                  std::tuple(static_cast<std::uint64_t>(c.id.step.value), c.sequence, std::int64_t{c.id.attempt}));
  };
  return age(a) > age(b);
}

std::vector<Committed> newest_first(std::vector<Committed> committed) {
  std::ranges::stable_sort(committed, newer);
  return committed;
}

AttemptId next_attempt(std::span<const AttemptId> all_attempts, Step step) {
  std::uint32_t highest = 0;
  for (const AttemptId& id : all_attempts) {
    if (MUTATE("plan.attempts_counted_a_step", true, id.step == step)) highest = std::max(highest, id.attempt);
  }
  return {step, one_more(highest)};
}

std::uint64_t next_sequence(std::span<const Committed> committed) {
  std::uint64_t highest = 0;
  for (const Committed& checkpoint : committed) highest = std::max(highest, checkpoint.sequence);
  return one_more(highest);
}

}  // namespace holdfast::plan

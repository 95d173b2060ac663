#include "impl/core/rank_values.h"

#include <array>
#include <charconv>

#include "impl/core/mutate.h"

namespace holdfast {
namespace {

constexpr std::array policies = {RankPolicy::same_rank, RankPolicy::modulo, RankPolicy::first, RankPolicy::drop};

/// Takes a canonical number and what follows it from the front of `text`.
std::optional<std::int32_t> take_number(std::string_view& text, std::string_view end) {
  std::int32_t value = 0;
  const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto digits = static_cast<std::size_t>(stop - text.data());
  if (failure != std::errc{} || value < 0 || fmt::format("{}", value) != text.substr(0, digits)) return std::nullopt;
  text.remove_prefix(digits);
  if (!text.starts_with(end)) return std::nullopt;
  text.remove_prefix(end.size());
  return value;
}

}  // namespace

std::string_view to_string(RankPolicy policy) {
  switch (policy) {
    case RankPolicy::same_rank: return "same_rank";
    case RankPolicy::modulo: return "modulo";
    case RankPolicy::first: return "first";
    case RankPolicy::drop: return "drop";
  }
  return "invalid";
}

std::string to_string(const RankValueKey& key) {
  return fmt::format("{}{}-of-{}/{}/{}", rank_value_prefix, key.rank, key.ranks, to_string(key.policy), key.name);
}

std::optional<RankValueKey> parse_rank_value_key(std::string_view key) {
  if (!key.starts_with(rank_value_prefix)) return std::nullopt;
  key.remove_prefix(rank_value_prefix.size());
  const auto rank = take_number(key, "-of-");
  const auto ranks = rank ? take_number(key, "/") : std::nullopt;
  if (!ranks || *rank >= *ranks) return std::nullopt;
  for (const RankPolicy policy : policies) {
    const std::string start = fmt::format("{}/", to_string(policy));
    if (key.starts_with(start)) return RankValueKey{std::string(key.substr(start.size())), Rank{*rank}, *ranks, policy};
  }
  return std::nullopt;
}

Result<std::map<std::string, SavedRankValue, std::less<>>> rank_values_of(const Metadata& metadata) {
  std::map<std::string, SavedRankValue, std::less<>> values;
  for (auto at = metadata.entries.lower_bound(rank_value_prefix); at != metadata.entries.end(); ++at) {
    if (!at->first.starts_with(rank_value_prefix)) break;
    const auto key = parse_rank_value_key(at->first);
    if (!key) continue;
    const auto [position, added] = values.try_emplace(key->name, SavedRankValue{key->ranks, key->policy, {}});
    SavedRankValue& value = position->second;
    if (value.ranks != key->ranks || value.policy != key->policy) {
      return fail(ErrorCode::corrupt, "\"{}\": values of ranks of {} with the policy {}, and of {} with {}", key->name, value.ranks,
                  to_string(value.policy), key->ranks, to_string(key->policy));
    }
    if (added && metadata.entries.contains(key->name))
      return fail(ErrorCode::corrupt, "\"{}\": a value for each rank, and one for all of them", key->name);
    value.keys.push_back(at->first);
  }
  return values;
}

Result<std::optional<std::string>> key_to_load(std::string_view name, const SavedRankValue& saved, RankPolicy policy, Rank rank,
                                               std::int32_t ranks) {
  RankValueKey key{std::string(name), rank, saved.ranks, saved.policy};
  switch (policy) {
    case RankPolicy::same_rank:
      if (saved.ranks != ranks) {
        return fail(ErrorCode::invalid_argument,
                    "\"{}\": {} ranks saved a value each, {} ranks load, and the policy same_rank asks for as many", name, saved.ranks,
                    ranks);
      }
      break;
    case RankPolicy::modulo: key.rank.value = MUTATE("rank_values.modulo_of_loaders", rank.value % saved.ranks, rank.value % ranks); break;
    case RankPolicy::first: key.rank = Rank{0}; break;
    case RankPolicy::drop:
      if (saved.ranks != ranks) return std::optional<std::string>();
      break;
  }
  return std::optional(to_string(key));
}

}  // namespace holdfast

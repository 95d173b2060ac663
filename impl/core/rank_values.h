// Byte values that each rank has its own of: under which keys a checkpoint holds them, and which one a rank of another job gets. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/error.h"
#include "impl/core/ids.h"
#include "impl/core/plan_values.h"

namespace holdfast {

/// What a rank gets of the values that N ranks saved, M ranks loading. Values are stored: append, never renumber.
enum class RankPolicy : std::uint8_t {
  same_rank = 1,  ///< its own; M other than N is an error
  modulo = 2,     ///< that of rank r mod N
  first = 3,      ///< that of rank 0
  drop = 4,       ///< its own; with M other than N nothing: the destination stays as it is
};
std::string_view to_string(RankPolicy policy);

/// Keys that begin so belong to such values; a state dict that is saved may hold none.
inline constexpr std::string_view rank_value_prefix = "@rank/";

struct RankValueKey {
  std::string name;  ///< as the state dict calls it
  Rank rank;         ///< whose value it is
  std::int32_t ranks = 0;
  RankPolicy policy = RankPolicy::same_rank;
  bool operator==(const RankValueKey&) const = default;
};
/// "@rank/3-of-8/modulo/rng".
std::string to_string(const RankValueKey& key);
std::optional<RankValueKey> parse_rank_value_key(std::string_view key);

/// The values that a checkpoint holds under one name.
struct SavedRankValue {
  std::int32_t ranks = 0;  ///< of the job that saved
  RankPolicy policy = RankPolicy::same_rank;
  std::vector<std::string> keys;  ///< ascending
};

/// All of them, by name. Errors: corrupt, naming it, when values of one name are of different jobs or policies, or stand beside a key of that name.
Result<std::map<std::string, SavedRankValue, std::less<>>> rank_values_of(const Metadata& metadata);

/// The key that holds what rank `rank` of `ranks` gets of `name` by `policy`; none when `drop` leaves the destination as it is. Whether the checkpoint
/// has the key is another matter. Errors: invalid_argument when the policy asks for as many ranks.
Result<std::optional<std::string>> key_to_load(std::string_view name, const SavedRankValue& saved, RankPolicy policy, Rank rank,
                                               std::int32_t ranks);

}  // namespace holdfast

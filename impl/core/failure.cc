#include "impl/core/failure.h"

#include <algorithm>
#include <set>

namespace holdfast {
namespace {

std::string to_string(const std::vector<FailureMap::Range>& ranges) {
  std::string text = ranges.size() == 1 && ranges[0].first == ranges[0].last ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    text += fmt::format("{}{}", i ? "," : "", ranges[i].first);
    if (ranges[i].last != ranges[i].first) text += fmt::format("-{}", ranges[i].last);
  }
  return text;
}

/// Adds one rank to ascending ranges that do not hold it.
void insert(std::vector<FailureMap::Range>& ranges, Rank rank) {
  auto next = std::ranges::upper_bound(ranges, rank, {}, &FailureMap::Range::first);
  const bool joins_previous = next != ranges.begin() && std::prev(next)->last.value + 1 == rank.value;
  const bool joins_next = next != ranges.end() && next->first.value == rank.value + 1;
  if (joins_previous && joins_next) {
    std::prev(next)->last = next->last;
    ranges.erase(next);
  } else if (joins_previous) {
    std::prev(next)->last = rank;
  } else if (joins_next) {
    next->first = rank;
  } else {
    ranges.insert(next, {rank, rank});
  }
}

}  // namespace

void FailureMap::add(Rank rank, Error error) {
  if (find(rank)) return;
  auto group = std::ranges::find(groups_, error, &Group::error);
  if (group == groups_.end()) group = groups_.insert(groups_.end(), Group{std::move(error), {}});
  insert(group->ranks, rank);
  // Only this group's lowest rank can have changed, and only downwards.
  const auto place = std::ranges::upper_bound(groups_.begin(), group, rank, {}, [](const Group& g) { return g.ranks.front().first; });
  if (group->ranks.front().first == rank) std::rotate(place, group, std::next(group));
}

void FailureMap::merge(const FailureMap& other) {
  for (const Group& group : other.groups_) {
    for (const Range& range : group.ranks) {
      for (Rank rank = range.first; rank <= range.last; ++rank.value) add(rank, group.error);
    }
  }
}

std::vector<Rank> FailureMap::ranks() const {
  std::vector<Rank> all;
  for (const Group& group : groups_) {
    for (const Range& range : group.ranks) {
      for (Rank rank = range.first; rank <= range.last; ++rank.value) all.push_back(rank);
    }
  }
  std::ranges::sort(all);
  return all;
}

const Error* FailureMap::find(Rank rank) const {
  for (const Group& group : groups_) {
    for (const Range& range : group.ranks) {
      if (range.first <= rank && rank <= range.last) return &group.error;
    }
  }
  return nullptr;
}

void FailureMap::encode(Encoder& out) const {
  out.varint(groups_.size());
  for (const Group& group : groups_) {
    out.u8(static_cast<std::uint8_t>(group.error.code));
    out.text(group.error.message);
    out.varint(group.ranks.size());
    for (const Range& range : group.ranks) {
      out.varint(static_cast<std::uint64_t>(range.first.value));
      out.varint(static_cast<std::uint64_t>(range.last.value - range.first.value));
    }
  }
}

Result<FailureMap> FailureMap::decode(Decoder& in) {
  constexpr std::uint64_t rank_limit = 1u << 30;
  FailureMap map;
  const std::size_t groups = TRY(in.count(3));
  for (std::size_t g = 0; g < groups; ++g) {
    Group group;
    group.error.code = static_cast<ErrorCode>(TRY(in.u8()));
    group.error.message = TRY(in.text());
    const std::size_t ranges = TRY(in.count(2));
    for (std::size_t r = 0; r < ranges; ++r) {
      const std::uint64_t first = TRY(in.varint());
      const std::uint64_t extra = TRY(in.varint());
      if (first > rank_limit || extra > rank_limit) return fail(ErrorCode::corrupt, "decode failure map: rank {}+{}", first, extra);
      group.ranks.push_back({Rank{static_cast<std::int32_t>(first)}, Rank{static_cast<std::int32_t>(first + extra)}});
    }
    if (group.ranks.empty()) return fail(ErrorCode::corrupt, "decode failure map: an error without a rank");
    map.groups_.push_back(std::move(group));
  }
  return map;
}

std::string to_string(const FailureMap& failures) {
  std::string text;
  for (const FailureMap::Group& group : failures.groups()) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{}: {}", to_string(group.ranks), group.error);
  }
  return text;
}

std::string rank_text(std::span<const Rank> ranks) {
  std::vector<FailureMap::Range> ranges;
  for (const Rank rank : std::set<Rank>(ranks.begin(), ranks.end())) insert(ranges, rank);
  return to_string(ranges);
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::committed: return "committed";
    case Outcome::failed: return "failed";
    case Outcome::unknown: return "unknown";
  }
  return "invalid";
}

std::string to_string(const CheckpointError& error) {
  std::string text = fmt::format("{} {}", error.step, to_string(error.outcome));
  if (!error.failures.empty()) text += ": " + to_string(error.failures);
  if (!error.lost.empty()) text += fmt::format("; not heard from: ranks {}", fmt::join(error.lost, ","));
  return text;
}

}  // namespace holdfast

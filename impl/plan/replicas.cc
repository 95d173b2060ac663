#include "impl/plan/replicas.h"

#include <algorithm>
#include <map>
#include <set>

#include "impl/core/failure.h"
#include "impl/core/mutate.h"

namespace holdfast::plan {
namespace {

using Lanes = std::pair<std::uint64_t, std::uint64_t>;

Lanes lanes_of(const TensorDigest& digest) { return {digest.lanes[0], MUTATE("replicas.first_lane_only", digest.lanes[1], 0)}; }

/// The chunks of one tensor that were written, by their number in its ChunkSet.
using Chunks = std::map<ChunkSet::Id, const WrittenChunk*>;

/// What was written of a box.
struct Written {
  TensorDigest digest;
  std::vector<Rank> ranks;
  bool tiles = false;  ///< the chunks are all of the box and nothing else
};

Written written_in(const Box& box, const ChunkSet& set, const Chunks& chunks) {
  Written written;
  std::int64_t elements = 0;
  bool inside = true;
  for (const ChunkSet::Id id : set.intersecting(box)) {
    const auto found = chunks.find(id);
    const Box piece = set.box(id);
    inside &= found != chunks.end() && contains(box, piece);
    if (!inside) break;
    written.digest += found->second->digest;
    written.ranks.push_back(found->second->rank);
    elements += piece.volume();
  }
  written.tiles = inside && elements == box.volume();
  return written;
}

/// Who says what of one box.
class Votes {
 public:
  void add(Rank rank, const TensorDigest& digest) {
    ranks_of_[lanes_of(digest)].insert(rank);
    all_.insert(rank);
  }
  const std::set<Rank>& all() const { return all_; }
  bool unanimous() const { return ranks_of_.size() == 1; }
  bool agree_on(const TensorDigest& digest) const { return unanimous() && ranks_of_.begin()->first == lanes_of(digest); }

  /// Those that differ from what more than half of the holders have.
  std::set<Rank> differing() const {
    std::set<Rank> rest = all_;
    for (const auto& [digest, ranks] : ranks_of_) {
      if (2 * ranks.size() <= all_.size()) continue;
      for (const Rank rank : ranks) rest.erase(rank);
    }
    return rest;
  }
  std::string text() const {
    std::vector<std::string> parts;
    for (const auto& [lanes, ranks] : ranks_of_) {
      const std::vector<Rank> list(ranks.begin(), ranks.end());
      parts.push_back(fmt::format("digest {} on {}", to_string(TensorDigest{{lanes.first, lanes.second}}), rank_text(list)));
    }
    return fmt::format("{}", fmt::join(parts, ", "));
  }

 private:
  std::map<Lanes, std::set<Rank>> ranks_of_;
  std::set<Rank> all_;
};

class Comparison {
 public:
  Comparison(const Metadata& metadata, std::span<const WrittenChunk> written) : metadata_(metadata) {
    for (const WrittenChunk& chunk : written) {
      const TensorMetadata* tensor = find(chunk.fqn);
      const auto id = tensor ? tensor->chunks.find(chunk.offset) : std::nullopt;
      if (id) chunks_[chunk.fqn].emplace(*id, &chunk);
    }
  }

  /// The difference between the holders of one box, if there is one. `votes` are of those that did not write it as one piece.
  std::optional<ReplicaDifference> compare(const std::string& fqn, const Box& box, Votes votes) const {
    const TensorMetadata* tensor = find(fqn);
    const auto chunks = chunks_.find(fqn);
    const Written written = tensor && chunks != chunks_.end() ? written_in(box, tensor->chunks, chunks->second) : Written{};
    if (written.tiles && written.ranks.size() == 1) votes.add(written.ranks.front(), written.digest);
    if (written.tiles && votes.agree_on(written.digest)) return std::nullopt;
    ReplicaDifference difference{fqn, box, {}, {}};
    std::set<Rank> ranks = votes.differing();
    std::string why = ranks.size() == votes.all().size() ? "; no version is on more than half of them" : "";
    if (votes.unanimous() && written.tiles) {
      ranks.insert(written.ranks.begin(), written.ranks.end());
      why = fmt::format("; written were chunks that add up to {}", to_string(written.digest));
    } else if (!written.tiles) {
      ranks = votes.all();
      why = "; the chunks that were written do not tile it, so it cannot be compared";
    }
    difference.ranks.assign(ranks.begin(), ranks.end());
    difference.message = fmt::format("\"{}\" {}: {}{}", fqn, to_string(box), votes.text(), why);
    return difference;
  }

 private:
  const TensorMetadata* find(const std::string& fqn) const {
    const auto entry = metadata_.entries.find(fqn);
    return entry == metadata_.entries.end() ? nullptr : std::get_if<TensorMetadata>(&entry->second);
  }

  const Metadata& metadata_;
  std::map<std::string, Chunks> chunks_;
};

}  // namespace

std::vector<ReplicaDifference> compare_replicas(const Metadata& metadata, std::span<const WrittenChunk> written,
                                                std::span<const std::vector<HeldBox>> held) {
  std::map<std::string, std::map<Box, Votes>> votes;
  for (std::size_t r = 0; r < held.size(); ++r) {
    for (const HeldBox& box : held[r]) votes[box.fqn][box.box].add(Rank{static_cast<std::int32_t>(r)}, box.digest);
  }
  const Comparison comparison(metadata, written);
  std::vector<ReplicaDifference> differences;
  for (const auto& [fqn, boxes] : votes) {
    for (const auto& [box, of] : boxes) {
      if (auto difference = comparison.compare(fqn, box, of)) differences.push_back(*std::move(difference));
    }
  }
  return differences;
}

}  // namespace holdfast::plan

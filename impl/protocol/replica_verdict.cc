#include "impl/protocol/replica_verdict.h"

#include <map>

#include "impl/protocol/key_report.h"

namespace holdfast::protocol {
namespace {

constexpr std::size_t told_max = 20;

/// What one rank, or everybody, is told of some differences.
struct Tale {
  std::vector<std::string> messages;
  std::size_t count = 0;
  void add(const std::string& message) {
    if (++count <= told_max) messages.push_back(message);
  }
  std::string text() const {
    const std::string more = count > told_max ? fmt::format("; and {} more", count - told_max) : "";
    return fmt::format("replicas differ: {}{}", fmt::join(messages, "; "), more);
  }
};

}  // namespace

ReplicaVerdict judge_replicas(const std::vector<plan::ReplicaDifference>& differences, Replicas replicas) {
  ReplicaVerdict verdict;
  std::map<Rank, Tale> of_rank;
  Tale all;
  for (const plan::ReplicaDifference& difference : differences) {
    all.add(difference.message);
    for (const Rank rank : difference.ranks) of_rank[rank].add(difference.message);
  }
  if (replicas == Replicas::warn && all.count > 0) verdict.warnings.push_back(all.text());
  if (replicas != Replicas::refuse) return verdict;
  for (const auto& [rank, tale] : of_rank) verdict.failures.add(rank, Error{ErrorCode::corrupt, tale.text()});
  return verdict;
}

void encode(Encoder& out, const ReplicaVerdict& verdict) {
  verdict.failures.encode(out);
  encode(out, verdict.warnings);
}

Result<ReplicaVerdict> decode_replica_verdict(Decoder& in) {
  ReplicaVerdict verdict;
  verdict.failures = TRY(FailureMap::decode(in));
  verdict.warnings = TRY(decode_texts(in));
  return verdict;
}

}  // namespace holdfast::protocol

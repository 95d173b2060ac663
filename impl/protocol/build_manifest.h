// From what every rank wrote to the commit record: the only way to one. Pure.
#pragma once

#include <vector>

#include "impl/core/plan_values.h"
#include "impl/format/manifest.h"
#include "impl/plan/attempts.h"
#include "impl/protocol/segment_result.h"

namespace holdfast::protocol {

struct ManifestHead {
  plan::AttemptId attempt;
  AttemptTicket ticket;
  std::int32_t world_size = 0;
  std::uint32_t block_bytes = 0;
};

/// The commit record of a checkpoint: of everything that its metadata names, a rank has said where it is, which it cannot say before that
/// is durable (segment_result.h). Made only by build_manifest, published once (commit.h).
class CommitRecord {
 public:
  CommitRecord(CommitRecord&&) = default;
  CommitRecord& operator=(CommitRecord&&) = default;

  const plan::Committed& checkpoint() const { return checkpoint_; }
  /// What its readers will see.
  const format::ManifestReader& reader() const { return reader_; }
  const SharedBytes& bytes() const { return bytes_; }

 private:
  friend Result<CommitRecord> build_manifest(const ManifestHead& head, const Metadata& metadata,
                                             const std::vector<std::vector<WriteResult>>& results);
  CommitRecord(plan::Committed checkpoint, SharedBytes bytes, format::ManifestReader reader)
      : checkpoint_(checkpoint), bytes_(std::move(bytes)), reader_(std::move(reader)) {}

  plan::Committed checkpoint_;
  SharedBytes bytes_;
  format::ManifestReader reader_;
};

/// Every chunk and every byte value of `metadata` gets its place; the digests of a tensor's chunks are summed. Of a mesh every box must
/// come from its rank, in the segment that format::segment_of_box() names; time and memory go with the results, not with the ranks.
/// Requires: results[r] in the order in which rank r wrote.
/// Errors, and then the checkpoint must not be committed: corrupt when a result cannot be decoded, belongs to nothing in the metadata or
/// comes twice, or when a chunk or value has no result; unsupported beyond what a manifest can hold; what opening the record gives.
Result<CommitRecord> build_manifest(const ManifestHead& head, const Metadata& metadata,
                                    const std::vector<std::vector<WriteResult>>& results);

}  // namespace holdfast::protocol

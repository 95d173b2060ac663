// From what every rank wrote to the commit record. Pure.
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

/// Every chunk and every byte value of `metadata` gets its place. Errors: corrupt when a result cannot be decoded, belongs to nothing in the
/// metadata or comes twice, or when a chunk or value has no result: then the checkpoint must not be committed.
Result<format::Manifest> build_manifest(const ManifestHead& head, const Metadata& metadata,
                                        const std::vector<std::vector<WriteResult>>& results);

}  // namespace holdfast::protocol

// What the segment writer of a rank tells the coordinator of what it wrote: the storage_data of its plan and of its write results.
// No result is encoded without the proof that what it tells of is durable (durable.h).
#pragma once

#include <optional>
#include <string>

#include "impl/core/digest.h"
#include "impl/core/encoding.h"
#include "impl/format/manifest.h"
#include "impl/protocol/durable.h"

namespace holdfast::protocol {

/// In SavePlan::storage_data: the attempt that the coordinator identified.
struct AttemptTicket {
  std::string directory;  ///< also the generation that every segment carries
  std::uint64_t sequence = 0;
  std::string parent;  ///< directory of the newest committed checkpoint at the start, or empty
};
Bytes encode(const AttemptTicket& ticket);
Result<AttemptTicket> decode_ticket(ByteView bytes);

/// In WriteResult::storage_data of a tensor item.
struct TensorPlace {
  std::optional<format::SegmentRecord> segment;  ///< of the file, told with its first tensor; the others lie in the last file told
  TensorDigest digest;                           ///< of the chunk, taken on the device before the bytes moved
};
/// `part` proves that the file told is durable. Errors: invalid_argument when it is none of the part's; the checkpoint must not be
/// committed then.
Result<Bytes> encode(const TensorPlace& place, const DurablePart& part);
/// `rank` is the one that sent it.
Result<TensorPlace> decode_tensor_place(ByteView bytes, Rank rank);

/// In WriteResult::storage_data of a byte item. Proof and errors as above.
Result<Bytes> encode(const format::BytesRecord& record, const DurablePart& part);
Result<format::BytesRecord> decode_bytes_record(ByteView bytes, Rank rank);

}  // namespace holdfast::protocol

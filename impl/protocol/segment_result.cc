#include "impl/protocol/segment_result.h"

namespace holdfast::protocol {
namespace {

void encode_digest(Encoder& out, const BlockDigest& digest) {
  out.u64(digest.low);
  out.u64(digest.high);
}

Result<BlockDigest> decode_digest(Decoder& in) {
  BlockDigest digest;
  digest.low = TRY(in.u64());
  digest.high = TRY(in.u64());
  return digest;
}

Result<std::int64_t> take_below(Decoder& in, std::int64_t bound) {
  const std::uint64_t value = TRY(in.varint());
  if (value >= static_cast<std::uint64_t>(bound)) return fail(ErrorCode::corrupt, "decode write result: file number {}", value);
  return static_cast<std::int64_t>(value);
}

}  // namespace

Bytes encode(const AttemptTicket& ticket) {
  Encoder out;
  out.text(ticket.directory);
  out.varint(ticket.sequence);
  out.text(ticket.parent);
  return out.take();
}

Result<AttemptTicket> decode_ticket(ByteView bytes) {
  Decoder in(bytes, "attempt ticket");
  AttemptTicket ticket;
  ticket.directory = TRY(in.text());
  ticket.sequence = TRY(in.varint());
  ticket.parent = TRY(in.text());
  TRY(in.finish());
  return ticket;
}

Result<Bytes> encode(const TensorPlace& place, const DurablePart& part) {
  if (place.segment) TRY(part.check_holds(place.segment->path()));
  Encoder out;
  out.u8(place.segment ? 1 : 0);
  if (place.segment) {
    out.varint(place.segment->id.number);
    out.varint(place.segment->file_bytes);
    out.varint(place.segment->header_bytes);
    encode_digest(out, place.segment->header_digest);
  }
  for (const std::uint64_t lane : place.digest.lanes) out.u64(lane);
  return out.take();
}

Result<TensorPlace> decode_tensor_place(ByteView bytes, Rank rank) {
  Decoder in(bytes, "write result");
  TensorPlace place;
  if (TRY(in.u8()) != 0) {
    format::SegmentRecord segment;
    segment.id = format::segment_of_box(rank, TRY(take_below(in, format::segments_a_rank_max)));
    segment.file_bytes = TRY(in.varint());
    segment.header_bytes = TRY(in.varint());
    segment.header_digest = TRY(decode_digest(in));
    place.segment = std::move(segment);
  }
  for (std::uint64_t& lane : place.digest.lanes) lane = TRY(in.u64());
  TRY(in.finish());
  return place;
}

Result<Bytes> encode(const format::BytesRecord& record, const DurablePart& part) {
  TRY(part.check_holds(record.path()));
  Encoder out;
  out.varint(record.number);
  out.varint(record.bytes);
  encode_digest(out, record.digest);
  return out.take();
}

Result<format::BytesRecord> decode_bytes_record(ByteView bytes, Rank rank) {
  Decoder in(bytes, "write result");
  format::BytesRecord record;
  record.rank = rank;
  record.number = static_cast<std::uint32_t>(TRY(take_below(in, std::int64_t{1} << 32)));
  record.bytes = TRY(in.varint());
  record.digest = TRY(decode_digest(in));
  TRY(in.finish());
  return record;
}

}  // namespace holdfast::protocol

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

Bytes encode(const TensorPlace& place) {
  Encoder out;
  out.u8(place.segment ? 1 : 0);
  if (place.segment) {
    out.text(place.segment->path);
    out.varint(place.segment->file_bytes);
    out.varint(place.segment->header_bytes);
    encode_digest(out, place.segment->header_digest);
  }
  out.varint(place.offset);
  for (const std::uint64_t lane : place.digest.lanes) out.u64(lane);
  return out.take();
}

Result<TensorPlace> decode_tensor_place(ByteView bytes) {
  Decoder in(bytes, "write result");
  TensorPlace place;
  if (TRY(in.u8()) != 0) {
    format::SegmentRecord segment;
    segment.path = TRY(in.text());
    segment.file_bytes = TRY(in.varint());
    segment.header_bytes = TRY(in.varint());
    segment.header_digest = TRY(decode_digest(in));
    place.segment = std::move(segment);
  }
  place.offset = TRY(in.varint());
  for (std::uint64_t& lane : place.digest.lanes) lane = TRY(in.u64());
  TRY(in.finish());
  return place;
}

Bytes encode(const format::BytesRecord& record) {
  Encoder out;
  out.text(record.path);
  out.varint(record.bytes);
  encode_digest(out, record.digest);
  return out.take();
}

Result<format::BytesRecord> decode_bytes_record(ByteView bytes) {
  Decoder in(bytes, "write result");
  format::BytesRecord record;
  record.path = TRY(in.text());
  record.bytes = TRY(in.varint());
  record.digest = TRY(decode_digest(in));
  TRY(in.finish());
  return record;
}

}  // namespace holdfast::protocol

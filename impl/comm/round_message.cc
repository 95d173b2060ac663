#include "impl/comm/round_message.h"

namespace holdfast::comm {
namespace {

constexpr std::uint64_t rank_limit = 1u << 30;

void encode_ranks(Encoder& out, const std::vector<Rank>& ranks) {
  out.varint(ranks.size());
  for (const Rank rank : ranks) out.varint(static_cast<std::uint64_t>(rank.value));
}

Result<Rank> decode_rank(Decoder& in) {
  const std::uint64_t value = TRY(in.varint());
  if (value > rank_limit) return fail(ErrorCode::corrupt, "decode round message: rank {}", value);
  return Rank{static_cast<std::int32_t>(value)};
}

Result<std::vector<Rank>> decode_ranks(Decoder& in) {
  std::vector<Rank> ranks(TRY(in.count(1)));
  for (Rank& rank : ranks) rank = TRY(decode_rank(in));
  return ranks;
}

using Parts = std::vector<std::pair<Rank, SharedBytes>>;

void encode_parts(Encoder& out, const Parts& parts) {
  out.varint(parts.size());
  for (const auto& [rank, bytes] : parts) {
    out.varint(static_cast<std::uint64_t>(rank.value));
    out.blob(bytes.view());
  }
}

Result<Parts> decode_parts(Decoder& in) {
  Parts parts;
  const std::size_t count = TRY(in.count(2));
  parts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const Rank rank = TRY(decode_rank(in));
    const ByteView bytes = TRY(in.blob());
    parts.emplace_back(rank, to_bytes(bytes));
  }
  return parts;
}

}  // namespace

Bytes encode(const Ascent& ascent) {
  Encoder out;
  ascent.failures.encode(out);
  encode_ranks(out, ascent.lost);
  encode_parts(out, ascent.contributions);
  return out.take();
}

Result<Ascent> decode_ascent(ByteView bytes) {
  Decoder in(bytes, "round message (up)");
  Ascent ascent;
  ascent.failures = TRY(FailureMap::decode(in));
  ascent.lost = TRY(decode_ranks(in));
  ascent.contributions = TRY(decode_parts(in));
  TRY(in.finish());
  return ascent;
}

Bytes encode(const Descent& descent) {
  Encoder out;
  out.u8(static_cast<std::uint8_t>(descent.kind));
  out.blob(descent.common.view());
  encode_parts(out, descent.individual);
  descent.failures.encode(out);
  encode_ranks(out, descent.lost);
  return out.take();
}

Result<Descent> decode_descent(ByteView bytes) {
  Decoder in(bytes, "round message (down)");
  Descent descent;
  const std::uint8_t kind = TRY(in.u8());
  if (kind < 1 || kind > 3) return fail(ErrorCode::corrupt, "decode round message (down): kind {}", kind);
  descent.kind = static_cast<Descent::Kind>(kind);
  const ByteView common = TRY(in.blob());
  descent.common = to_bytes(common);
  descent.individual = TRY(decode_parts(in));
  descent.failures = TRY(FailureMap::decode(in));
  descent.lost = TRY(decode_ranks(in));
  TRY(in.finish());
  return descent;
}

}  // namespace holdfast::comm

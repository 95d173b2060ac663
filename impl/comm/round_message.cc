#include "impl/comm/round_message.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "impl/core/digest.h"

namespace holdfast::comm {
namespace {

constexpr std::uint64_t rank_limit = 1u << 24;

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

/// Distinct byte sequences, numbered as they come.
class Distinct {
 public:
  std::size_t add(const SharedBytes& bytes) {
    if (!sequences_.empty() && same(sequences_.back(), bytes)) return sequences_.size() - 1;
    const BlockDigest digest = block_digest(bytes.view());
    for (auto [at, end] = numbers_.equal_range({digest.low, digest.high}); at != end; ++at) {
      if (same(sequences_[at->second], bytes)) return at->second;
    }
    numbers_.emplace(std::pair(digest.low, digest.high), sequences_.size());
    sequences_.push_back(bytes);
    return sequences_.size() - 1;
  }
  const std::vector<SharedBytes>& sequences() const { return sequences_; }

 private:
  static bool same(const SharedBytes& a, const SharedBytes& b) {
    return a.size() == b.size() && (a.view().data() == b.view().data() || std::ranges::equal(a.view(), b.view()));
  }
  std::vector<SharedBytes> sequences_;
  std::multimap<std::pair<std::uint64_t, std::uint64_t>, std::size_t> numbers_;
};

/// Ranks in a row that share a sequence.
struct Run {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::size_t number = 0;
};

/// Requires: parts in the order of their ranks.
void encode_parts(Encoder& out, const Parts& parts) {
  Distinct distinct;
  std::vector<Run> runs;
  for (const auto& [rank, bytes] : parts) {
    const std::size_t number = distinct.add(bytes);
    const auto value = static_cast<std::uint64_t>(rank.value);
    if (!runs.empty() && runs.back().number == number && runs.back().first + runs.back().count == value) {
      ++runs.back().count;
    } else {
      runs.push_back({value, 1, number});
    }
  }
  out.varint(distinct.sequences().size());
  for (const SharedBytes& bytes : distinct.sequences()) out.blob(bytes.view());
  out.varint(runs.size());
  for (const Run& run : runs) {
    out.varint(run.first);
    out.varint(run.count);
    out.varint(run.number);
  }
}

SharedBytes part_of(const SharedBytes& message, ByteView view) {
  return view.empty() ? SharedBytes() : message.part(static_cast<std::size_t>(view.data() - message.view().data()), view.size());
}

Result<Parts> decode_parts(Decoder& in, const SharedBytes& message) {
  std::vector<SharedBytes> distinct(TRY(in.count(1)));
  for (SharedBytes& bytes : distinct) {
    const ByteView view = TRY(in.blob());
    bytes = part_of(message, view);
  }
  Parts parts;
  std::uint64_t next = 0;
  for (std::size_t runs = TRY(in.count(3)); runs > 0; --runs) {
    const std::uint64_t first = TRY(in.varint());
    const std::uint64_t count = TRY(in.varint());
    const std::uint64_t number = TRY(in.varint());
    if (first < next || first > rank_limit || count == 0 || count > rank_limit - first || number >= distinct.size()) {
      return fail(ErrorCode::corrupt, "decode round message: {} ranks from {} with sequence {} of {}", count, first, number,
                  distinct.size());
    }
    next = first + count;
    for (std::uint64_t rank = first; rank < next; ++rank) parts.emplace_back(Rank{static_cast<std::int32_t>(rank)}, distinct[number]);
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

Result<Ascent> decode_ascent(const SharedBytes& bytes) {
  Decoder in(bytes.view(), "round message (up)");
  Ascent ascent;
  ascent.failures = TRY(FailureMap::decode(in));
  ascent.lost = TRY(decode_ranks(in));
  ascent.contributions = TRY(decode_parts(in, bytes));
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

Result<Descent> decode_descent(const SharedBytes& bytes) {
  Decoder in(bytes.view(), "round message (down)");
  Descent descent;
  const std::uint8_t kind = TRY(in.u8());
  if (kind < 1 || kind > 3) return fail(ErrorCode::corrupt, "decode round message (down): kind {}", kind);
  descent.kind = static_cast<Descent::Kind>(kind);
  const ByteView common = TRY(in.blob());
  descent.common = part_of(bytes, common);
  descent.individual = TRY(decode_parts(in, bytes));
  descent.failures = TRY(FailureMap::decode(in));
  descent.lost = TRY(decode_ranks(in));
  TRY(in.finish());
  return descent;
}

}  // namespace holdfast::comm

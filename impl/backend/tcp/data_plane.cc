#include "impl/backend/tcp/data_plane.h"

#include <algorithm>
#include <cstring>

#include "impl/core/encoding.h"
#include "impl/core/mutate.h"
#include "impl/port/exchange_sizes.h"

namespace holdfast::backend {
namespace {

constexpr std::size_t chunk_bytes_max = std::size_t{1} << 20;
constexpr std::size_t offer_bytes_max = std::size_t{8} << 20;
constexpr unsigned frame_bits = 24;  ///< of a tag's sequence: the frames of one exchange between two ranks

using Sizes = std::vector<std::uint64_t>;

Sizes sizes_of(const std::vector<ByteSpan>& pieces) {
  Sizes sizes;
  for (const ByteSpan piece : pieces) sizes.push_back(piece.size());
  return sizes;
}

/// What two ranks tell each other before anything moves.
struct Offer {
  std::string name;
  Sizes sends, receives;
};

Bytes encode(const Offer& offer) {
  Encoder out;
  out.text(offer.name);
  for (const Sizes& sizes : {offer.sends, offer.receives}) {
    out.varint(sizes.size());
    for (const std::uint64_t size : sizes) out.varint(size);
  }
  return out.take();
}

Result<Offer> decode_offer(ByteView bytes) {
  Decoder in(bytes, "offer");
  Offer offer;
  offer.name = TRY(in.text());
  for (Sizes* sizes : {&offer.sends, &offer.receives}) {
    const std::size_t count = TRY(in.count(1));
    for (std::size_t i = 0; i < count; ++i) sizes->push_back(TRY(in.varint()));
  }
  TRY(in.finish());
  return offer;
}

/// Goes through pieces in chunks.
class Cursor {
 public:
  /// Empty at the end.
  ByteSpan next(const std::vector<ByteSpan>& pieces) {
    while (piece_ < pieces.size() && at_ == pieces[piece_].size()) {
      ++piece_;
      at_ = 0;
    }
    if (piece_ == pieces.size()) return {};
    const ByteSpan chunk = pieces[piece_].subspan(at_, std::min(chunk_bytes_max, pieces[piece_].size() - at_));
    at_ += chunk.size();
    return chunk;
  }

 private:
  std::size_t piece_ = 0;
  std::size_t at_ = 0;
};

}  // namespace

/// One call, as this rank sees it.
struct TcpDataPlane::Exchange {
  Links& links;
  std::string name;
  std::string label;
  std::uint32_t channel = 0;
  std::uint64_t first = 0;  ///< the tag of the first frame to or from each peer
  Peers peers;
  port::Deadline deadline;
  std::map<Rank, std::uint64_t> sent{}, received{};  ///< frames
  std::map<Rank, Cursor> sends_at{}, receives_at{};
  bool moving = false;  ///< there was another chunk

  Status send(Rank to, SharedBytes bytes) {
    return told(to, links.send(FrameKind::data, to, {channel, first + sent[to]++}, std::move(bytes), deadline));
  }
  Result<SharedBytes> receive(Rank from) {
    return told(from, links.receive(FrameKind::data, from, {channel, first + received[from]++}, deadline));
  }
  Status with_each(Status (Exchange::*step)(Rank));
  Status send_offer(Rank peer);
  Status hear_offer(Rank peer);
  Status send_chunk(Rank peer);
  Status receive_chunk(Rank peer);
  Status move_all();
  Status send_done(Rank peer);
  Status expect_done(Rank peer);

 private:
  /// An error of a door call in the words of the exchange.
  template <typename T>
  Result<T> told(Rank peer, Result<T> result) const {
    if (result || result.error().code == ErrorCode::timeout) return result;
    const std::optional<Error> ended = links.data_ended(peer);
    return fail(within(ended ? *ended : result.error(), "{}", label));
  }
};

/// Takes a step with each peer. Past the deadline the others are still looked at, so that only those are named that are late.
Status TcpDataPlane::Exchange::with_each(Status (Exchange::*step)(Rank)) {
  std::vector<Rank> late;
  for (const auto& [peer, pieces] : peers) {
    Status taken = (this->*step)(peer);
    if (!taken && taken.error().code != ErrorCode::timeout) return taken;
    if (!taken) late.push_back(peer);
  }
  if (late.empty()) return {};
  return fail(ErrorCode::timeout, "{}: rank {} still waits for ranks {} at the deadline", label, links.self(), fmt::join(late, ","));
}

Status TcpDataPlane::Exchange::send_offer(Rank peer) {
  const Pieces& pieces = peers.at(peer);
  Bytes offer = encode(Offer{name, sizes_of(pieces.sends), sizes_of(pieces.receives)});
  if (offer.size() <= offer_bytes_max) return send(peer, std::move(offer));
  return fail(ErrorCode::invalid_argument, "{}: {} sends to rank {} and {} receives from it are too many", label, pieces.sends.size(), peer,
              pieces.receives.size());
}

/// Both ranks compare the same numbers in the same order, hence find the same mismatch.
Status TcpDataPlane::Exchange::hear_offer(Rank peer) {
  const Pieces& own = peers.at(peer);
  const SharedBytes bytes = TRY(receive(peer));
  Result<Offer> decoded = decode_offer(bytes.view());
  if (!decoded) return fail(within(std::move(decoded).error(), "{}: from rank {}", label, peer));
  if (decoded->name != name) {
    return fail(ErrorCode::invalid_argument, "{}: rank {} is in exchange \"{}\"", label, peer, decoded->name);
  }
  const auto outward = [&] { return port::check_sizes_meet(links.self(), sizes_of(own.sends), peer, decoded->receives); };
  const auto inward = [&] { return port::check_sizes_meet(peer, decoded->sends, links.self(), sizes_of(own.receives)); };
  Status equal = links.self() < peer ? outward() : inward();
  if (equal) equal = links.self() < peer ? inward() : outward();
  if (MUTATE("tcp.sizes_uncompared", equal.has_value(), true)) return {};
  return fail(within(std::move(equal).error(), "{}", label));
}

Status TcpDataPlane::Exchange::send_chunk(Rank peer) {
  const ByteSpan chunk = sends_at[peer].next(peers.at(peer).sends);
  if (chunk.empty()) return {};
  moving = true;
  return send(peer, to_bytes(chunk));
}

Status TcpDataPlane::Exchange::receive_chunk(Rank peer) {
  const ByteSpan place = receives_at[peer].next(peers.at(peer).receives);
  if (place.empty()) return {};
  moving = true;
  const SharedBytes chunk = TRY(receive(peer));
  if (chunk.size() != place.size()) {
    return fail(ErrorCode::corrupt, "{}: {} bytes from rank {}; expected {}", label, chunk.size(), peer, place.size());
  }
  std::memcpy(place.data(), chunk.view().data(), place.size());
  return {};
}

/// Chunk by chunk with every peer, so that nobody runs far ahead of whoever must hold what he sends.
Status TcpDataPlane::Exchange::move_all() {
  do {
    moving = false;
    TRY(with_each(&Exchange::send_chunk));
    TRY(with_each(&Exchange::receive_chunk));
  } while (moving);
  return {};
}

Status TcpDataPlane::Exchange::send_done(Rank peer) { return send(peer, {}); }

Status TcpDataPlane::Exchange::expect_done(Rank peer) {
  const SharedBytes done = TRY(receive(peer));
  if (done.empty()) return {};
  return fail(ErrorCode::corrupt, "{}: {} bytes from rank {} after the last; expected none", label, done.size(), peer);
}

Status TcpDataPlane::check(const std::string& label, std::span<const port::Transfer> transfers) const {
  for (const port::Transfer& transfer : transfers) {
    if (transfer.peer.value < 0 || transfer.peer.value >= links_.world_size()) {
      return fail(ErrorCode::invalid_argument, "{} on rank {}: peer {}, there are ranks 0 to {}", label, links_.self(), transfer.peer,
                  links_.world_size() - 1);
    }
    if (transfer.kind != MemoryKind::host) {
      return fail(ErrorCode::invalid_argument, "{} on rank {}: device memory, the TCP data plane moves host memory", label, links_.self());
    }
  }
  return {};
}

/// Takes the channel for this exchange. Names are told apart by 32 bits of their digest, which two of a job could share.
Status TcpDataPlane::claim(const std::string& label, std::string_view name, std::uint32_t channel, std::uint64_t sequence) {
  if (sequence >= std::uint64_t{1} << (64 - frame_bits)) return fail(ErrorCode::invalid_argument, "{}: the number is too large", label);
  const std::scoped_lock lock(mutex_);
  const auto [use, first] = used_.try_emplace(channel, LastUse{std::string(name), sequence});
  if (first) return {};
  if (use->second.name != name) {
    return fail(ErrorCode::invalid_argument, "{}: the name cannot be told from \"{}\"; expected another", label, use->second.name);
  }
  if (sequence <= use->second.sequence) {
    return fail(ErrorCode::invalid_argument, "{}: it comes after #{}; expected a higher number", label, use->second.sequence);
  }
  use->second.sequence = sequence;
  return {};
}

Status TcpDataPlane::exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                              std::span<const port::Transfer> receives, port::Deadline deadline) {
  std::string label = fmt::format("exchange \"{}\" #{}", name, sequence);
  TRY(check(label, sends));
  TRY(check(label, receives));
  if (auto over = links_.data_ended(links_.self())) return fail(within(*std::move(over), "{}", label));
  const auto channel = static_cast<std::uint32_t>(block_digest(as_bytes(name)).low);
  TRY(claim(label, name, channel, sequence));
  Exchange exchange{links_, std::string(name), std::move(label), channel, sequence << frame_bits, {}, deadline};
  for (const port::Transfer& transfer : sends) exchange.peers[transfer.peer].sends.push_back(transfer.bytes);
  for (const port::Transfer& transfer : receives) exchange.peers[transfer.peer].receives.push_back(transfer.bytes);
  return run(exchange);
}

Status TcpDataPlane::run(Exchange& exchange) {
  const Rank self = links_.self();
  if (const auto own = exchange.peers.extract(self)) {
    const Pieces& pieces = own.mapped();
    Status equal = port::check_sizes_meet(self, sizes_of(pieces.sends), self, sizes_of(pieces.receives));
    if (!equal) return fail(within(std::move(equal).error(), "{}", exchange.label));
    for (std::size_t i = 0; i < pieces.sends.size(); ++i) {
      if (!pieces.sends[i].empty()) std::memmove(pieces.receives[i].data(), pieces.sends[i].data(), pieces.sends[i].size());
    }
  }
  TRY(exchange.with_each(&Exchange::send_offer));
  TRY(exchange.with_each(&Exchange::hear_offer));
  TRY(exchange.move_all());
  TRY(exchange.with_each(&Exchange::send_done));
  TRY(exchange.with_each(&Exchange::expect_done));
  return {};
}

}  // namespace holdfast::backend

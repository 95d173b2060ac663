#include "impl/protocol/transfer_move.h"

#include <algorithm>
#include <map>
#include <optional>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/device_wait.h"

namespace holdfast::protocol {
namespace {

// Digests that were not taken equal none that was, nor one another.
constexpr TensorDigest not_read{{~std::uint64_t{0}, 0}};
constexpr TensorDigest not_written{{0, ~std::uint64_t{0}}};

/// One end of a move: elements of a tensor of this rank.
struct End {
  const TensorEntry* tensor = nullptr;
  StridedBlock memory = {};
};

Result<End> end_of(const StateDict& state, std::string_view side, const std::string& name, std::uint32_t number, const plan::Move& move) {
  const StateDict::Entry* entry = state.find(name);
  const auto* tensor = entry ? std::get_if<TensorEntry>(entry) : nullptr;
  const LocalShard* shard = tensor && number < tensor->shards.size() ? &tensor->shards[number] : nullptr;
  const bool lies_there = shard && in_bounds(move.box, tensor->shape) && contains(shard->box, move.box);
  if (!lies_there || static_cast<std::uint64_t>(move.box.volume()) * size_bytes(tensor->dtype) != move.bytes) {
    return fail(ErrorCode::corrupt, "transfer \"{}\": the plan names {} bytes in box {} of shard {} of the {}, which has no such part",
                name, move.bytes, to_string(move.box), number, side);
  }
  Dims offset = move.box.offset;
  for (std::size_t d = 0; d < offset.size(); ++d) offset[d] -= shard->box.offset[d];
  if (MUTATE("transfer.wrong_source_offset", false, side == "source")) std::ranges::fill(offset, 0);
  return End{tensor, narrow(shard->memory, offset, move.box.size)};
}

/// Room for pieces of all elements of a state, `times` over, at most `bytes_max`.
std::uint64_t room_for(const StateDict& state, std::uint64_t times, std::uint64_t bytes_max) {
  const std::uint64_t most = bytes_max / plan::room_unit;  // elements, if each is a piece
  std::uint64_t elements = 0;
  for (const auto& [name, entry] : state.entries()) {
    const auto* tensor = std::get_if<TensorEntry>(&entry);
    for (std::size_t i = 0; tensor && i < tensor->shards.size(); ++i)
      elements = std::min(most, elements + std::min(most, static_cast<std::uint64_t>(tensor->shards[i].box.volume())));
  }
  return plan::room_unit * (times != 0 && elements > most / times ? most : elements * times);
}

bool any_on_host(const StateDict& state) {
  return std::ranges::any_of(state.entries(), [](const auto& named) {
    const auto* tensor = std::get_if<TensorEntry>(&named.second);
    return tensor && std::ranges::any_of(tensor->shards, [](const LocalShard& shard) { return shard.memory.kind == MemoryKind::host; });
  });
}

StridedBlock as_block(ByteSpan bytes, MemoryKind kind) {
  return packed_block(bytes.data(), {static_cast<std::int64_t>(bytes.size())}, 1, kind);
}

}  // namespace

/// Room for what is sent in a window, then for what comes. Host tensors of a data plane that moves device memory pass through `bounce`, at the same place.
struct Mover::Memory {
  port::Buffer buffer = {}, bounce = {};
  std::uint64_t send_bytes = 0, bytes = 0;
  std::vector<TensorDigest> sent = {}, received = {};  // in the plan's order

  bool bounces(const StridedBlock& tensor) const { return buffer.kind == MemoryKind::device && tensor.kind == MemoryKind::host; }
};

struct Mover::Place {
  const plan::Move* move = nullptr;
  std::optional<End> source = {}, destination = {};  // of this rank
  TensorDigest* sent = nullptr;
  TensorDigest* received = nullptr;
  std::uint64_t at = 0;  // in the buffer

  ByteSpan in(const port::Buffer& buffer) const { return buffer.bytes.subspan(at, move->bytes); }
};

struct Mover::Window {
  std::span<Place> places;
  std::vector<port::Transfer> sends = {}, receives = {};  // a span a peer
};

Result<std::unique_ptr<Mover>> Mover::open(Session& session, const StateDict& from, const StateDict& to, std::uint64_t window_bytes,
                                           const TrainerWork& after, port::Deadline deadline) {
  const port::Env& env = session.env();
  const auto others = static_cast<std::uint64_t>(session.comm().world_size() - 1);
  const auto memory = std::make_shared<Memory>();
  memory->send_bytes = room_for(from, others, window_bytes);
  memory->bytes = memory->send_bytes + room_for(to, 1, window_bytes);
  const bool on_device = env.data.memory() == MemoryKind::device;
  if (memory->bytes != 0 && (!on_device || any_on_host(from) || any_on_host(to)))
    (on_device ? memory->bounce : memory->buffer) = TRY(session.staging()->acquire(memory->bytes, 2 * window_bytes, deadline));
  if (memory->bytes != 0 && on_device) memory->buffer = TRY(env.device.allocate_device(memory->bytes));
  const port::StreamId stream = TRY(after.open_stream(env));
  return std::unique_ptr<Mover>(new Mover(session, from, to, memory, stream));
}

Mover::~Mover() { session_.env().device.destroy_stream(stream_); }

Result<std::vector<Mover::Place>> Mover::resolve(const plan::TransferPlan& part) const {
  const Rank self = session_.comm().rank();
  std::vector<Place> places;
  const auto count = [&](Rank plan::Move::* end) { return static_cast<std::size_t>(std::ranges::count(part.moves, self, end)); };
  memory_->sent.assign(count(&plan::Move::source), not_read);
  memory_->received.assign(count(&plan::Move::destination), not_written);
  TensorDigest* sent = memory_->sent.data();
  TensorDigest* received = memory_->received.data();
  for (const plan::Move& move : part.moves) {
    Place& place = places.emplace_back(Place{&move});
    const std::string& name = part.tensors[move.tensor];
    if (move.source == self) {
      place.source = TRY(end_of(from_, "source", name, move.source_shard, move));
      place.sent = sent++;
    }
    if (move.destination == self) {
      place.destination = TRY(end_of(to_, "destination", name, move.destination_shard, move));
      place.received = received++;
    }
  }
  return places;
}

/// Where the pieces of a window lie. Both ranks of a pair see its moves in the same order, so a span is the same pieces on either side.
Status Mover::lay_out(Window& window) const {
  struct Span {
    std::uint64_t bytes = 0, at = 0;
  };
  const Rank self = session_.comm().rank();
  std::map<std::pair<bool, Rank>, Span> spans;  // those that go out first; by peer
  const auto span_of = [&](const Place& place) -> Span& {
    const bool comes = place.move->destination == self;
    return spans[{comes, comes ? place.move->source : place.move->destination}];
  };
  for (const Place& place : window.places) span_of(place).bytes += plan::room_bytes(place.move->bytes);
  std::uint64_t at = 0;
  for (auto& [key, span] : spans) {
    const auto [comes, peer] = key;
    if (comes) at = std::max(at, memory_->send_bytes);
    const std::uint64_t end = comes ? memory_->bytes : memory_->send_bytes;
    if (at > end || span.bytes > end - at)
      return fail(ErrorCode::corrupt, "transfer: the plan has {} bytes with rank {} in a window; there is room for {}", span.bytes, peer,
                  end - std::min(at, end));
    span.at = at;
    at += span.bytes;
    const port::Transfer transfer{peer, memory_->buffer.bytes.subspan(span.at, span.bytes), memory_->buffer.kind};
    if (peer != self) (comes ? window.receives : window.sends).push_back(transfer);
  }
  for (Place& place : window.places) {
    Span& span = span_of(place);
    place.at = span.at;
    span.at += plan::room_bytes(place.move->bytes);
  }
  return {};
}

/// Into the memory that is sent; what stays in this rank goes straight to where it would have come.
Status Mover::pack(const Window& window, port::Deadline deadline) {
  port::Device& device = session_.env().device;
  std::vector<port::StageItem> staged;
  std::vector<port::UnstageItem> onward;
  for (const Place& place : window.places) {
    if (!place.source) continue;
    const End& end = *place.source;
    const ByteSpan buffer = place.in(memory_->buffer);
    const bool bounced = memory_->bounces(end.memory);
    const ByteSpan packed = bounced ? place.in(memory_->bounce) : buffer;
    staged.push_back({end.memory, place.move->box, end.tensor->shape, end.tensor->dtype, packed, place.sent});
    if (!bounced) continue;
    MARK("transfer.bounced");
    onward.push_back({.source = as_block(packed, MemoryKind::host), .destination = as_block(buffer, memory_->buffer.kind)});
  }
  const auto enqueue = [&]() -> Status {
    TRY(device.stage(staged, memory_, stream_));
    return device.unstage(onward, memory_, stream_);
  };
  return finish(session_.env(), stream_, enqueue(), deadline);
}

Status Mover::unpack(const Window& window, port::Deadline deadline) {
  port::Device& device = session_.env().device;
  std::vector<port::StageItem> arrived;
  std::vector<port::UnstageItem> unstaged;
  for (const Place& place : window.places) {
    if (!place.destination) continue;
    const End& end = *place.destination;
    const bool bounced = memory_->bounces(end.memory);
    const port::Buffer& from = bounced ? memory_->bounce : memory_->buffer;
    if (bounced) arrived.push_back({.source = as_block(place.in(memory_->buffer), memory_->buffer.kind), .destination = place.in(from)});
    const StridedBlock packed = packed_block(place.in(from).data(), place.move->box.size, end.memory.element_bytes, from.kind);
    unstaged.push_back({packed, place.move->box, end.tensor->shape, end.tensor->dtype, end.memory, place.received});
  }
  const auto enqueue = [&]() -> Status {
    TRY(device.stage(arrived, memory_, stream_));
    return device.unstage(unstaged, memory_, stream_);
  };
  return finish(session_.env(), stream_, enqueue(), deadline);
}

Result<MoveReport> Mover::run(const plan::TransferPlan& part, std::uint64_t first_exchange, port::Deadline deadline) {
  const port::Env& env = session_.env();
  std::vector<Place> places = TRY(resolve(part));
  // Who waited for a slow rank gives up while it still has time for its own device, or it would be late, too, and be named.
  const port::Deadline meeting{deadline.at - (deadline.at - env.clock.now()) / 8};
  MoveReport report;
  Status own;
  if (part.windows > 1) MARK("transfer.windows");
  const std::uint64_t windows = MUTATE("transfer.last_window_forgotten", part.windows, part.windows - 1);
  for (std::size_t first = 0, next = 0; first < places.size() && places[first].move->window < windows; first = next) {
    const std::uint64_t number = places[first].move->window;
    while (next < places.size() && places[next].move->window == number) ++next;
    Window window{std::span(places).subspan(first, next - first)};
    TRY(lay_out(window));
    if (own) own = pack(window, deadline);
    // Whom the others have given up on is not one of them.
    if (own && env.clock.now() >= meeting.at)
      own = fail(ErrorCode::timeout, "transfer: this rank had window {} of {} ready when the others no longer waited for it", number + 1,
                 windows);
    if (!window.sends.empty() || !window.receives.empty()) {
      if (!own) MARK("transfer.exchanged_after_failure");
      const Status exchanged = env.data.exchange(session_.exchange_name(), first_exchange + number, window.sends, window.receives, meeting);
      if (!exchanged) report.exchange.add(session_.comm().rank(), exchanged.error());
      in_doubt_ = !exchanged && env.data.memory() == MemoryKind::device;
      if (!exchanged) break;
    }
    if (own) own = unpack(window, deadline);
  }
  TRY(own);
  report.sent = memory_->sent;
  report.received = memory_->received;
  return report;
}

std::shared_ptr<const void> Mover::left_in_use() const { return in_doubt_ ? memory_ : nullptr; }

void encode(Encoder& out, const MoveReport& report) {
  report.exchange.encode(out);
  for (const std::vector<TensorDigest>* digests : {&report.sent, &report.received}) {
    out.varint(digests->size());
    for (const TensorDigest& digest : *digests) {
      for (const std::uint64_t lane : digest.lanes) out.u64(lane);
    }
  }
}

Result<MoveReport> decode_move_report(Decoder& in) {
  MoveReport report;
  report.exchange = TRY(FailureMap::decode(in));
  for (std::vector<TensorDigest>* digests : {&report.sent, &report.received}) {
    digests->resize(TRY(in.count(sizeof(TensorDigest))));
    for (TensorDigest& digest : *digests) {
      for (std::uint64_t& lane : digest.lanes) lane = TRY(in.u64());
    }
  }
  return report;
}

}  // namespace holdfast::protocol

#include "impl/protocol/block_exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/protocol/device_wait.h"
#include "impl/protocol/trainer_work.h"

namespace holdfast::protocol {
namespace {

/// Pieces lie one after the other, each at a multiple of it, which no element passes.
constexpr std::uint64_t piece_alignment = 16;
constexpr std::uint64_t aligned(std::uint64_t bytes) { return (bytes + piece_alignment - 1) / piece_alignment * piece_alignment; }

StridedBlock as_block(std::byte* data, std::uint64_t bytes, MemoryKind kind) {
  return packed_block(data, {static_cast<std::int64_t>(bytes)}, 1, kind);
}

}  // namespace

struct BlockExchange::Memory {
  port::Buffer send = {};     // of the kind that the data plane moves
  port::Buffer receive = {};  // on the device; none where it moves host memory
};

BlockExchange::BlockExchange(Session& session) : session_(session), memory_(std::make_shared<Memory>()) {}

BlockExchange::~BlockExchange() {
  if (stream_) session_.env().device.destroy_stream(*stream_);
}

Result<std::unique_ptr<BlockExchange>> BlockExchange::make(Session& session, const plan::SharedReads& part,
                                                           std::vector<SharedPiece>& pieces) {
  std::unique_ptr<BlockExchange> exchange(new BlockExchange(session));
  for (std::size_t first = 0, next = 0; first < pieces.size(); first = next) {
    while (next < pieces.size() && pieces[next].step == pieces[first].step) ++next;
    Step& step = exchange->steps_.emplace_back(Step{pieces[first].step, std::span(pieces).subspan(first, next - first)});
    TRY(exchange->lay_out(step, part));
    exchange->send_bytes_ = std::max(exchange->send_bytes_, step.send_bytes);
    exchange->receive_bytes_ = std::max(exchange->receive_bytes_, step.receive_bytes);
  }
  return exchange;
}

/// All ranks of a group see its pieces in the same order, so that a span is the same pieces at both ends; and the spans of two ranks come in the order of the groups.
Status BlockExchange::lay_out(Step& step, const plan::SharedReads& part) const {
  const Rank self = session_.comm().rank();
  for (std::size_t first = 0, next = 0; first < step.pieces.size(); first = next) {
    const SharedPiece& of = step.pieces[first];
    const std::vector<Rank>& group = part.groups[of.group];
    if (!std::ranges::binary_search(group, self))
      return fail(ErrorCode::corrupt, "load: the plan gives rank {} reads of ranks {}", self, fmt::join(group, ","));
    const bool sends = of.reader == self;
    std::uint64_t& end = sends ? step.send_bytes : step.receive_bytes;
    const std::uint64_t begin = end;
    for (; next < step.pieces.size() && step.pieces[next].reader == of.reader && step.pieces[next].group == of.group; ++next) {
      step.pieces[next].at = end;
      end += aligned(step.pieces[next].bytes());
    }
    if (!sends) step.receives.push_back({of.reader, begin, MUTATE("share.receives_short", end, std::max(begin + 1, end - 16)) - begin});
    for (const Rank peer : group) {
      if (sends && peer != self) step.sends.push_back({peer, begin, end - begin});
    }
  }
  return {};
}

Status BlockExchange::open(port::Buffer send) {
  memory_->send = std::move(send);
  if (!on_device()) return {};
  memory_->send = {};
  if (send_bytes_ != 0) memory_->send = TRY(session_.env().device.allocate_device(send_bytes_));
  if (receive_bytes_ != 0) memory_->receive = TRY(session_.env().device.allocate_device(receive_bytes_));
  stream_ = TRY(TrainerWork().open_stream(session_.env()));  // no tensor is touched on it
  return {};
}

Status BlockExchange::pack(std::span<const Copy> copies, const std::shared_ptr<const void>& owner, port::Deadline deadline) {
  std::vector<port::UnstageItem> onward;
  for (const Copy& copy : copies) {
    std::byte* const to = memory_->send.bytes.data() + copy.at;
    if (on_device()) {
      onward.push_back(
          {.source = as_block(copy.from, copy.bytes, MemoryKind::host), .destination = as_block(to, copy.bytes, MemoryKind::device)});
    } else {
      std::memcpy(to, copy.from, copy.bytes);
    }
  }
  if (onward.empty()) return {};
  struct Kept {
    std::shared_ptr<Memory> memory;
    std::shared_ptr<const void> sources;
  };
  const auto kept = std::make_shared<Kept>(Kept{memory_, owner});
  return finish(session_.env(), *stream_, session_.env().device.unstage(onward, kept, *stream_), deadline);
}

Status BlockExchange::exchange(std::size_t number, std::uint64_t first_exchange, const port::Buffer& received, port::Deadline deadline) {
  const Step& step = steps_[number];
  const port::Buffer& into = on_device() ? memory_->receive : received;
  const auto transfers = [](const std::vector<Span>& spans, const port::Buffer& buffer) {
    std::vector<port::Transfer> all;
    for (const Span& span : spans) all.push_back({span.peer, buffer.bytes.subspan(span.at, span.bytes), buffer.kind});
    return all;
  };
  const Status done = session_.env().data.exchange(session_.exchange_name(), first_exchange + step.number,
                                                   transfers(step.sends, memory_->send), transfers(step.receives, into), deadline);
  in_doubt_ = !done && on_device();
  return done;
}

Status BlockExchange::unpack(std::size_t number, const port::Buffer& received, port::Deadline deadline) {
  const std::uint64_t bytes = steps_[number].receive_bytes;
  if (!on_device() || bytes == 0) return {};
  MARK("share.through_device");
  const port::StageItem arrived{.source = as_block(memory_->receive.bytes.data(), bytes, MemoryKind::device),
                                .destination = received.bytes.first(bytes)};
  struct Kept {
    std::shared_ptr<Memory> memory;
    std::shared_ptr<void> into;
  };
  const auto kept = std::make_shared<Kept>(Kept{memory_, received.owner});
  return finish(session_.env(), *stream_, session_.env().device.stage({&arrived, 1}, kept, *stream_), deadline);
}

void BlockExchange::let_go() { memory_ = std::make_shared<Memory>(); }

std::shared_ptr<const void> BlockExchange::left_in_use() const { return in_doubt_ ? memory_ : nullptr; }

}  // namespace holdfast::protocol

#include "impl/backend/inprocess/mailboxes.h"

#include <optional>

#include "impl/core/check.h"

namespace holdfast::backend {

Mailboxes::Mailboxes(int world_size, std::size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {
  for (int rank = 0; rank < world_size; ++rank) {
    boxes_.push_back(std::make_unique<Box>());
    boxes_.back()->gone.resize(static_cast<std::size_t>(world_size));
  }
}

Status Mailboxes::check_peer(std::string_view call, Rank self, Rank peer) const {
  if (peer == self) return fail(ErrorCode::invalid_argument, "{} rank {}: that is this rank itself", call, peer);
  if (peer.value < 0 || peer.value >= world_size()) {
    return fail(ErrorCode::invalid_argument, "{} rank {}: there are ranks 0 to {}", call, peer, world_size() - 1);
  }
  return {};
}

Status Mailboxes::send(Rank from, Rank to, port::Tag tag, SharedBytes message) {
  TRY(check_peer("send to", from, to));
  if (message.size() > message_bytes_max_) {
    return fail(ErrorCode::invalid_argument, "send to rank {}: a message of {} bytes, at most {} are allowed", to, message.size(),
                message_bytes_max_);
  }
  Box& target = box(to);
  const std::scoped_lock lock(target.mutex);
  for (const Rank end : {from, to}) {
    if (target.gone[static_cast<std::size_t>(end.value)]) return fail(ErrorCode::peer_lost, "send to rank {}: rank {} has left", to, end);
  }
  port::Lane& lane = target.lanes[{from, tag.channel}];
  const bool rises = lane.push(tag.sequence, std::move(message));
  CHECK(rises, "rank {} sends sequence {} after {} to rank {} on channel {}", from, tag.sequence, lane.last().value_or(0), to, tag.channel);
  target.changed.notify_all();
  return {};
}

Result<SharedBytes> Mailboxes::receive(Rank to, Rank from, port::Tag tag, port::Deadline deadline) {
  TRY(check_peer("receive from", to, from));
  Box& own = box(to);
  std::unique_lock lock(own.mutex);
  port::Lane& lane = own.lanes[{from, tag.channel}];
  const auto gone = [&](Rank rank) { return own.gone[static_cast<std::size_t>(rank.value)]; };
  std::optional<SharedBytes> found;
  const auto arrived = [&] {
    found = lane.take(tag.sequence);
    return found.has_value();
  };
  const std::chrono::steady_clock::time_point until(deadline.at.time_since_epoch());
  own.changed.wait_until(lock, until, [&] { return gone(to) || arrived() || gone(from); });
  if (found) return std::move(*found);
  const std::string what = fmt::format("receive from rank {} (channel {}, sequence {})", from, tag.channel, tag.sequence);
  for (const Rank end : {to, from}) {
    if (gone(end)) return fail(ErrorCode::peer_lost, "{}: rank {} has left", what, end);
  }
  return fail(ErrorCode::timeout, "{}: nothing came by the deadline", what);
}

void Mailboxes::leave(Rank rank) {
  for (std::size_t i = 0; i < boxes_.size(); ++i) {
    Box& target = *boxes_[i];
    const std::scoped_lock lock(target.mutex);
    target.gone[static_cast<std::size_t>(rank.value)] = true;
    if (static_cast<std::size_t>(rank.value) == i) {
      for (auto& [lane, kept] : target.lanes) kept.clear();  // the lanes stay: receives of this rank may be waiting on them
    }
    target.changed.notify_all();
  }
}

}  // namespace holdfast::backend

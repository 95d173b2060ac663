#include "impl/backend/tcp/connection.h"

#include <sys/uio.h>

#include "impl/backend/posix/posix_error.h"

namespace holdfast::backend {
namespace {

constexpr int reads_at_once = 16;  ///< then the other connections have their turn
constexpr std::size_t parts_at_once = 64;

}  // namespace

Connection::Connection(std::uint64_t the_id, Fd the_fd, const Address& the_remote, std::optional<Rank> the_peer, FrameLimits limits)
    : id(the_id), fd(std::move(the_fd)), remote(the_remote), peer(the_peer), stage(the_peer ? Stage::connecting : Stage::hello),
      handshake(the_peer ? HandshakeKind::challenge : HandshakeKind::hello), frames_(limits) {}

std::string Connection::name() const { return peer ? fmt::format("rank {} at {}", *peer, to_string(remote)) : to_string(remote); }

Result<std::size_t> Connection::read_into(ByteSpan space) {
  const ssize_t got = receive_some(fd, space.data(), space.size());
  if (got > 0) return static_cast<std::size_t>(got);
  if (got == -EAGAIN) return std::size_t{0};
  if (got == 0) return fail(ErrorCode::peer_lost, "it closed the connection");
  return fail(ErrorCode::peer_lost, "{}", errno_text(static_cast<int>(-got)));
}

Result<bool> Connection::read_handshake() {
  while (true) {
    const std::size_t got = TRY(read_into(handshake.space()));
    if (got == 0) return false;
    if (TRY(handshake.received(got))) return true;
  }
}

Status Connection::read_frames(ByteSpan scratch, std::vector<Frame>& frames) {
  for (int i = 0; i < reads_at_once; ++i) {
    const ByteSpan space = frames_.space(scratch);
    const std::size_t got = TRY(read_into(space));
    if (got == 0) return {};
    TRY(frames_.received(space.first(got), frames));
  }
  return {};
}

Status Connection::say(ByteView message) {
  const iovec part{const_cast<std::byte*>(message.data()), message.size()};
  const ssize_t sent = send_some(fd, &part, 1);
  if (sent == static_cast<ssize_t>(message.size())) return {};
  if (sent < 0) return fail(ErrorCode::peer_lost, "{}", errno_text(static_cast<int>(-sent)));
  return fail(ErrorCode::peer_lost, "the system took {} of the {} bytes of a handshake", sent, message.size());
}

Result<std::size_t> Connection::flush() {
  std::size_t total = 0;
  while (!sending.empty()) {
    iovec parts[parts_at_once];
    std::size_t count = 0, skip = sent_of_first_;
    const auto add = [&](ByteView bytes) {
      const std::size_t skipped = std::min(skip, bytes.size());
      skip -= skipped;
      if (skipped < bytes.size()) parts[count++] = {const_cast<std::byte*>(bytes.data() + skipped), bytes.size() - skipped};
    };
    for (auto frame = sending.begin(); frame != sending.end() && count + 2 <= parts_at_once; ++frame) {
      add(frame->head);
      add(frame->payload.view());
    }
    const ssize_t sent = send_some(fd, parts, count);
    if (sent == -EAGAIN) break;
    if (sent < 0) return fail(ErrorCode::peer_lost, "{}", errno_text(static_cast<int>(-sent)));
    total += static_cast<std::size_t>(sent);
    sent_of_first_ += static_cast<std::size_t>(sent);
    while (!sending.empty() && sent_of_first_ >= sending.front().size()) {
      sent_of_first_ -= sending.front().size();
      sending.pop_front();
    }
  }
  return total;
}

}  // namespace holdfast::backend

// One socket of the reactor: reads its handshake and its frames, writes what is to be sent. Blocks for nothing; one thread only.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "impl/backend/tcp/frame.h"
#include "impl/backend/tcp/handshake.h"
#include "impl/backend/tcp/links.h"
#include "impl/backend/tcp/socket.h"

namespace holdfast::backend {

enum class Stage : std::uint8_t {
  connecting,  ///< we call
  challenge,   ///< we called and wait for the challenge
  answer,      ///< we called and wait for the answer
  hello,       ///< we were called and wait for the hello
  up,
};

class Connection {
 public:
  /// `peer` is whom we call; none when we were called.
  Connection(std::uint64_t the_id, Fd the_fd, const Address& the_remote, std::optional<Rank> the_peer, FrameLimits limits);

  std::string name() const;  ///< "rank 3 at 10.0.0.3:4000", "10.0.0.3:51234"

  /// True: the message is whole. False: the rest has not come yet. Errors: peer_lost at the end of the stream; corrupt.
  Result<bool> read_handshake();
  /// Appends the frames that are whole. Stops after a while even if there is more. `scratch` holds nothing between calls.
  /// Errors: peer_lost at the end of the stream; corrupt.
  Status read_frames(ByteSpan scratch, std::vector<Frame>& frames);
  /// A message of the handshake. Errors: peer_lost; also when the system does not take it whole, which it has room for.
  Status say(ByteView message);
  /// Writes of `sending` what the system takes; gives the bytes. Errors: peer_lost.
  Result<std::size_t> flush();

  const std::uint64_t id;
  const Fd fd;
  const Address remote;
  std::optional<Rank> peer;
  Stage stage;
  std::chrono::steady_clock::time_point until{};  ///< not up by then: given up
  std::uint32_t interest = 0;                     ///< what epoll was asked for
  HandshakeReader handshake;
  Bytes challenge, hello;  ///< bodies, for the proofs
  std::deque<OutFrame> sending;
  bool half_closed = false;

 private:
  /// 0: nothing has come.
  Result<std::size_t> read_into(ByteSpan space);

  FrameReader frames_;
  std::size_t sent_of_first_ = 0;
};

}  // namespace holdfast::backend

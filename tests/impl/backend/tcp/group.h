// Ranks of a TcpWorld in one process, over loopback; and a rank that speaks the protocol by hand, to say what a TcpWorld never would.
#pragma once

#include <dirent.h>
#include <poll.h>

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "impl/backend/host/clock.h"
#include "impl/backend/tcp/frame.h"
#include "impl/backend/tcp/handshake.h"
#include "impl/backend/tcp/socket.h"
#include "impl/backend/tcp/world.h"
#include "impl/core/check.h"
#include "tests/impl/backend/expect.h"
#include "tests/impl/backend/tcp/free_port.h"

namespace holdfast::test {

inline backend::Rendezvous place(int rank, int world_size, std::uint16_t port) {
  return {.launcher = backend::Launcher::variables,
          .via = "variables",
          .rank = Rank{rank},
          .world_size = world_size,
          .port = port,
          .job_id = "test",
          .secret = "the secret of a test"};
}

using Worlds = std::vector<std::unique_ptr<backend::TcpWorld>>;

/// All ranks of a world, joined.
inline Worlds join_all(int world_size, const backend::TcpOptions& options = {}) {
  backend::SteadyClock clock;
  const std::uint16_t port = free_port();
  std::vector<std::future<Result<std::unique_ptr<backend::TcpWorld>>>> joining;
  for (int rank = 0; rank < world_size; ++rank) {
    joining.push_back(std::async(std::launch::async, [&, rank] {
      return backend::TcpWorld::join(place(rank, world_size, port), options, clock.after(std::chrono::seconds(60)));
    }));
  }
  Worlds worlds;
  for (auto& world : joining) worlds.push_back(world.get().value());
  return worlds;
}

inline backend::SteadyClock the_clock;
inline port::Deadline soon() { return the_clock.after(std::chrono::seconds(60)); }
inline SharedBytes text(std::string_view words) { return to_bytes(as_bytes(words)); }

inline void leave_all(Worlds& worlds) {
  run_ranks(static_cast<int>(worlds.size()), [&](Rank rank) {
    const Status left = worlds[static_cast<std::size_t>(rank.value)]->leave(soon());
    EXPECT_TRUE(left) << left.error().message;
  });
}

inline std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (::readdir(directory)) ++count;
  ::closedir(directory);
  return count;
}

/// Calls a rank, as another, and says what it is told to. Its waits end after ten seconds.
class HandRank {
 public:
  explicit HandRank(std::uint16_t port) {
    const backend::Address to = backend::Address::parse("127.0.0.1", port).value();
    for (int i = 0; i < 500 && !connected_; ++i) {
      connected_ = backend::begin_connect(to, fd_) == 0 && wait(POLLOUT) && backend::connect_result(fd_) == 0;
      if (!connected_) ::poll(nullptr, 0, 20);
    }
    CHECK(connected_, "connect to port {}", port);
  }

  /// Bytes that come; fewer than `most` at the end of the stream.
  Bytes hear(std::size_t most) {
    Bytes heard(most);
    std::size_t size = 0;
    while (size < most && wait(POLLIN)) {
      const ssize_t got = backend::receive_some(fd_, heard.data() + size, most - size);
      if (got == -EAGAIN) continue;
      if (got <= 0) break;
      size += static_cast<std::size_t>(got);
    }
    heard.resize(size);
    return heard;
  }
  bool say(ByteView bytes) {
    while (!bytes.empty()) {
      const iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
      if (!wait(POLLOUT)) return false;
      const ssize_t sent = backend::send_some(fd_, &part, 1);
      if (sent < 0 && sent != -EAGAIN) return false;
      if (sent > 0) bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
  }
  bool closed() { return hear(1).empty(); }
  bool hears_nothing_for(std::chrono::milliseconds time) {
    pollfd entry{fd_.get(), POLLIN, 0};
    return ::poll(&entry, 1, static_cast<int>(time.count())) == 0;
  }

  Bytes hear_challenge() { return to_bytes(backend::handshake_body(hear(backend::handshake_head_bytes + 32))); }
  /// The whole handshake.
  Result<backend::Answer> greet(const backend::Hello& hello, const backend::JobKey& key) {
    const Bytes challenge = hear_challenge();
    const Bytes message = backend::encode_hello(hello, challenge, key).value();
    say(message);
    return hear_answer(challenge, message, key);
  }
  Result<backend::Answer> hear_answer(ByteView challenge, ByteView hello, const backend::JobKey& key) {
    backend::HandshakeReader reader(backend::HandshakeKind::answer);
    while (true) {
      const Bytes heard = hear(reader.space().size());
      if (heard.empty()) return fail(ErrorCode::peer_lost, "no answer");
      std::ranges::copy(heard, reader.space().begin());
      if (TRY(reader.received(heard.size()))) break;
    }
    return backend::decode_answer(reader.body(), challenge, backend::handshake_body(hello), key);
  }
  void say_frame(backend::FrameKind kind, port::Tag tag, std::string_view payload) {
    const backend::FrameHead head = backend::frame_head(kind, tag, as_bytes(payload));
    say(head);
    say(as_bytes(payload));
  }

 private:
  bool wait(short events) {
    pollfd entry{fd_.get(), events, 0};
    return ::poll(&entry, 1, 10'000) == 1;
  }
  backend::Fd fd_;
  bool connected_ = false;
};

}  // namespace holdfast::test

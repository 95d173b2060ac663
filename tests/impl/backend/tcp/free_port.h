// A port for a test to listen at.
#pragma once

#include <unistd.h>

#include <atomic>

#include "impl/backend/tcp/socket.h"

namespace holdfast::test {

/// A port where nobody listens, outside of those that the system gives out itself.
inline std::uint16_t free_port() {
  static std::atomic<unsigned> next{static_cast<unsigned>(::getpid()) * 131};
  while (true) {
    const auto port = static_cast<std::uint16_t>(2000 + next++ % 20000);
    if (backend::listen_at("127.0.0.1", port)) return port;
  }
}

}  // namespace holdfast::test

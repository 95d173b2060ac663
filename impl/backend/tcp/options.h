// The limits of a TcpWorld.
#pragma once

#include <cstddef>

#include "impl/port/clock.h"

namespace holdfast::backend {

struct TcpOptions {
  std::size_t message_bytes_max = std::size_t{64} << 20;  ///< of one message; below 4 GiB; the same on every rank, or they do not connect
  std::size_t unsent_bytes_max = std::size_t{256} << 20;  ///< for one rank and not yet taken by the system: above it a send waits
  port::Duration handshake_limit = std::chrono::seconds(10);  ///< a connection that is not made by then is given up, and tried again
  /// The system ends the connection to a host that vanished, or to a process that takes nothing, after about this; at least 6 s.
  port::Duration silence_limit = std::chrono::seconds(30);
};

}  // namespace holdfast::backend

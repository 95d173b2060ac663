// A group of ranks that are processes, on one host or many: one Net and one DataPlane for this one, over TCP.
#pragma once

#include <memory>

#include "impl/backend/tcp/options.h"
#include "impl/backend/tcp/rendezvous.h"
#include "impl/backend/tcp/socket.h"
#include "impl/port/data_plane.h"
#include "impl/port/net.h"

namespace holdfast::backend {

/// Owns the doors it hands out; they may be used from any thread. Deadlines are SteadyClock's. Two ranks are connected when one of them
/// first sends to or waits for the other, and with rank 0 always. A process that ends is lost at once, a host that vanishes after
/// TcpOptions::silence_limit, both for good; a process that is stopped is not, as long
/// as the system has room for what it is sent: waits for it end at their deadlines.
///
/// Net: a tag that does not rise is a CHECK. A send returns before there is a connection; it waits only above unsent_bytes_max.
class TcpWorld {
 public:
  /// Meets the other ranks: rank 0 listens where `rendezvous` says, the others call it. Blocks until all have come. `listener` is rank 0's
  /// if it listens there already, say by a socket of who started it: then no port has to be free before; without one it makes its own.
  /// Errors: timeout, naming who is missing; peer_lost when one left again, or refuses this process; already_exists when rank 0's port is in use
  /// until the deadline; io_error; not_found for rank 0's host; invalid_argument.
  static Result<std::unique_ptr<TcpWorld>> join(const Rendezvous& rendezvous, const TcpOptions& options, port::Deadline deadline,
                                                Fd listener = {});
  /// Leaves without a word, as a process does that ends: what was sent may be lost. Waits for nothing. No call may be under way.
  ~TcpWorld();
  TcpWorld(const TcpWorld&) = delete;
  TcpWorld& operator=(const TcpWorld&) = delete;

  Rank rank() const;
  int world_size() const;
  port::Net& net();
  port::DataPlane& data();

  /// The orderly end: blocks until the others have read everything that was sent to them. For them this rank is lost then. Every later
  /// call of its own fails with peer_lost. Errors: timeout, naming who has not.
  Status leave(port::Deadline deadline);

 private:
  struct State;
  explicit TcpWorld(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::backend

// The one thread that moves bytes: it accepts and makes connections, lets in who proves that it belongs to the job, and carries frames
// between the sockets and Links. It never waits for a single connection.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <thread>

#include "impl/backend/tcp/connection.h"
#include "impl/backend/tcp/job_key.h"
#include "impl/backend/tcp/links.h"

namespace holdfast::backend {

class Reactor {
 public:
  /// `listener` as listen_at() gives it; `links` must outlive the reactor. Errors: io_error.
  static Result<std::unique_ptr<Reactor>> start(Links& links, const JobKey& key, Fd listener);
  /// Cuts every connection, whatever is still to be sent. Waits for the thread, which waits for nothing.
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Retry {
    Time at{};
    int failures = 0;
  };

  Reactor(Links& links, const JobKey& key, Fd listener, std::uint16_t listener_port, Fd epoll);
  void run();
  int milliseconds_to_wait() const;
  void serve_event(std::uint64_t id, std::uint32_t events);
  void serve(Connection& connection, std::uint32_t events);
  bool serve_requests();  ///< false: stop
  void serve_timers();

  void accept_all();
  void pause_listener();
  void call(Rank rank);
  void read(Connection& connection);
  void step(Connection& connection);
  Status say_hello(Connection& connection);
  void hear_hello(Connection& connection);
  void hear_answer(Connection& connection);
  void set_up(Connection& connection);
  void load(Rank rank);
  void write(Connection& connection);

  bool watch(int fd, std::uint64_t id, std::uint32_t events, bool known);
  void begin(std::unique_ptr<Connection> connection, std::uint32_t events);
  void drop(Connection& connection, AttemptEnd how, const std::string& why);
  void attempt_over(Rank rank, AttemptEnd how, const std::string& why);
  FrameLimits limits() const;

  Links& links_;
  const JobKey key_;
  const Fd listener_;
  const std::uint16_t listener_port_;
  const Fd epoll_;
  std::uint64_t next_id_;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<Rank, std::uint64_t> by_rank_;              ///< the connection of each rank, made or in the making
  std::set<std::pair<Time, std::uint64_t>> unproved_;  ///< connections that are not up, by when they are given up
  std::map<Rank, Retry> retries_;
  Bytes scratch_;  ///< for reading
  Time listener_paused_until_{};
  bool listener_paused_ = false;
  bool leaving_ = false;
  std::thread thread_;
};

}  // namespace holdfast::backend

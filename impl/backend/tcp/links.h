// What the threads that call the doors share with the reactor's thread: for each rank the state of its connection, what is to be sent to
// it, what came from it.
//
//   idle --a call needs it--> wanted --reactor--> connecting --welcome--> up --its end--> lost
//     \____________________________ it called us ____________________/              (for good: a rank that comes back is another job)
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "impl/backend/tcp/frame.h"
#include "impl/backend/tcp/handshake.h"
#include "impl/backend/tcp/options.h"
#include "impl/backend/tcp/socket.h"
#include "impl/port/lane.h"
#include "impl/port/net.h"

namespace holdfast::backend {

struct OutFrame {
  FrameHead head;
  SharedBytes payload;
  std::size_t size() const { return head.size() + payload.size(); }
};

/// How an attempt to connect ended without a connection.
enum class AttemptEnd : std::uint8_t {
  again,    ///< it may go better another time
  gone,     ///< nobody listens there: the process has ended, or, while the job gathers, has not begun
  refused,  ///< it will never do
};

class Links {
 public:
  /// Errors: io_error.
  static Result<std::unique_ptr<Links>> make(Rank self, int world_size, const TcpOptions& options);

  // For callers: any thread.

  Rank self() const { return self_; }
  int world_size() const { return static_cast<int>(peers_.size()); }
  const TcpOptions& options() const { return options_; }
  /// As port::Net, for messages of one kind. The limit of their size is the caller's affair.
  Status send(FrameKind kind, Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline);
  Result<SharedBytes> receive(FrameKind kind, Rank from, port::Tag tag, port::Deadline deadline);
  Status check_peer(std::string_view call, Rank peer) const;
  /// Ends what waits for data here, and at every rank that waits for this one's.
  void abort_data();
  /// Why data from or to `peer` will never come, if it is so; `peer` may be this rank.
  std::optional<Error> data_ended(Rank peer);
  /// Blocks until everything sent was taken and every connection has ended; calls of this rank fail from now on. Errors: timeout.
  Status leave(port::Deadline deadline);

  // For joining.

  /// Where a rank may listen, tried in turn.
  void set_addresses(Rank peer, std::vector<Address> addresses);
  /// Where the connection to `peer` leads; where that rank listens, if it told.
  Address address_of(Rank peer);
  bool is_up(Rank peer);
  /// Everybody has come: from now on a rank that does not listen has ended.
  void gathered();
  /// Blocks until every other rank is connected. Errors: peer_lost; timeout, naming those that are missing and who was turned away.
  Status await_everybody(port::Deadline deadline);

  // For the reactor.

  struct Requests {
    std::vector<Rank> wanted;  ///< to be connected
    std::vector<Rank> loaded;  ///< with something new to be sent
    bool leaving = false;
    bool stop = false;
  };
  const Fd& wake() const { return wake_; }  ///< readable when there are requests
  Requests take_requests();
  void stop();

  /// The address to try, if a connection is still wanted.
  std::optional<Address> begin_attempt(Rank peer);
  /// True: to be tried again.
  bool attempt_ended(Rank peer, AttemptEnd how, const std::string& why);
  /// A caller has proved that it belongs to the job: whether it is welcome. If so the connection is up.
  Answer admit(const Hello& hello, const Address& listener);
  /// Our call was welcome.
  void came_up(Rank peer);
  void lost(Rank peer, std::string why);
  /// Errors: corrupt for tags that do not rise.
  Status deliver(Rank peer, std::vector<Frame>& frames);
  std::deque<OutFrame> take_outbox(Rank peer);
  void sent(Rank peer, std::size_t bytes);
  /// Somebody called who does not belong to the job.
  void turned_away(std::string why);

 private:
  enum class State : std::uint8_t { idle, wanted, connecting, up, lost };
  using LaneKey = std::pair<FrameKind, std::uint32_t>;
  struct Peer {
    State state = State::idle;
    std::vector<Address> addresses;
    std::size_t attempts = 0;
    std::string trouble;  ///< why the last attempt failed, or why it is lost
    std::map<LaneKey, port::Lane> inbox;
    std::map<LaneKey, std::uint64_t> last_sent;
    std::deque<OutFrame> outbox;
    std::size_t unsent_bytes = 0;  ///< in the outbox, or with the reactor
    bool data_aborted = false;
  };

  Links(Rank self, int world_size, const TcpOptions& options, Fd wake);
  Peer& peer(Rank rank) { return peers_[static_cast<std::size_t>(rank.value)]; }
  Rank rank_of(std::size_t index) const { return Rank{static_cast<std::int32_t>(index)}; }
  std::optional<Error> ended(FrameKind kind, Rank rank);
  std::optional<Error> data_ended_locked(Rank rank);
  void want(Rank rank);
  void push(Rank rank, OutFrame frame);
  void set_up(Rank rank);
  void set_lost(Rank rank, std::string why);
  void wake_reactor();

  const Rank self_;
  const TcpOptions options_;
  const Fd wake_;
  std::mutex mutex_;  // of all that follows
  std::condition_variable changed_;
  std::vector<Peer> peers_;
  Requests requests_;
  int senders_waiting_ = 0;  ///< for room
  bool woken_ = false;
  bool gathering_ = true;
  bool left_ = false;
  bool data_aborted_ = false;
  std::size_t turned_away_ = 0;
  std::string turned_away_last_;
};

}  // namespace holdfast::backend

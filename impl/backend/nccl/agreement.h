// What the ranks of one exchange tell each other over the control plane: before NCCL moves a byte, while it does, and when it has.
//
// Two ranks with transfers between them are peers. First each offers its peers what it sends and expects. Then the members are found, that is whoever is
// a peer of a peer: each rank tells its peers whom it has heard of, until everybody it has heard of has been heard. All members must be in a communicator.
//
// Every message between two ranks is the next one of this exchange, so whoever gives up says so in its next message, wherever the other waits.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/port/net.h"

namespace holdfast::backend {

/// The bytes of each transfer with a peer, in order.
struct Sizes {
  std::vector<std::uint64_t> sends, receives;
};

struct Agreed {
  std::vector<Rank> members;       ///< ascending; empty when this rank moves no byte
  std::uint64_t communicator = 0;  ///< the one that all of them hold; 0 when they do not hold the same
};

/// Used by one task. Errors of each call, besides its own: timeout; peer_lost when another rank gave up, too; aborted when `stopped` says so.
class Agreement {
 public:
  /// `sequence`: below sequences_max. `peers`: with this rank among them if it has transfers to itself.
  Agreement(port::Net& net, port::Clock& clock, std::string name, std::uint64_t sequence, std::map<Rank, Sizes> peers,
            std::function<bool()> stopped);
  static constexpr std::uint64_t sequences_max = std::uint64_t{1} << 40;

  /// `held`: the communicator that this rank has, or 0. Errors: invalid_argument, on both sides, for transfers that do not meet.
  Result<Agreed> agree(std::uint64_t held, port::Deadline deadline);

  /// What the first member tells the others.
  Status tell(ByteView bytes, port::Deadline deadline);
  Result<Bytes> hear(port::Deadline deadline);

  /// Passes the time until `pause`, or less: an error when a member is gone or gave up. Listens to one at a time, in turn.
  Status listen(port::Deadline pause);
  /// Listens to all for a while, for who is to blame: an error of listen, or nothing.
  Status ask_around(port::Deadline until);
  /// Tells the peers that this rank is done, and waits until they are. Past it nobody needs this rank any more.
  Status finish(port::Deadline deadline);
  /// The reason of this rank's failure, which was waiting for one that gave up: a timeout if that one's time was over.
  Error in_full(Error error) const {
    if (out_of_time_ && error.code == ErrorCode::peer_lost) error.code = ErrorCode::timeout;
    return error;
  }
  /// Tells every member so that none waits in vain. Whom it does not reach will see a timeout.
  void give_up(const Error& reason, port::Deadline deadline);

 private:
  enum class Kind : std::uint8_t { offer = 1, hearsay, told, done, gave_up, ran_out_of_time };
  /// Whom a rank has heard and heard of, and which communicators those that were heard hold.
  struct Hearsay {
    std::set<Rank> heard, heard_of;
    std::uint64_t held_min = 0, held_max = 0;
    bool complete() const { return heard == heard_of; }
  };

  Rank self() const { return net_.rank(); }
  Status send(Rank to, Kind kind, ByteView body, port::Deadline deadline);
  /// The body of the next message, which must be of this kind.
  Result<SharedBytes> receive(Rank from, Kind kind, port::Deadline deadline);
  Result<SharedBytes> next_message(Rank from, port::Deadline deadline);
  /// From each of `ranks`; says which are late.
  Status receive_from_each(const std::vector<Rank>& ranks, Kind kind, port::Deadline deadline,
                           const std::function<Status(Rank, ByteView)>& take);
  Status take_offer(Rank from, ByteView body, Hearsay& known) const;
  Status gossip(Hearsay& known, port::Deadline deadline);
  static void encode(Encoder& out, const Hearsay& known);
  static Status merge(Hearsay& known, Decoder& in, bool& complete);

  port::Net& net_;
  port::Clock& clock_;
  const std::string name_;
  const std::map<Rank, Sizes> peers_;
  const std::function<bool()> stopped_;
  const std::uint32_t channel_;
  const std::uint64_t first_;  ///< the tag of the first message to or from each rank
  std::map<Rank, std::uint64_t> sent_, received_;
  std::vector<Rank> movers_;  ///< the other peers with bytes to move
  std::vector<Rank> members_;
  std::set<Rank> done_;
  std::size_t turn_ = 0;
  bool out_of_time_ = false;  ///< the last who gave up
};

}  // namespace holdfast::backend

// The control plane, once, over Net: rounds that go up a tree to the coordinator and down again. The same code in every world.
//
// A round is agree(): map on every rank, reduce on the coordinator, an answer to every rank. If no process is lost meanwhile, every rank gets
// the same answer or the same map of failed ranks: {r: the map failed on r}, else {coordinator} if the reduce failed there, else none. If one is
// lost, every survivor returns by the deadline: with the coordinator's definite decision, or with `known == false`. Two ranks never hold
// different definite decisions, because only the coordinator makes one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "impl/comm/tree.h"
#include "impl/core/bytes.h"
#include "impl/core/failure.h"
#include "impl/port/clock.h"
#include "impl/port/net.h"

namespace holdfast::comm {

struct Descent;  // what goes down the tree: round_message.h

struct Options {
  Rank coordinator;
  int fan_out = 64;           ///< children a node of the tree
  std::uint32_t channel = 1;  ///< Net channel; two Comms over one Net need different ones
  bool alone = false;         ///< one rank, number 0, without the network (DCP's no_dist)
};

/// What the coordinator answers: `common` to every rank, and by_rank[r] to rank r (or by_rank empty).
struct Answer {
  SharedBytes common;
  std::vector<SharedBytes> by_rank;
};

/// What one rank gets.
struct Received {
  SharedBytes common;
  SharedBytes own;
};

struct RoundFailure {
  FailureMap failures;
  std::vector<Rank> lost;  ///< ascending
  bool known = true;       ///< false: the coordinator's decision did not reach this rank
};

template <typename T>
using RoundResult = tl::expected<T, RoundFailure>;

/// Runs on the coordinator once every rank contributed; contributions are in rank order.
using Reduce = std::function<Result<Answer>(std::vector<SharedBytes> contributions)>;

/// How the time of one operation is shared out, so that a slow child is noticed before its parent is given up.
class Timetable {
 public:
  /// `total`: from now to `end`. An eighth each is for the way up and the way down, a quarter for the reduce, half for the work before.
  Timetable(port::Deadline end, port::Duration total, int height);
  port::Deadline work() const;           ///< the map must be over
  port::Deadline up(int depth) const;    ///< a node at `depth` stops waiting for its children
  port::Deadline reduce() const;         ///< the coordinator's reduce must be over
  port::Deadline down(int depth) const;  ///< a node at `depth` stops waiting for its parent

 private:
  port::Deadline end_;
  port::Duration total_;
  port::Duration hop_;
  int height_;
};

class Comm {
 public:
  Comm(port::Net& net, port::Clock& clock, Options options);

  Rank rank() const { return rank_; }
  int world_size() const { return world_size_; }
  Rank coordinator() const { return coordinator_; }
  bool is_coordinator() const { return rank_ == coordinator_; }

  /// Starts an operation of several rounds, such as "save step 7". Every rank starts the same operations in the same order; what is left in the network
  /// from an earlier one is never mistaken for this one's, and a rank that is in another one than the coordinator fails by name.
  void begin(std::string operation);
  /// The time from now to `end`, shared out for one round.
  Timetable schedule(port::Deadline end);

  /// One round: once up and once down the tree. Blocks until the decision is here, at most until the timetable's end.
  RoundResult<Received> agree(Result<SharedBytes> contribution, const Reduce& reduce, const Timetable& times);

  struct Traffic {
    std::uint64_t rounds = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t bytes_received = 0;
  };
  const Traffic& traffic() const { return traffic_; }

 private:
  struct Heard;  // what came up from below
  Heard gather(Result<SharedBytes> contribution, const Timetable& times, port::Tag tag);
  RoundResult<Received> lead(Heard heard, const Reduce& reduce, const Timetable& times, port::Tag tag);
  RoundResult<Received> follow(Heard heard, const Timetable& times, port::Tag tag);
  std::vector<SharedBytes> messages_for(const std::vector<Rank>& children, const Descent& decision) const;
  void check_operations(std::vector<std::pair<Rank, SharedBytes>>& contributions, FailureMap& failures) const;
  void tell(const std::vector<Rank>& children, const Descent& decision, const Timetable& times, port::Tag tag);
  /// A message of any size, cut into as many as the network needs.
  Status send(Rank to, port::Tag tag, const SharedBytes& message, port::Deadline deadline);
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline);

  port::Net& net_;
  port::Clock& clock_;
  Rank rank_;
  int world_size_;
  Rank coordinator_;
  Tree tree_;
  std::uint32_t channel_;
  std::uint64_t operation_ = 0;
  std::string operation_name_;
  std::uint64_t round_ = 0;
  Traffic traffic_;
};

}  // namespace holdfast::comm

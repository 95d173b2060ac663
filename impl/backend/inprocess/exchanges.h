// The exchanges between the ranks of an InProcessWorld. Two ranks that have both come copy straight from one's memory to the other's.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "impl/port/data_plane.h"

namespace holdfast::backend {

class Exchanges {
 public:
  explicit Exchanges(int world_size) : left_(static_cast<std::size_t>(world_size)), aborted_(static_cast<std::size_t>(world_size)) {}

  Status exchange(Rank rank, std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline);
  void abort(Rank rank);
  void leave(Rank rank);

 private:
  using Pieces = std::map<Rank, std::vector<ByteSpan>>;  // by peer
  /// A rank that is inside an exchange. It lies on that rank's stack: the rank stays until no peer copies to or from its memory.
  struct Post {
    Rank rank;
    Pieces sends;
    Pieces receives;
    std::set<Rank> peers;  ///< all of them
    std::set<Rank> open;   ///< those still to meet
    int copying = 0;       ///< pairs under way
    std::optional<Error> failure;
  };
  using Posts = std::map<Rank, Post*>;

  std::optional<Error> check(const std::string& label, Rank rank, std::span<const port::Transfer> transfers) const;
  void meet(const std::string& label, Post& own, Posts& posts, std::unique_lock<std::mutex>& lock);
  std::optional<Error> hopeless(const std::string& label, const Post& own) const;
  bool marked(const std::vector<bool>& marks, Rank rank) const { return marks[static_cast<std::size_t>(rank.value)]; }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<std::string, std::uint64_t>, Posts> exchanges_;
  std::vector<bool> left_;
  std::vector<bool> aborted_;
};

class InProcessDataPlane : public port::DataPlane {
 public:
  InProcessDataPlane(Exchanges& exchanges, Rank rank) : exchanges_(exchanges), rank_(rank) {}

  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override {
    return exchanges_.exchange(rank_, name, sequence, sends, receives, deadline);
  }
  void abort() override { exchanges_.abort(rank_); }

 private:
  Exchanges& exchanges_;
  Rank rank_;
};

}  // namespace holdfast::backend

// What the simulated NCCL knows: communicators, and the sends and receives that wait for each other.
#pragma once

#include <nccl.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/cuda/nccl.h"
#include "sim/cuda/state.h"

namespace holdfast::sim::cuda {

struct Part {
  bool sends = false;
  char* memory = nullptr;
  std::size_t bytes = 0;
  int peer = 0;
  bool over = false;
};

/// The sends and receives of one group, of one communicator, on one stream.
struct Work {
  ncclComm* communicator = nullptr;
  CUstream_st* stream = nullptr;
  std::vector<Part> parts;
  bool over = false;
  bool complete() const { return std::ranges::all_of(parts, &Part::over); }
};

struct Posted {
  std::shared_ptr<Work> work;
  std::size_t index = 0;
  Part& part() const { return work->parts[index]; }
};

/// From one rank to another.
struct Way {
  std::deque<Posted> sends, receives;
  CUstream_st* wire = nullptr;
};

/// A communicator, as all its ranks share it.
struct Clique {
  std::vector<ncclComm*> members;  ///< by rank; null: not there yet
  std::map<std::pair<int, int>, Way> ways;
};

}  // namespace holdfast::sim::cuda

struct ncclComm {
  std::uint64_t id = 0;
  std::shared_ptr<holdfast::sim::cuda::Clique> clique;
  int rank = 0;
  int device = 0;
  holdfast::sim::cuda::Context* owner = nullptr;
  bool open = true;
  bool dead = false;             ///< with its process
  bool ready = false;            ///< made
  std::uint32_t polls_left = 0;  ///< until it is ready, or the launch is over
  std::vector<std::shared_ptr<holdfast::sim::cuda::Work>> launching, under_way;
  ncclResult_t error = ncclSuccess;
  std::map<int, bool> noticed;  ///< peers that are gone: whether it learns of it
  bool gone() const { return !open || dead; }
};

namespace holdfast::sim::cuda {

class Nccl final : public Addition {
 public:
  explicit Nccl(State& state) : state_(state) {}
  void report(std::vector<std::string>& lines) const override;

  /// Counts the call, lets time pass.
  ncclResult_t enter(const char* call, bool needs_device);
  ncclResult_t refuse(ncclResult_t code, std::string why);
  /// As refuse, and a finding.
  ncclResult_t misuse(std::string what);

  ncclResult_t make_id(ncclUniqueId& id);
  ncclResult_t init(ncclComm_t& made, int size, const ncclUniqueId& id, int rank, const ncclConfig_t* config);
  ncclResult_t poll(ncclComm& communicator);
  void abort(ncclComm& communicator);
  ncclResult_t group_start();
  ncclResult_t group_end();
  ncclResult_t add(const char* call, Part part, ncclDataType_t type, ncclComm_t handle, cudaStream_t stream);
  /// Open, or null and a finding.
  ncclComm* find(const char* call, ncclComm_t handle);
  void kill(const Context& process);

  std::string last_error;
  PeerDeath peer_death = PeerDeath::any;
  bool held = false;
  struct Break {
    std::uint64_t after = 0;
    ncclResult_t code = ncclSuccess;
    const Context* owner = nullptr;
    const ncclComm* launched = nullptr;  ///< the one that did
  };
  std::optional<Break> breaking;

 private:
  struct Group {
    int depth = 0;
    std::vector<std::shared_ptr<Work>> works;
  };
  std::string name(const ncclComm& communicator) const;
  bool is_ready(const ncclComm& communicator) const;
  bool needs(const ncclComm& communicator, int peer) const;
  void notice_the_gone(ncclComm& communicator);
  ncclResult_t begin_launch(ncclComm& communicator, std::vector<std::shared_ptr<Work>> works);
  void launch(ncclComm& communicator);
  void enqueue(const std::shared_ptr<Work>& work);
  void post(const std::shared_ptr<Work>& work);
  void meet(Clique& clique, int from, int to);
  void end(Work& work);

  State& state_;
  std::uint64_t next_id_ = 1;
  std::vector<std::unique_ptr<ncclComm>> communicators_;  ///< never removed
  std::map<std::string, std::shared_ptr<Clique>> cliques_;
  std::map<const Context*, Group> groups_;
};

/// The library, which lives as long as the simulated runtime.
Nccl& nccl();

}  // namespace holdfast::sim::cuda

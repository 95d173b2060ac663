// Ranks that a launcher started: torchrun, srun, mpirun, on one host or many.
#pragma once

#include <memory>

#include "impl/backend/tcp/world.h"
#include "properties/worlds/scratch.h"
#include "properties/worlds/tcp_rank.h"

namespace holdfast::properties {

struct LaunchedOptions {
  std::string name = "launched";
  bool device_memory = false;
  RunRank run_rank = run_host_rank;
  /// That all ranks see; made if it is missing. All is done in a folder of its own in it, which is gone at the end. Empty: where temporary files go on the
  /// host of rank 0, hence for one host only.
  std::string folder = {};
  std::string request = {};                                   ///< what is to be checked, in any words: the same in every process
  std::string machine = {};                                   ///< what this process runs on
  std::chrono::seconds run_limit = std::chrono::minutes(10);  ///< a process that is in one run for longer ends itself
};

/// Every process checks the same properties, draws the same cases, and is one rank of each run; each tells all others how its rank ended. So all
/// judge alike and go on alike, and nobody supervises them. Each run has a network of its own; between runs they meet over another one. A process
/// that dies or does not come back within the limit is a problem of that run and of every later one: the others cannot go on without it.
class LaunchedWorld : public World {
 public:
  /// Meets the other processes; `listener` is rank 0's, if it listens already. Errors: as TcpWorld::join; invalid_argument for processes that were asked for
  /// different things; io_error.
  static Result<std::unique_ptr<World>> make(const backend::Rendezvous& rendezvous, backend::Fd listener, LaunchedOptions options);
  /// Waits for rank 0, which may have to tell what was found before a launcher ends all processes because one has ended; a minute at most.
  ~LaunchedWorld() override;
  std::string_view name() const override { return options_.name; }
  bool device_memory() const override { return options_.device_memory; }
  int ranks_max() const override { return rendezvous_.world_size; }
  bool needs_preflight() const override { return true; }
  std::vector<std::string> machines() const override { return machines_; }
  bool tells() const override { return rendezvous_.rank == Rank{0}; }
  /// The next run begins in a folder that never was.
  void reset() override;
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override;

 private:
  LaunchedWorld(backend::Rendezvous rendezvous, LaunchedOptions options)
      : rendezvous_(std::move(rendezvous)), options_(std::move(options)) {}
  Status set_up(backend::Fd listener);
  Result<SharedBytes> from_first(const std::function<Result<Bytes>()>& make, port::Deadline deadline);
  std::string case_folder() const;
  Result<Bytes> run_here(int world_size, const RankMain& rank_main);
  Result<std::vector<SharedBytes>> gather(Bytes own, port::Deadline deadline);

  backend::Rendezvous rendezvous_;
  LaunchedOptions options_;
  std::unique_ptr<backend::TcpWorld> meeting_;  ///< of the processes, between runs
  std::unique_ptr<Scratch> scratch_;            ///< rank 0's
  std::string folder_;                          ///< where all is done
  std::uint64_t resets_ = 0;
  std::vector<std::string> machines_;
  std::uint64_t runs_ = 0;
  std::uint64_t messages_ = 0;
  std::string lost_;  ///< why the processes cannot go on together
};

}  // namespace holdfast::properties

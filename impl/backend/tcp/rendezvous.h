// Where the processes of a job meet: this one's rank, the world's size, and rank 0's address, from what a launcher left in the environment.
// Pure but for process_environment(). README.md has the table of variables.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "impl/core/error.h"
#include "impl/core/ids.h"

namespace holdfast::backend {

enum class Launcher : std::uint8_t { alone, variables, torchrun, openmpi, slurm, pmi };
std::string_view to_string(Launcher launcher);  ///< as HOLDFAST_LAUNCHER names it

struct Rendezvous {
  Launcher launcher = Launcher::alone;  ///< whose way of telling rank 0's host is used
  std::string via = "alone";            ///< all that said so: "torchrun,slurm"
  Rank rank{};
  int world_size = 1;
  std::optional<int> local_rank{};           ///< number of this process on its host, where it was told
  std::string master_address = "127.0.0.1";  ///< name or number of the host of rank 0
  std::uint16_t port = 0;                    ///< where rank 0 listens; 0 in a world of one
  std::string job_id{};                      ///< the same in every process of the job, and no other's
  std::string secret{};                      ///< empty: the job id stands in for it, and guards against accident only
};

using Environment = std::map<std::string, std::string>;

/// Reads what torchrun, OpenMPI, Slurm, another MPI by PMI or HOLDFAST_RANK and HOLDFAST_WORLD_SIZE say; without any the process is alone.
/// HOLDFAST_MASTER_ADDR, HOLDFAST_PORT and HOLDFAST_JOB_ID come before a launcher's own; rank and size never do: launchers that disagree
/// are refused unless HOLDFAST_LAUNCHER names one. A variable that is empty counts as missing.
/// Errors: invalid_argument, naming the variables, what they hold and what was expected: a set half given, no number, no such rank,
/// launchers that disagree.
Result<Rendezvous> rendezvous(const Environment& environment);

/// A copy of this process's environment.
Environment process_environment();

/// "rank 17 of 64, told by slurm, local rank 1, rank 0 at n01:27011".
std::string describe(const Rendezvous& rendezvous);

}  // namespace holdfast::backend

// Job: one rank's place among the ranks that save and load together, and its doors to the world. Storage is the folder's (checkpoints.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "impl/port/env.h"

namespace holdfast {

/// Used by one thread at a time; it must outlive the Checkpoints made on it, which every rank makes in the same order.
class Job {
 public:
  /// This process alone: rank 0 of 1, host memory. Errors: none; blocks for nothing.
  static std::unique_ptr<Job> alone();
  /// This process as the rank that torchrun, Slurm, an MPI or HOLDFAST_RANK and HOLDFAST_WORLD_SIZE made it, connected to the others over
  /// TCP; alone without any of them. Host memory. Variables, secret and ports: impl/backend/tcp/README.md. Blocks until every rank has come.
  /// Errors: invalid_argument for variables that are half given or disagree; timeout after `patience`, naming who is missing; peer_lost when
  /// a rank left again or refuses this process; io_error, not_found.
  static Result<std::unique_ptr<Job>> from_launcher(port::Duration patience = std::chrono::minutes(5));
  /// Leaves the job: ranks that still wait for this one get peer_lost. Waits for nothing.
  ~Job();
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  Rank rank() const;       ///< 0 .. world_size() - 1
  int world_size() const;  ///< ranks of the job
  port::Clock& clock();    ///< for deadlines: clock().after(std::chrono::minutes(2)); lives as long as the job
  /// From now on tensors may lie in the memory of this device, too; before the first Checkpoints is made on this job. A GPU, and a stream of the trainer's on it:
  ///   auto gpu = backend::make_cuda_device(local_rank, job.clock()).value();
  ///   backend::CudaDevice& cuda = *gpu;
  ///   job.use_device(std::move(gpu));
  ///   const port::StreamId trainer = cuda.view_stream(stream).value();  // of a cudaStream_t: SaveOptions::after, LoadOptions::after, TransferOptions::after
  /// The job closes it when it goes, after the last Checkpoints.
  void use_device(std::unique_ptr<port::Device> device);
  /// The doors, with `storage` as the one to the disk. Valid while the job and the storage live.
  port::Env env(port::Storage& storage, port::Observer* observer = nullptr);
  /// Of the messages of one Checkpoints: a new one each time, so that several on one job never hear each other.
  std::uint32_t next_channel();
  /// The orderly end. Blocks until every task that was given up at a deadline has ended and, between processes, until the others have read
  /// all that this rank sent. Errors: timeout, naming those that still run, or the ranks.
  Status close(port::Deadline deadline);

 private:
  friend std::vector<Status> run_local_job(int ranks, const std::function<Status(Job&)>& body);
  struct State;
  explicit Job(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Runs `body` as each of `ranks` ranks, a thread each, in this process. A rank whose body has returned has left the job.
/// Returns: what each body returned, by rank; out_of_memory or io_error where a body threw or its thread could not be started.
/// Requires: ranks >= 1. Blocks until all are back.
std::vector<Status> run_local_job(int ranks, const std::function<Status(Job&)>& body);

}  // namespace holdfast

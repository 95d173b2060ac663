// A communicator of NCCL with a stream of its own, driven without blocking: each call begins something or asks whether it is over.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "impl/backend/cuda/runtime.h"
#include "impl/backend/nccl/data_plane.h"
#include "impl/backend/nccl/ending.h"
#include "impl/backend/nccl/table.h"
#include "impl/port/data_plane.h"

namespace holdfast::backend {

/// Errors: io_error with NCCL's or CUDA's reason. Used by one task at a time. Whoever drops it must end() it; else NCCL keeps it.
class Communicator {
 public:
  /// What the first member makes for all.
  static Result<Bytes> make_id(const NcclTable& table, int device);
  /// Begins to make the communicator of `members`, ascending, of whom `self` is one. It can be used when idle().
  static Result<std::unique_ptr<Communicator>> begin(std::shared_ptr<const NcclTable> table, int device, ByteView id,
                                                     std::vector<Rank> members, Rank self, const NcclOptions& options);

  /// Names the communicator among all; not 0. The same on its members.
  std::uint64_t number() const { return number_; }
  const std::vector<Rank>& members() const { return members_; }

  /// Whether what was begun is over: the making, or the launch of a group.
  Result<bool> idle();
  /// Begins to enqueue the transfers as one group; those of no bytes are left out. Requires: idle.
  Status launch(std::span<const port::Transfer> sends, std::span<const port::Transfer> receives);
  /// Once idle after a launch: marks where its work ends, for ended().
  Status mark_end();
  Result<bool> ended();

  /// Hands over what there is, to be aborted.
  std::shared_ptr<Ending> end(port::Tasks& tasks, port::Clock& clock);

 private:
  Communicator(std::shared_ptr<const NcclTable> table, int device, std::vector<Rank> members)
      : table_(std::move(table)), site_{device}, members_(std::move(members)) {}
  Error refused(ncclResult_t code, std::string_view call) const;
  Status enqueue(std::span<const port::Transfer> sends, std::span<const port::Transfer> receives);

  std::shared_ptr<const NcclTable> table_;
  cuda::Site site_;
  std::vector<Rank> members_;
  std::shared_ptr<const std::string> name_;
  std::uint64_t number_ = 0;
  cuda::OwnedStream stream_;
  cuda::OwnedEvent event_;
  ncclComm_t handle_ = nullptr;
};

}  // namespace holdfast::backend

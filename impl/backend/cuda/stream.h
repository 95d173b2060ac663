// One stream of a CudaDevice with what its running work needs: the callers' owners, areas, scratch memory, host work. Used under the device's lock.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "impl/backend/cuda/kernels.h"
#include "impl/backend/cuda/runtime.h"
#include "impl/backend/cuda/scratch.h"

namespace holdfast::backend::cuda {

/// An operation that may still be running, and what must live until it has ended.
struct Operation {
  std::uint64_t number = 0;
  std::string name;
  bool begun = false;  ///< something of it was enqueued
  std::shared_ptr<const void> owner;
  std::deque<std::function<void()>> host_work;  ///< a deque: they stay where they are
  Scratch scratch;
};

/// Memory through which small and strided blocks pass, packed.
template <typename Memory>
struct Area {
  Memory memory;
  std::size_t bytes = 0;
};
/// Of a stream: the last is the largest and in use; stream order makes its reuse safe, outgrown ones wait for the end.
template <typename Memory>
using Areas = std::vector<Area<Memory>>;

/// What streams leave for others, because to free it would wait for everything that runs on the device, the trainer's work included. The largest is taken first.
struct SpareAreas {
  Areas<DeviceMemory> areas;
  Areas<PinnedMemory> bounces;
};

class Stream {
 public:
  /// A stream of our own, with an area of each kind that another stream left, if there is one. Errors: io_error.
  static Result<std::unique_ptr<Stream>> create(const Site& site, SpareAreas& spare);
  /// A view of the caller's, which may be one of CUDA's default streams.
  static Result<std::unique_ptr<Stream>> view(const Site& site, cudaStream_t stream);

  /// Errors: invalid_argument while a graph is captured that work on this stream would become a part of or, on the legacy default stream, would come after. The
  /// capture goes on.
  Status check_not_capturing() const;

  /// The next calls are parts of a new operation, `name` in messages.
  void begin(std::string name, std::shared_ptr<const void> owner);
  std::uint64_t latest_operation() const { return latest_; }
  /// Takes the operations up to number `latest`, which the caller knows to have ended.
  std::vector<Operation> take_ended(std::uint64_t latest);
  /// Of the operations up to number `latest`, those that may not have ended, the last ones by name: where work has failed, it was one of these.
  std::string under_way(std::uint64_t latest) const;

  // Parts of an operation. Sizes are not 0. After an error the operation stays under way: its parts before the error run.
  Status copy(const void* from, void* to, std::size_t bytes);
  Status launch(Kernel kernel, std::uint32_t blocks, void* arguments);
  /// The scratch memory is the operation's until it has ended.
  void keep(const Scratch& scratch) { operations_.back().scratch = scratch; }
  /// Runs `work` on the host, on a thread of CUDA's; it must not call CUDA.
  Status run_on_host(std::function<void()> work);

  /// Device memory, and pinned memory, that every operation of the stream may use while it runs. Errors: out_of_memory, io_error.
  Result<std::byte*> area(std::size_t bytes);
  Result<std::byte*> bounce(std::size_t bytes);

  /// Lets go of the stream without waiting; work under way goes on. Keep the object until idle().
  void close();
  /// True when nothing that this object owns is in use by the device any more.
  bool idle();
  /// Once idle: adds all areas to what is there for other streams.
  void leave_areas(SpareAreas& spare);
  /// Waits until idle, or until the device says that it is lost.
  void drain();

  cudaStream_t handle() const { return handle_; }
  Site site() const;  ///< with what is under way

 private:
  Stream(const Site& site, OwnedEvent fence) : site_(site), fence_(std::move(fence)) {}
  /// What became of a call that is a part of the latest operation. An error says what is under way.
  template <typename... Args>
  Status part(cudaError_t code, fmt::format_string<Args...> call, Args&&... args) {
    if (code != cudaSuccess) return called(code, site(), call, std::forward<Args>(args)...);
    operations_.back().begun = true;
    return {};
  }

  Site site_;
  OwnedStream owned_;
  cudaStream_t handle_ = nullptr;
  OwnedEvent fence_;  ///< recorded by close()
  bool closed_ = false;
  bool fenced_ = false;  ///< the fence stands behind all work
  Areas<DeviceMemory> areas_;
  Areas<PinnedMemory> bounces_;
  std::uint64_t latest_ = 0;
  std::deque<Operation> operations_;
};

}  // namespace holdfast::backend::cuda

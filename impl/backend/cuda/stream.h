// One stream of a CudaDevice with what its running work needs: the callers' owners, staging areas, host work. Used under the device's lock.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "impl/backend/cuda/geometry.h"
#include "impl/backend/cuda/kernels.h"
#include "impl/backend/cuda/runtime.h"

namespace holdfast::backend::cuda {

/// Device memory for the two lanes of a digest under way, and the pinned memory they come back to.
struct DigestSlot {
  unsigned long long* lanes = nullptr;
  TensorDigest* result = nullptr;
};

/// An operation that may still be running, and what must live until it has ended.
struct Operation {
  std::uint64_t number = 0;
  std::string name;
  bool begun = false;  ///< something of it was enqueued
  std::shared_ptr<const void> owner;
  std::function<void()> host_work;
  DigestSlot slot;
};

/// Device memory through which strided boxes pass, packed.
struct Area {
  DeviceMemory memory;
  std::size_t bytes = 0;
};

class Stream {
 public:
  /// A stream of our own, with an area that another stream left, or none. Errors: io_error.
  static Result<std::unique_ptr<Stream>> create(const Site& site, Area area);
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
  /// Moves the region (in bytes) at `strided` into `packed`, or back.
  Status gather(const Dimensions& region, std::byte* strided, std::byte* packed);
  Status scatter(const Dimensions& region, std::byte* strided, const std::byte* packed);
  /// Leaves the digest of the region (in units) in *slot.result; the slot is the operation's until it has ended.
  Status digest(const Dimensions& region, const std::byte* data, std::uint64_t first_unit, std::uint32_t unit_bytes,
                const std::uint64_t* keys, DigestSlot slot);
  /// Runs `work` on the host, on a thread of CUDA's; it must not call CUDA.
  Status run_on_host(std::function<void()> work);

  /// Lets go of the stream without waiting; work under way goes on. Keep the object until idle().
  void close();
  /// True when nothing that this object owns is in use by the device any more.
  bool idle();
  /// Once idle: the largest area, for another stream, because cudaFree would wait for everything that runs on the device.
  Area take_area();
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
  Result<char*> area(std::size_t bytes);
  Status launch(Kernel kernel, std::uint32_t blocks, void* arguments);
  Status launch_pack(Kernel kernel, const Slab& slab, std::byte* strided, char* packed);

  Site site_;
  OwnedStream owned_;
  cudaStream_t handle_ = nullptr;
  OwnedEvent fence_;  ///< recorded by close()
  bool closed_ = false;
  bool fenced_ = false;      ///< the fence stands behind all work
  std::vector<Area> areas_;  ///< the last is the largest and in use; stream order makes its reuse safe, outgrown ones wait for the end
  std::uint64_t latest_ = 0;
  std::deque<Operation> operations_;
};

}  // namespace holdfast::backend::cuda

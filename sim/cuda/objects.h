// What the simulated runtime is made of: allocations, operations, and the streams and events behind CUDA's handles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::sim::cuda {

struct Context;

/// Stream -> number of an operation on it; that one and all before it are meant.
using Moment = std::map<std::uint64_t, std::uint64_t>;
void advance(Moment& moment, const Moment& by);

/// Memory that an operation reads or writes.
struct Access {
  std::uintptr_t begin = 0;
  std::size_t bytes = 0;
  bool writes = false;
  bool on_device = true;  ///< device or pinned memory for certain, not pageable host memory
  bool replaces = false;  ///< writes every byte and reads none, so that what was there is of no use any more
  bool overlaps(std::uintptr_t other, std::size_t other_bytes) const { return begin < other + other_bytes && other < begin + bytes; }
};

struct Operation {
  std::uint64_t stream = 0;
  std::uint64_t number = 0;
  std::string what;
  std::vector<Access> accesses;
  std::function<void()> run;
  Moment after;                      ///< must have run before
  Moment ordered;                    ///< is known to run before, by stream order, events and what the host waited for
  std::function<bool()> ready = {};  ///< asked before it may run; empty: it may
  std::uint32_t dawdles = 0;         ///< steps that it lets pass when it might run
};

struct Allocation {
  enum class Kind : std::uint8_t {
    device,      ///< of cudaMalloc
    pinned,      ///< of cudaHostAlloc
    registered,  ///< pinned memory of the program's own
    ordered,     ///< of cudaMallocAsync: usable in the order of its stream
    mapped,      ///< physical memory, mapped into a reserved range: may go on in the mapping behind it
  };
  std::uint64_t id = 0;
  std::size_t bytes = 0;
  Kind kind = Kind::device;
  bool is_pinned() const { return kind == Kind::pinned || kind == Kind::registered; }
  int device = 0;
  bool accessible = true;         ///< a mapping is not until it is told
  const char* freeing = nullptr;  ///< the call that frees it in the order of a stream: no later work may use it
  bool freed = false;
  std::unique_ptr<std::byte, void (*)(void*)> memory{nullptr, std::free};
};

/// Of cuMemCreate.
struct PhysicalMemory {
  std::size_t bytes = 0;
  int device = 0;
  bool is_mapped = false;
  bool released = false;  ///< by the program; its mapping keeps it
};

/// What a thread captures on a stream, instead of running it.
struct Capture {
  const Context* thread = nullptr;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool valid = true;
  std::size_t operations = 0;
};

}  // namespace holdfast::sim::cuda

struct CUstream_st {
  enum class Kind : std::uint8_t {
    made,     ///< by the program
    runtime,  ///< a default stream: legacy, or of a thread
    wire,     ///< the simulation's own, of no device
  };
  std::uint64_t id = 0;
  int device = 0;
  bool blocking = false;  ///< synchronises with the default stream
  bool open = true;
  Kind kind = Kind::made;
  std::optional<holdfast::sim::cuda::Capture> capture;
  std::uint64_t enqueued = 0;
  std::uint64_t done = 0;
  holdfast::sim::cuda::Moment ordered;  ///< before its next operation
  std::deque<holdfast::sim::cuda::Operation> queue;
};

struct CUevent_st {
  std::uint64_t id = 0;
  int device = 0;
  bool open = true;
  holdfast::sim::cuda::Moment after;    ///< complete when this has run; empty before the first record
  holdfast::sim::cuda::Moment ordered;  ///< and this is known to have, too
  CUstream_st* captured_on = nullptr;   ///< it was recorded in a capture, and is no event of the device's
};

struct CUgraph_st {
  std::uint64_t id = 0;
  std::size_t operations = 0;
  bool open = true;
};

struct CUmemPoolHandle_st {
  std::uint64_t id = 0;
  int device = 0;
  bool is_default = false;
  bool open = true;
};

// What the simulated runtime is made of: allocations, operations, and the streams and events behind CUDA's handles.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace holdfast::sim::cuda {

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
  std::uint64_t id = 0;
  std::size_t bytes = 0;
  bool pinned = false;
  bool registered = false;  ///< pinned memory of the program's own
  int device = 0;
  bool freed = false;
  std::unique_ptr<std::byte, void (*)(void*)> memory{nullptr, std::free};
};

}  // namespace holdfast::sim::cuda

struct CUstream_st {
  std::uint64_t id = 0;
  int device = 0;
  bool blocking = false;  ///< synchronises with the default stream
  bool open = true;
  bool is_wire = false;  ///< the simulation's own, of no device
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
};

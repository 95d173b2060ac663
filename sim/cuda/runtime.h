// A simulated CUDA runtime: link holdfast_sim.cuda instead of cudart, and the unchanged back end runs on host memory. Streams are queues
// whose operations run at adversarial legal moments, fresh memory is poisoned, misuse is a finding, and any call can be made to fail.
// It checks order, sizes, index arithmetic and error paths of host code; not speed, the device's memory model or CUDA itself.
//
// Capture of graphs: work on a capturing stream is counted and does not run. A call that CUDA forbids meanwhile, or that conflicts with a capture, fails, spoils it and is
// a finding. (Which calls count as unsafe CUDA says only by example: here all that allocate, free, create, destroy, wait or poll.) Graphs cannot be launched.
// Stream-ordered allocations are work that writes the memory, so that a use which their stream does not order is a race. Freed memory is never given out again.
// Virtual memory: reserved addresses where nothing is mapped are a trap, too.
//
// What is poison: 0xCD fresh device memory, 0xEE fresh pinned memory, 0xDB the destination of a copy that has not run yet, 0xDD freed
// memory. Memory of the program's own that is registered keeps its bytes. A copy from pageable memory takes the bytes at the call, one into it is over when the
// call returns: slow, and no error. Under ASan device memory that no running operation names, and freed memory, trap at the access.
// Race check: operations on different streams that touch the same memory, one of them writing, without an event or a host synchronisation
// between them, are a finding whichever order they happened to run in. (Memory that host functions touch is unknown, hence unchecked.)
// Everything is one state for the process, used by one OS thread at a time; fibres may share it, for no call suspends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::sim::cuda {

/// A number in [0, n), n >= 1: every choice the simulated runtime makes.
using Pick = std::function<std::uint32_t(std::uint32_t n)>;

/// When streams run. Any call makes time pass.
enum class Pace : std::uint8_t {
  any,    ///< one of the others, by a pick
  mixed,  ///< some operations at each call
  lazy,   ///< none, until the program waits or polls
  eager,  ///< all that may run
};

/// Forgets everything and starts anew with one device, choosing by the seed or by `pick`. Handles and memory from before are invalid.
void reset(std::uint64_t seed, Pace pace = Pace::any);
void reset(Pick pick, Pace pace = Pace::any);

void set_device_count(int count);
/// Allocations that would pass this total on a device, or of pinned memory, are refused.
void set_memory_limit(std::size_t bytes);

/// What CUDA keeps a host thread: the current device, the last error, how it minds captures, and what it knows to have completed. A rank of a simulation has one.
struct Context {
  int device = 0;
  int last_error = 0;
  std::map<std::uint64_t, std::uint64_t> completed;  ///< stream -> number of its latest operation known to have ended
  int capture_mode = 0;                              ///< a cudaStreamCaptureMode; 0: global
};
constexpr int any_device = -1;

// Faults. `code` is a cudaError_t. A release that fails still releases: the error then stands for earlier work, as with CUDA.
/// The nth call from now (0: the next one) of `name`, as "cudaMalloc", returns `code`; an empty name counts every call, a caller only those in its context.
/// A code that loses the device loses the current one, if the call needs one, or that of the caller, for good.
void fail_call(std::string_view name, std::uint64_t nth, int code, const Context* caller = nullptr, int caller_device = any_device);
/// The nth operation from now to run on a stream (of the device) fails: the device is lost, and every later call on it returns `code`.
void fail_operation(std::uint64_t nth, int code, int device = any_device);
/// Takes back what has not failed yet. True when nothing is left of what was asked for: it has failed.
bool disarm();
/// Misuse that the program's own doubles see: one of findings().
void find(std::string what);

/// Misuse seen so far, a line each, in order.
std::vector<std::string> findings();
/// findings(), then what is still allocated or open.
std::vector<std::string> report();

/// From now on a thread that makes no other call captures a graph in global mode, which forbids to all others what is unsafe: whoever spoils that is a finding.
void capture_elsewhere();

struct Live {
  std::uint64_t device_allocations = 0;
  std::uint64_t pinned_allocations = 0;
  std::uint64_t streams = 0;
  std::uint64_t events = 0;
  std::uint64_t queued_operations = 0;
  std::uint64_t streams_destroyed_busy = 0;  ///< ever, with work under way: legal, the work still runs
  bool operator==(const Live&) const = default;
};
Live live();
/// Calls since the reset, by name.
std::map<std::string, std::uint64_t> calls();

/// Makes `context` the caller's, until the next call; null means the process's own. Returns the one before.
Context* switch_context(Context* context);

}  // namespace holdfast::sim::cuda

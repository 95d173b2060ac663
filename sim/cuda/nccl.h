// A simulated NCCL above the simulated runtime: a table of functions that a data plane takes for a library's. Each rank is a Context of its own.
//
// A group is work on a stream: it posts its sends and receives, and ends when all have been met and moved. Bytes go from the sender to the wire and from
// there to the receiver, each at an adversarial moment, perhaps much later, in order for each pair of ranks; whoever goes before its bytes were taken from the wire takes them
// with it. Communicators get ready, and groups are launched, only after a drawn number of polls. An aborted communicator's work ends some time later; until
// then it still writes, and leaves garbage in what it did not fill.
// Findings: a send that meets a receive of another size, a communicator used when it is aborted, not ready or launching, another device's stream, groups
// that are not ended, communicators that are left.
#pragma once

#include <cstdint>
#include <memory>

#include "sim/cuda/runtime.h"

namespace holdfast::backend {
struct NcclTable;
}

namespace holdfast::sim::cuda {

std::shared_ptr<const backend::NcclTable> simulated_nccl();

/// How a rank learns that one with which it has work under way has aborted or died: over sockets it gets ncclRemoteError, between GPUs that write each
/// other's memory it learns nothing, ever.
enum class PeerDeath : std::uint8_t { any, error, silence };
void set_peer_death(PeerDeath how);

/// The process of this context, which uses this device, is gone, with its communicators and its work. Its calls fail from now on.
void kill_process(const Context& process, int device);
/// Once a communicator of `owner` has launched another group, its nth poll (0: the first one) finds `code`, an ncclResult_t, as its asynchronous error.
void break_communicator(std::uint64_t nth, int code, const Context& owner);
/// No communicator gets ready any more.
void hold_communicators();

}  // namespace holdfast::sim::cuda

#include "sim/cuda/nccl.h"

#include "impl/backend/nccl/table.h"
#include "sim/cuda/nccl_state.h"
#include "sim/tsan.h"

namespace holdfast::sim::cuda {
namespace {

/// A call that does `body` unless it fails first.
template <typename Body>
ncclResult_t call(const char* name, bool needs_device, Body body) {
  const tsan::Inside inside;
  const ncclResult_t entered = nccl().enter(name, needs_device);
  return entered == ncclSuccess ? body(nccl()) : entered;
}

ncclResult_t get_unique_id(ncclUniqueId* id) {
  return call("ncclGetUniqueId", true, [&](Nccl& nccl) { return nccl.make_id(*id); });
}

ncclResult_t init_rank(ncclComm_t* made, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  return call("ncclCommInitRankConfig", true, [&](Nccl& nccl) { return nccl.init(*made, size, id, rank, config); });
}

ncclResult_t get_async_error(ncclComm_t handle, ncclResult_t* error) {
  return call("ncclCommGetAsyncError", false, [&](Nccl& nccl) {
    ncclComm* const communicator = nccl.find("ncclCommGetAsyncError", handle);
    if (communicator == nullptr) return ncclInvalidArgument;
    *error = nccl.poll(*communicator);
    return ncclSuccess;
  });
}

/// It frees also when it fails.
ncclResult_t abort(ncclComm_t handle) {
  const tsan::Inside inside;
  const ncclResult_t entered = nccl().enter("ncclCommAbort", false);
  ncclComm* const communicator = nccl().find("ncclCommAbort", handle);
  if (communicator == nullptr) return ncclInvalidArgument;
  nccl().abort(*communicator);
  return entered;
}

ncclResult_t group_start() {
  return call("ncclGroupStart", false, [](Nccl& nccl) { return nccl.group_start(); });
}

/// It ends the group also when it fails.
ncclResult_t group_end() {
  const tsan::Inside inside;
  const ncclResult_t entered = nccl().enter("ncclGroupEnd", false);
  const ncclResult_t ended = nccl().group_end();
  return entered != ncclSuccess ? entered : ended;
}

ncclResult_t send(const void* memory, std::size_t count, ncclDataType_t type, int peer, ncclComm_t communicator, cudaStream_t stream) {
  return call("ncclSend", true, [&](Nccl& nccl) {
    return nccl.add("ncclSend", {true, const_cast<char*>(static_cast<const char*>(memory)), count, peer}, type, communicator, stream);
  });
}

ncclResult_t receive(void* memory, std::size_t count, ncclDataType_t type, int peer, ncclComm_t communicator, cudaStream_t stream) {
  return call("ncclRecv", true, [&](Nccl& nccl) {
    return nccl.add("ncclRecv", {false, static_cast<char*>(memory), count, peer}, type, communicator, stream);
  });
}

const char* get_error_string(ncclResult_t code) {
  switch (code) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInternalError: return "internal error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* get_last_error(ncclComm_t) { return nccl().last_error.c_str(); }

}  // namespace

std::shared_ptr<const backend::NcclTable> simulated_nccl() {
  return std::make_shared<const backend::NcclTable>(backend::NcclTable{get_error_string, get_last_error, get_unique_id, init_rank,
                                                                       get_async_error, abort, group_start, group_end, send, receive});
}

void set_peer_death(PeerDeath how) { nccl().peer_death = how; }
void kill_process(const Context& process, int device) {
  nccl().kill(process);
  state().lose_process(device);
}
void break_communicator(std::uint64_t nth, int code, const Context& owner) {
  nccl().breaking = Nccl::Break{nth, static_cast<ncclResult_t>(code), &owner, nullptr};
}
void hold_communicators() { nccl().held = true; }

}  // namespace holdfast::sim::cuda

// The functions of NCCL that the back end calls, as pointers: those of a library that was opened, or the simulator's own.
#pragma once

#include <nccl.h>

#include "impl/core/error.h"

namespace holdfast::backend {

/// Null only where library.h says that a function is optional.
struct NcclTable {
  decltype(&::ncclGetErrorString) get_error_string = nullptr;
  decltype(&::ncclGetLastError) get_last_error = nullptr;
  decltype(&::ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&::ncclCommInitRankConfig) comm_init_rank_config = nullptr;
  decltype(&::ncclCommGetAsyncError) comm_get_async_error = nullptr;
  decltype(&::ncclCommAbort) comm_abort = nullptr;
  decltype(&::ncclGroupStart) group_start = nullptr;
  decltype(&::ncclGroupEnd) group_end = nullptr;
  decltype(&::ncclSend) send = nullptr;
  decltype(&::ncclRecv) receive = nullptr;
};

/// "CALL: internal error (what NCCL said last)" as io_error.
Error nccl_error(const NcclTable& table, ncclResult_t code, ncclComm_t communicator, std::string_view call);

}  // namespace holdfast::backend

// The data plane over NCCL: device memory between GPUs, by grouped sends and receives. This header needs no header of CUDA or NCCL; the target
// needs, besides, one CUDA runtime to link (impl/backend/cuda/device.h). Compiled only where HOLDFAST_NCCL_FOUND.
//
// NCCL moves bytes and no more. It does not look at sizes, does not know a deadline, and may be silent about a peer that died. So the ranks of an
// exchange first tell each other over the control plane (port::Net) what they send and expect, find out who takes part at all, and agree on a
// communicator; while NCCL works they listen to each other there; and at the end each waits until its peers are done, too.
#pragma once

#include <memory>

#include "impl/backend/nccl/library/library.h"
#include "impl/port/data_plane.h"
#include "impl/port/net.h"
#include "impl/port/tasks.h"
#include "impl/port/unfinished.h"

namespace holdfast::backend {

struct NcclTable;

/// The functions of an open library.
std::shared_ptr<const NcclTable> nccl_table(const NcclLibrary& library);

/// Must outlive the plane, and what it leaves in `unfinished`.
struct NcclDoors {
  port::Net& net;
  port::Clock& clock;
  port::Tasks& tasks;
  std::shared_ptr<port::Unfinished> unfinished =
      nullptr;  ///< gets what an exchange could not end by its deadline; without one that is forgotten
};

struct NcclOptions {
  std::string name = "holdfast";  ///< of its communicators, in NCCL's logs
  int ctas_max = 4;               ///< blocks that one communicator may occupy on a GPU: training keeps the rest
};

/// port::DataPlane, and more: exchanges of one rank take turns; under one name the sequence rises (invalid_argument). Any ranks may have an exchange
/// without the others; a transfer to oneself is one of NCCL's, too. Host memory is refused (unsupported). What is sent must be there when exchange is
/// called: it waits for no stream.
///
/// A communicator is made by the first exchange, of the ranks that take part, and kept while the same take part. When an exchange fails it is aborted and
/// its work drained before exchange returns, for which the last eighth of the time, at most a second, is kept back; the next exchange makes a new one, of
/// whoever takes part then. If NCCL has not let go of the memory by the deadline, the error says so and `unfinished` has the rest.
///
/// Errors, besides: peer_lost names the rank whose connection ended, or that gave up, and why; io_error is NCCL's or CUDA's reason.
class NcclDataPlane : public port::DataPlane {
 public:
  MemoryKind memory() const override { return MemoryKind::device; }
  /// Ends the communicator. Call before the plane goes; without it, or past the deadline, NCCL keeps the communicator. Errors: timeout.
  virtual Status close(port::Deadline deadline) = 0;
};

/// Moves memory of GPU `device`. Calls nothing of NCCL yet. Errors: as make_cuda_device.
Result<std::unique_ptr<NcclDataPlane>> make_nccl_data_plane(std::shared_ptr<const NcclTable> table, int device, NcclDoors doors,
                                                            NcclOptions options = {});

}  // namespace holdfast::backend

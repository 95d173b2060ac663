// Device over the CUDA runtime. This header needs no CUDA header; the target holdfast_backend.cuda needs, besides, one runtime to link:
// holdfast_cudart_real or the simulated one, holdfast_sim.cuda. Compiled only where HOLDFAST_CUDA_FOUND.
#pragma once

#include <memory>

#include "impl/port/clock.h"
#include "impl/port/device.h"

namespace holdfast::backend {

/// May be called from any thread; each call selects the device and puts the caller's choice back. A stream or an event that is not open
/// is a CHECK, but for record(), whose stream a user may have named: invalid_argument. Buffers may outlive the device. Its own streams do not synchronise with CUDA's
/// default stream. The destructor waits for the work on the device's streams, since staging areas of its own are in use until then.
///
/// Capture of CUDA graphs, by whatever thread: each call lets its thread do what a capture in global mode forbids to all (cudaThreadExchangeStreamCaptureMode), and puts the
/// mode back, so that saving neither fails nor spoils a capture. Work on a stream of the caller's that is capturing is refused with invalid_argument: it would
/// become a part of the graph. So is work on the legacy default stream while a stream that synchronises with it is capturing. Either capture goes on.
///
/// Memory: whatever the device can read and write. What is usable only in the order of a stream (cudaMallocAsync) is used in that order by who waits for an event of that stream
/// (SaveOptions::after); a tensor may lie across several physical mappings of a virtual address range.
///
/// allocate_staging: pages on the NUMA node nearest to the GPU, huge where they can be, touched and then pinned; that takes longer than to fill them, so whoever needs
/// staging again keeps it (StagingPool).
/// stage, unstage: the other side may be host or device memory (unified addressing); into or out of pageable host memory CUDA may block the caller, so use
///   allocate_staging. One call of many small blocks costs as many calls of CUDA as one of two; README.md says how. That holds for memory that the device
///   has allocated: any other memory has a copy for each block.
/// Blocks in host memory (MemoryKind::host) are copied and digested by the CPU, in stream order; their staging must be host memory too.
/// Digests: elements must be aligned to min(4, their size), which is refused before anything is enqueued. *digest is written in stream order, by a function
/// that CUDA runs on the host.
/// Owners are let go when an event after the work is synchronised, or destroyed complete, or the stream is destroyed and its work over.
/// synchronize: polls, sleeping through the clock, 20 us at first and at most 1 ms.
///
/// Errors name the call, the device and the stream: "cudaMemcpyAsync(4096 bytes) on device 0, stream 3: out of memory". Some failures lose
/// the device to the process. The first then names the work that was under way on its stream, of an event the work that it stands for; every later call repeats it.
class CudaDevice : public port::Device {
 public:
  /// Makes a cudaStream_t of the caller's usable here, as SaveOptions::after, LoadOptions::after or TransferOptions::after, for one call or for many:
  ///   const port::StreamId trainer = device->view_stream(stream).value();  // PyTorch: at::cuda::getCurrentCUDAStream().stream()
  ///   checkpoints.async_save(state, {.step = step, .after = trainer});     // reads the tensors after what `stream` has been given so far
  /// Any stream of this device: blocking or not; null, or cudaStreamLegacy, for the legacy default stream; cudaStreamPerThread, which is another one on each thread that uses
  /// the view; who gives it work destroys the view on the same thread. (Null is the legacy one also for code compiled with per-thread default streams: that passes cudaStreamPerThread.)
  /// It stays the caller's: destroy_stream only forgets it. It must outlive that call and this device. Waits for nothing.
  virtual Result<port::StreamId> view_stream(void* cuda_stream) = 0;
};

/// Number of GPUs, at least 1. Errors: unsupported, with CUDA's reason, where there is none or no driver for it; else io_error.
Result<int> cuda_device_count();

/// Opens GPU `ordinal`; `clock` must outlive the device. Blocks for one 64 KiB upload. Errors: as cuda_device_count, invalid_argument for
/// an ordinal that is not there, out_of_memory.
Result<std::unique_ptr<CudaDevice>> make_cuda_device(int ordinal, port::Clock& clock);

}  // namespace holdfast::backend

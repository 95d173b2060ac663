#include "sim/cuda/capture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "sim/cuda/state.h"

namespace holdfast::sim::cuda {
namespace {

/// Those of the calls here that do not go to a stream, and are no questions.
constexpr std::array<std::string_view, 21> unsafe{
    "cudaHostRegister",
    "cudaHostUnregister",
    "cudaMalloc",
    "cudaFree",
    "cudaHostAlloc",
    "cudaFreeHost",
    "cudaStreamCreateWithFlags",
    "cudaStreamDestroy",
    "cudaEventDestroy",
    "cudaEventQuery",
    "cudaEventSynchronize",
    "cudaEventCreateWithFlags",
    "cudaMemPoolCreate",
    "cudaMemPoolDestroy",
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cuMemCreate",
    "cuMemMap",
    "cuMemUnmap",
    "cuMemSetAccess",
    "cuMemRelease",
};

}  // namespace

cudaError_t Captures::begin(CUstream_st& on, cudaStreamCaptureMode mode) {
  if (state_.is_legacy(on)) return cudaErrorStreamCaptureUnsupported;
  if (on.capture) return cudaErrorIllegalState;
  on.capture = Capture{&state_.context(), mode};
  capturing_.push_back(&on);
  return cudaSuccess;
}

void Captures::begin_elsewhere() {
  CUstream_st& on = state_.create_wire();
  on.capture = Capture{&elsewhere_, cudaStreamCaptureModeGlobal};
  capturing_.push_back(&on);
}

cudaError_t Captures::end(CUstream_st& on, cudaGraph_t* graph) {
  if (!on.capture) return cudaErrorIllegalState;
  if (on.capture->mode != cudaStreamCaptureModeRelaxed && on.capture->thread != &state_.context()) return cudaErrorStreamCaptureWrongThread;
  const Capture capture = *on.capture;
  on.capture.reset();
  std::erase(capturing_, &on);
  *graph = nullptr;
  if (!capture.valid) return cudaErrorStreamCaptureInvalidated;
  auto& made = graphs_.emplace_back(std::make_unique<CUgraph_st>());
  made->id = state_.next_id();
  made->operations = capture.operations;
  *graph = made.get();
  return cudaSuccess;
}

CUstream_st* Captures::blocking_on(int device) const {
  const auto found = std::ranges::find_if(capturing_, [&](const CUstream_st* on) { return on->blocking && on->device == device; });
  return found == capturing_.end() ? nullptr : *found;
}

cudaError_t Captures::status(const CUstream_st& on, cudaStreamCaptureStatus* status) const {
  if (state_.is_legacy(on) && blocking_on(on.device) != nullptr) return cudaErrorStreamCaptureImplicit;
  *status = !on.capture         ? cudaStreamCaptureStatusNone
            : on.capture->valid ? cudaStreamCaptureStatusActive
                                : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}

bool Captures::allow(const char* call) {
  const Context& caller = state_.context();
  if (caller.capture_mode == cudaStreamCaptureModeRelaxed || std::ranges::find(unsafe, call) == unsafe.end()) return true;
  bool allowed = true;
  for (CUstream_st* on : capturing_) {
    const Capture& capture = *on->capture;
    const bool minds = capture.thread == &caller
                           ? capture.mode != cudaStreamCaptureModeRelaxed
                           : caller.capture_mode == cudaStreamCaptureModeGlobal && capture.mode == cudaStreamCaptureModeGlobal;
    if (!minds) continue;
    spoil(*on, call);
    allowed = false;
  }
  return allowed;
}

std::optional<cudaError_t> Captures::take(CUstream_st& on, const std::string& what) {
  if (on.capture) {
    if (!on.capture->valid) return cudaErrorStreamCaptureInvalidated;
    ++on.capture->operations;
    return cudaSuccess;
  }
  CUstream_st* const other = state_.is_legacy(on) ? blocking_on(on.device) : nullptr;
  if (other == nullptr) return std::nullopt;
  spoil(*other, what + " on the legacy default stream");
  return cudaErrorStreamCaptureImplicit;
}

cudaError_t Captures::conflict(CUstream_st& on, const char* call) {
  if (on.capture) spoil(on, call);
  return cudaErrorStreamCaptureUnsupported;
}

void Captures::spoil(CUstream_st& on, const std::string& what) {
  on.capture->valid = false;
  state_.find(fmt::format("{} spoils what stream {} captures", what, on.id));
}

CUgraph_st* Captures::graph(cudaGraph_t handle, const char* call) {
  const auto found = std::ranges::find(graphs_, handle, &std::unique_ptr<CUgraph_st>::get);
  if (found != graphs_.end() && handle->open) return handle;
  state_.find(fmt::format("{}: the graph is {}", call, found == graphs_.end() ? "unknown" : "destroyed"));
  return nullptr;
}

void Captures::report(std::vector<std::string>& lines) const {
  for (const CUstream_st* on : capturing_) {
    if (on->capture->thread != &elsewhere_) lines.push_back(fmt::format("stream {} is still capturing", on->id));
  }
  for (const auto& graph : graphs_) {
    if (graph->open) lines.push_back(fmt::format("leak: graph {} of {} operations", graph->id, graph->operations));
  }
}

}  // namespace holdfast::sim::cuda

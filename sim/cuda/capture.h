// Streams that capture graphs, and what nobody may do meanwhile.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/cuda/objects.h"
#include "sim/cuda/runtime.h"

namespace holdfast::sim::cuda {

class State;

class Captures {
 public:
  explicit Captures(State& state) : state_(state), elsewhere_() {}

  cudaError_t begin(CUstream_st& on, cudaStreamCaptureMode mode);
  cudaError_t end(CUstream_st& on, cudaGraph_t* graph);
  /// A thread that makes no other call captures in global mode, from now on.
  void begin_elsewhere();
  /// Spoils nothing, whatever it answers.
  cudaError_t status(const CUstream_st& on, cudaStreamCaptureStatus* status) const;

  /// Whether the caller's thread may make the call. If not, it is a finding, and spoils the captures that mind it.
  bool allow(const char* call);
  /// What comes of work that is given to the stream, where that is not to be queued: it is captured, or it spoils a capture.
  std::optional<cudaError_t> take(CUstream_st& on, const std::string& what);
  /// A call that makes no sense of a stream that captures: a finding, and spoils the capture.
  cudaError_t conflict(CUstream_st& on, const char* call);

  /// A handle that is not open is a finding and null.
  CUgraph_st* graph(cudaGraph_t handle, const char* call);
  void report(std::vector<std::string>& lines) const;

 private:
  void spoil(CUstream_st& on, const std::string& what);
  CUstream_st* blocking_on(int device) const;

  State& state_;
  const Context elsewhere_;
  std::vector<CUstream_st*> capturing_;
  std::vector<std::unique_ptr<CUgraph_st>> graphs_;  ///< never removed
};

}  // namespace holdfast::sim::cuda

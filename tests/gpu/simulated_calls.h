// For tests that call the simulated runtime as CUDA is called.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

#include "sim/cuda/runtime.h"

namespace holdfast::sim::cuda {

inline cudaStream_t new_stream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, flags), cudaSuccess);
  return stream;
}

inline cudaEvent_t new_event() {
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
  return event;
}

inline void* new_memory(std::size_t bytes) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, bytes), cudaSuccess);
  return memory;
}

inline char* new_pinned(std::size_t bytes) {
  void* memory = nullptr;
  EXPECT_EQ(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), cudaSuccess);
  return static_cast<char*>(memory);
}

/// True when a finding contains the text.
inline bool found(std::string_view text) {
  const auto all = findings();
  return std::ranges::any_of(all, [&](const std::string& finding) { return finding.find(text) != std::string::npos; });
}

}  // namespace holdfast::sim::cuda

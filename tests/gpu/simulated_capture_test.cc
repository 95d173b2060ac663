// The simulated runtime on captures and default streams: what CUDA forbids meanwhile fails, spoils the capture and is a finding that names the call.
#include <utility>
#include <vector>

#include "tests/gpu/simulated_calls.h"

namespace holdfast::sim::cuda {
namespace {

constexpr cudaStreamCaptureMode global = cudaStreamCaptureModeGlobal, thread_local_mode = cudaStreamCaptureModeThreadLocal,
                                relaxed = cudaStreamCaptureModeRelaxed;

cudaStreamCaptureMode exchange_mode(cudaStreamCaptureMode mode) {
  EXPECT_EQ(cudaThreadExchangeStreamCaptureMode(&mode), cudaSuccess);
  return mode;
}

/// Ends the capture; the operations in its graph, or nothing where it was spoilt.
std::optional<std::size_t> end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  const cudaError_t code = cudaStreamEndCapture(stream, &graph);
  if (code == cudaErrorStreamCaptureInvalidated) return std::nullopt;
  EXPECT_EQ(code, cudaSuccess);
  std::size_t operations = 0;
  EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &operations), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  return operations;
}

TEST(SimulatedCapture, WorkIsCountedAndDoesNotRun) {
  reset(1, Pace::eager);
  char* memory = new_pinned(16);
  const cudaStream_t stream = new_stream();
  EXPECT_EQ(cudaStreamBeginCapture(stream, global), cudaSuccess);
  EXPECT_EQ(cudaStreamBeginCapture(stream, global), cudaErrorIllegalState);
  EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, stream), cudaSuccess);
  EXPECT_EQ(end(stream), 1u);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(static_cast<unsigned char>(memory[0]), 0xEE);
  EXPECT_TRUE(findings().empty());
}

TEST(SimulatedCapture, WhoMayCallWhatIsUnsafeDependsOnTheCaptureAndOnTheCallersMode) {
  // By mode of the capture, of the caller, and whether it is the caller's own: who is forbidden to allocate.
  const auto forbidden = [](cudaStreamCaptureMode capture, cudaStreamCaptureMode caller, bool own) {
    if (caller == relaxed) return false;
    return own ? capture != relaxed : caller == global && capture == global;
  };
  for (const auto capture : {global, thread_local_mode, relaxed}) {
    for (const auto caller : {global, thread_local_mode, relaxed}) {
      for (const bool own : {true, false}) {
        reset(1);
        Context other;
        const cudaStream_t stream = new_stream();
        Context* const self = own ? nullptr : switch_context(&other);
        EXPECT_EQ(cudaStreamBeginCapture(stream, capture), cudaSuccess);
        if (!own) switch_context(self);
        EXPECT_EQ(exchange_mode(caller), global);
        void* memory = nullptr;
        const bool must_fail = forbidden(capture, caller, own);
        EXPECT_EQ(cudaMalloc(&memory, 16), must_fail ? cudaErrorStreamCaptureUnsupported : cudaSuccess) << capture << caller << own;
        EXPECT_EQ(found("cudaMalloc spoils what stream 0 captures"), must_fail);
        EXPECT_EQ(exchange_mode(global), caller);
        if (!own) switch_context(&other);
        EXPECT_EQ(end(stream), must_fail ? std::nullopt : std::optional<std::size_t>(0));
        switch_context(nullptr);
      }
    }
  }
}

TEST(SimulatedCapture, EnqueueingElsewhereAndAskingIsAllowed) {
  reset(1);
  void* memory = new_memory(16);
  const cudaStream_t capturing = new_stream(), stream = new_stream();
  const cudaEvent_t event = new_event();
  EXPECT_EQ(cudaStreamBeginCapture(capturing, global), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaSuccess);
  EXPECT_EQ(end(capturing), 0u);
  EXPECT_TRUE(findings().empty());
}

TEST(SimulatedCapture, WhatMakesNoSenseOfACapturingStreamSpoilsItInAnyMode) {
  const auto spoils = [](std::string_view call, auto body) {
    reset(1);
    const cudaStream_t stream = new_stream();
    const cudaEvent_t event = new_event();
    EXPECT_EQ(cudaStreamBeginCapture(stream, relaxed), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
    (void)exchange_mode(relaxed);
    EXPECT_EQ(body(stream, event), cudaErrorStreamCaptureUnsupported) << call;
    EXPECT_TRUE(found(std::string(call) + " spoils what stream 0 captures")) << call;
    EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(end(stream), std::nullopt);
  };
  spoils("cudaEventQuery", [](cudaStream_t, cudaEvent_t event) { return cudaEventQuery(event); });
  spoils("cudaEventSynchronize", [](cudaStream_t, cudaEvent_t event) { return cudaEventSynchronize(event); });
  spoils("cudaStreamSynchronize", [](cudaStream_t stream, cudaEvent_t) { return cudaStreamSynchronize(stream); });
  spoils("cudaStreamDestroy", [](cudaStream_t stream, cudaEvent_t) { return cudaStreamDestroy(stream); });
}

TEST(SimulatedCapture, TheLegacyStreamMayNotBeUsedBesideABlockingOneThatCaptures) {
  for (const unsigned flags : {cudaStreamDefault, cudaStreamNonBlocking}) {
    reset(1);
    const bool blocking = flags == cudaStreamDefault;
    void* memory = new_memory(16);
    const cudaStream_t stream = new_stream(flags);
    EXPECT_EQ(cudaStreamBeginCapture(nullptr, relaxed), cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(cudaStreamBeginCapture(stream, relaxed), cudaSuccess);
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusInvalidated;
    EXPECT_EQ(cudaStreamIsCapturing(cudaStreamLegacy, &status), blocking ? cudaErrorStreamCaptureImplicit : cudaSuccess);
    EXPECT_EQ(cudaStreamIsCapturing(stream, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusActive);
    EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, nullptr), blocking ? cudaErrorStreamCaptureImplicit : cudaSuccess);
    EXPECT_EQ(found("cudaMemsetAsync(16 bytes) on the legacy default stream spoils what stream 1 captures"), blocking);
    EXPECT_EQ(cudaStreamIsCapturing(stream, &status), cudaSuccess);
    EXPECT_EQ(status, blocking ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive);
    EXPECT_EQ(end(stream).has_value(), !blocking);
  }
}

TEST(SimulatedCapture, OnlyTheThreadThatBeganItEndsIt) {
  reset(1);
  const cudaStream_t stream = new_stream();
  EXPECT_EQ(cudaStreamBeginCapture(stream, thread_local_mode), cudaSuccess);
  Context other;
  switch_context(&other);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureWrongThread);
  switch_context(nullptr);
  EXPECT_EQ(report(), (std::vector<std::string>{"leak: stream 0", "stream 0 is still capturing"}));
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  EXPECT_EQ(report(), (std::vector<std::string>{"leak: stream 0", "leak: graph 1 of 0 operations"}));
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaErrorInvalidResourceHandle);
  EXPECT_TRUE(found("cudaGraphDestroy: the graph is destroyed"));
}

TEST(SimulatedStreams, NullAndTwoValuesAreTheDefaultStreamsAndThoseOfThreadsSynchroniseWithTheLegacyOne) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    reset(seed);
    char* memory = new_pinned(16);
    Context other;
    EXPECT_EQ(cudaMemsetAsync(memory, 1, 16, cudaStreamPerThread), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 2, 16, nullptr), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 3, 16, cudaStreamLegacy), cudaSuccess);
    switch_context(&other);
    EXPECT_EQ(cudaMemsetAsync(memory, 4, 16, cudaStreamPerThread), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(cudaStreamPerThread), cudaSuccess);
    EXPECT_EQ(memory[15], 4);
    EXPECT_TRUE(findings().empty());
    EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, cudaStreamPerThread), cudaSuccess);
    switch_context(nullptr);
    EXPECT_EQ(cudaMemsetAsync(memory, 6, 16, cudaStreamPerThread), cudaSuccess);
    EXPECT_TRUE(found("race: nothing orders cudaMemsetAsync(16 bytes)")) << "the streams of two threads have no order";
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaFreeHost(memory), cudaSuccess);
    EXPECT_EQ(live(), Live());
  }
}

}  // namespace
}  // namespace holdfast::sim::cuda

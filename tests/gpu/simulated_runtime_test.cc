// The simulated CUDA runtime, called as CUDA is called: what it lets pass and what it finds.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "tests/gpu/simulated_calls.h"

namespace holdfast::sim::cuda {
namespace {

TEST(SimulatedCuda, ReportsEverythingThatIsLeftOpen) {
  reset(1);
  (void)new_stream();
  (void)new_event();
  (void)new_memory(100);
  (void)new_pinned(200);
  EXPECT_EQ(report(), (std::vector<std::string>{"leak: stream 0", "leak: event 1", "leak: device allocation 2 of 100 bytes",
                                                "leak: pinned allocation 3 of 200 bytes"}));
  reset(1);
  EXPECT_TRUE(report().empty());
}

TEST(SimulatedCuda, FindsDoubleFreeForeignFreeAndUseAfterFree) {
  reset(1);
  void* memory = new_memory(16);
  char* pinned = new_pinned(16);
  EXPECT_EQ(cudaFree(pinned), cudaErrorInvalidValue);
  EXPECT_TRUE(found("cudaFree: the address was never allocated as such"));
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  EXPECT_TRUE(found("cudaFree: double free of device allocation 0 of 16 bytes"));
  EXPECT_EQ(cudaMemsetAsync(memory, 0, 16, new_stream()), cudaErrorInvalidValue);
  EXPECT_TRUE(found("cudaMemsetAsync(16 bytes) uses device allocation 0 of 16 bytes after it was freed"));
}

TEST(SimulatedCuda, FindsMemoryFreedUnderRunningWork) {
  reset(1, Pace::eager);
  void* memory = new_memory(16);
  const cudaStream_t stream = new_stream();
  EXPECT_EQ(cudaMemsetAsync(memory, 0, 16, stream), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_TRUE(found("cudaFree: device allocation 0 of 16 bytes is freed while cudaMemsetAsync(16 bytes) may still use it"));
}

TEST(SimulatedCuda, FindsCopiesOutOfBoundsAndOfUnknownMemory) {
  reset(1);
  const cudaStream_t stream = new_stream();
  auto* memory = static_cast<char*>(new_memory(16));
  std::array<char, 32> host{};
  EXPECT_EQ(cudaMemcpyAsync(host.data(), memory + 8, 16, cudaMemcpyDeviceToHost, stream), cudaErrorInvalidValue);
  EXPECT_TRUE(found("touches bytes [8, 24) of device allocation"));
  EXPECT_EQ(cudaMemcpyAsync(host.data(), host.data() + 16, 16, cudaMemcpyHostToDevice, stream), cudaErrorInvalidValue);
  EXPECT_TRUE(found("neither device nor pinned memory"));
}

TEST(SimulatedCuda, RegisteredMemoryIsPinnedAndKeepsItsBytes) {
  reset(1, Pace::lazy);
  std::array<char, 32> own{};
  own.fill(7);
  const cudaStream_t stream = new_stream();
  void* memory = new_memory(32);
  ASSERT_EQ(cudaHostRegister(own.data(), own.size(), cudaHostRegisterPortable), cudaSuccess);
  EXPECT_EQ(own[31], 7);
  EXPECT_EQ(live().pinned_allocations, 1u);
  EXPECT_EQ(cudaHostRegister(own.data() + 16, 8, cudaHostRegisterDefault), cudaErrorHostMemoryAlreadyRegistered);
  EXPECT_TRUE(found("cudaHostRegister: 8 bytes overlap registered allocation 2 of 32 bytes"));
  EXPECT_EQ(cudaFreeHost(own.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(memory, 5, 32, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(own.data(), memory, 32, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_NE(own[0], 5) << "the copy has not run yet";
  EXPECT_EQ(report().back(), "leak: registered allocation 2 of 32 bytes");
  EXPECT_EQ(cudaHostUnregister(own.data()), cudaSuccess);
  EXPECT_TRUE(found(
      "cudaHostUnregister: registered allocation 2 of 32 bytes is unregistered while cudaMemcpyAsync(1 x 32 bytes) may still use it"));
  EXPECT_EQ(cudaHostUnregister(own.data()), cudaErrorHostMemoryNotRegistered);
  EXPECT_TRUE(found("cudaHostUnregister: the address was never registered"));
}

TEST(SimulatedCuda, ACopyOfPageableMemoryKeepsNothingOfItWhenTheCallReturns) {
  reset(1, Pace::lazy);
  std::array<char, 16> own{};
  own.fill(7);
  const cudaStream_t stream = new_stream();
  void* memory = new_memory(16);
  EXPECT_EQ(cudaMemcpyAsync(memory, own.data(), 16, cudaMemcpyHostToDevice, stream), cudaSuccess);
  EXPECT_EQ(live().queued_operations, 1u);
  own.fill(8);
  EXPECT_EQ(cudaMemcpyAsync(own.data(), memory, 16, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(live().queued_operations, 0u);
  EXPECT_EQ(own, (std::array<char, 16>{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}));
}

TEST(SimulatedCuda, FindsHandlesThatAreClosedOrUnknown) {
  reset(1);
  const cudaStream_t stream = new_stream();
  const cudaEvent_t event = new_event();
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, stream), cudaErrorInvalidResourceHandle);
  EXPECT_TRUE(found("cudaEventRecord: the stream is destroyed"));
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
  EXPECT_TRUE(found("cudaEventDestroy: the event is destroyed"));
  int local = 0;
  EXPECT_EQ(cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(&local)), cudaErrorInvalidResourceHandle);
  EXPECT_TRUE(found("cudaStreamSynchronize: the stream is unknown"));
}

TEST(SimulatedCuda, ADestroyedStreamsWorkStillRuns) {
  reset(1, Pace::lazy);
  void* memory = new_memory(16);
  char* pinned = new_pinned(16);
  const cudaStream_t stream = new_stream();
  EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned, memory, 16, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(live().streams_destroyed_busy, 1u);
  EXPECT_EQ(live().queued_operations, 2u);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(pinned[15], 5);
}

/// Fills memory on one stream and reads it on another; `tie` puts the order between them.
template <typename Tie>
std::string cross_streams(Tie tie) {
  void* memory = new_memory(16);
  char* pinned = new_pinned(16);
  const cudaStream_t first = new_stream(), second = new_stream();
  (void)cudaMemsetAsync(memory, 5, 16, first);
  tie(first, second);
  (void)cudaMemcpyAsync(pinned, memory, 16, cudaMemcpyDeviceToHost, second);
  (void)cudaStreamSynchronize(second);
  return {pinned, 16};
}

TEST(SimulatedCuda, OrdersStreamsByEventsAndByTheHost) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    reset(seed);
    EXPECT_EQ(cross_streams([](cudaStream_t first, cudaStream_t second) {
                const cudaEvent_t event = new_event();
                (void)cudaEventRecord(event, first);
                (void)cudaStreamWaitEvent(second, event, 0);
              }),
              std::string(16, 5));
    EXPECT_TRUE(findings().empty());
    reset(seed);
    EXPECT_EQ(cross_streams([](cudaStream_t first, cudaStream_t) { (void)cudaStreamSynchronize(first); }), std::string(16, 5));
    EXPECT_TRUE(findings().empty());
  }
}

TEST(SimulatedCuda, FindsARaceWhicheverOrderWasRun) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    reset(seed);
    seen.insert(cross_streams([](cudaStream_t, cudaStream_t) {}));
    EXPECT_TRUE(found("race: nothing orders cudaMemsetAsync(16 bytes) on stream 2 and cudaMemcpyAsync(1 x 16 bytes) on stream 3")) << seed;
  }
  EXPECT_TRUE(seen.contains(std::string(16, 5))) << "both orders are legal, and both are tried";
  EXPECT_GT(seen.size(), 1u);
}

TEST(SimulatedCuda, AnEventRecordedTooEarlyOrdersNothing) {
  reset(1);
  (void)cross_streams([](cudaStream_t first, cudaStream_t second) {
    const cudaEvent_t event = new_event();
    (void)cudaStreamWaitEvent(second, event, 0);  // never recorded: CUDA does not wait
    (void)cudaEventRecord(event, first);
  });
  EXPECT_TRUE(found("race: nothing orders"));
}

TEST(SimulatedCuda, TheDefaultStreamOrdersBlockingStreamsAndOnlyThose) {
  for (const bool blocking : {true, false}) {
    reset(3);
    void* memory = new_memory(16);
    cudaStream_t stream = nullptr;
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, blocking ? cudaStreamDefault : cudaStreamNonBlocking), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 1, 16, nullptr), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 2, 16, stream), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 3, 16, nullptr), cudaSuccess);
    EXPECT_EQ(found("race"), !blocking);
    char* pinned = new_pinned(16);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_EQ(cudaMemcpyAsync(pinned, memory, 16, cudaMemcpyDefault, nullptr), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
    if (blocking) {
      EXPECT_EQ(pinned[0], 3);
    }
  }
}

TEST(SimulatedCuda, FreshMemoryIsPoisonAndSoIsADestinationBeforeItsCopy) {
  reset(1, Pace::lazy);
  void* memory = new_memory(16);
  char* pinned = new_pinned(16);
  EXPECT_EQ(pinned[0], static_cast<char>(0xEE));
  const cudaStream_t stream = new_stream();
  EXPECT_EQ(cudaMemcpyAsync(pinned, memory, 16, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(pinned[0], static_cast<char>(0xDB));
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_EQ(pinned[0], static_cast<char>(0xCD));
}

#if defined(__SANITIZE_ADDRESS__)
TEST(SimulatedCudaDeathTest, TheHostCannotTouchDeviceMemory) {
  reset(1);
  auto* memory = static_cast<volatile char*>(new_memory(16));
  EXPECT_DEATH((void)memory[3], "use-after-poison");
}
#endif

TEST(SimulatedCuda, ALostDeviceAnswersEverythingWithItsError) {
  reset(1, Pace::lazy);
  fail_operation(0, cudaErrorECCUncorrectable);
  void* memory = new_memory(16);
  const cudaStream_t stream = new_stream();
  EXPECT_EQ(cudaMemsetAsync(memory, 0, 16, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorECCUncorrectable);
  void* more = nullptr;
  EXPECT_EQ(cudaMalloc(&more, 16), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaErrorECCUncorrectable);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(SimulatedCuda, RanksHaveDevicesAndErrorsOfTheirOwn) {
  reset(1);
  set_device_count(2);
  Context rank;
  Context* before = switch_context(&rank);
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(cudaSetDevice(7), cudaErrorInvalidDevice);
  switch_context(before);
  int device = -1;
  EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
  EXPECT_EQ(rank.last_error, cudaErrorInvalidDevice);
}

TEST(SimulatedCuda, WhatItCannotDoIsAnErrorAndAFinding) {
  reset(1);
  void* memory = nullptr;
  EXPECT_EQ(cudaHostAlloc(&memory, 16, cudaHostAllocMapped), cudaErrorNotSupported);
  EXPECT_TRUE(found("cudaHostAlloc: the simulated runtime has no mapped or write-combined memory"));
  int argument = 0;
  void* arguments[] = {&argument};
  EXPECT_EQ(cudaLaunchKernel(&argument, dim3(1), dim3(256), arguments, 0, nullptr), cudaErrorInvalidDeviceFunction);
  EXPECT_TRUE(found("cudaLaunchKernel: no twin of that kernel"));
}

TEST(SimulatedCuda, AHostFunctionMayNotCallTheRuntime) {
  reset(1);
  const cudaStream_t stream = new_stream();
  int device = 0;
  EXPECT_EQ(cudaLaunchHostFunc(stream, [](void* out) { (void)cudaGetDevice(static_cast<int*>(out)); }, &device), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  EXPECT_TRUE(found("cudaGetDevice: called from a host function"));
}

TEST(SimulatedCuda, TheCallersPicksDecideEverything) {
  const auto run = [](std::uint32_t choice) {
    reset([choice](std::uint32_t n) { return choice % n; }, Pace::mixed);
    return cross_streams([](cudaStream_t, cudaStream_t) {});
  };
  EXPECT_EQ(run(1), run(1));
}

}  // namespace
}  // namespace holdfast::sim::cuda

// The simulated runtime on memory that is there only in the order of a stream, and on memory mapped into a range of addresses.
#include "tests/gpu/mapped_memory.h"
#include "tests/gpu/simulated_calls.h"

namespace holdfast::sim::cuda {
namespace {

using testing_cuda::MappedMemory;

void* new_ordered(std::size_t bytes, cudaStream_t stream) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMallocAsync(&memory, bytes, stream), cudaSuccess);
  return memory;
}

TEST(SimulatedMemory, AStreamOrderedAllocationIsThereInTheOrderOfItsStream) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    reset(seed);
    const cudaStream_t first = new_stream(), second = new_stream();
    void* memory = new_ordered(16, first);
    const cudaEvent_t event = new_event();
    EXPECT_EQ(cudaEventRecord(event, first), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(second, event, 0), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, second), cudaSuccess);
    EXPECT_EQ(cudaFreeAsync(memory, second), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_TRUE(findings().empty()) << findings().front();
    EXPECT_EQ(live().device_allocations, 0u);
  }
}

TEST(SimulatedMemory, ItsUseBeforeThatIsFoundWhateverTheSchedule) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    reset(seed);
    const cudaStream_t first = new_stream(), second = new_stream();
    cudaMemPool_t pool = nullptr;
    EXPECT_EQ(cudaDeviceGetDefaultMemPool(&pool, 0), cudaSuccess);
    void* memory = nullptr;
    EXPECT_EQ(cudaMallocFromPoolAsync(&memory, 16, pool, first), cudaSuccess);
    EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, second), cudaSuccess);
    EXPECT_TRUE(found("race: nothing orders cudaMallocFromPoolAsync(16 bytes) on stream 0 and cudaMemsetAsync(16 bytes) on stream 1"));
  }
}

TEST(SimulatedMemory, ItsUseAfterItWasFreedIsFound) {
  reset(1, Pace::lazy);
  const cudaStream_t first = new_stream(), second = new_stream();
  void* memory = new_ordered(16, first);
  EXPECT_EQ(cudaStreamSynchronize(first), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, second), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(memory, first), cudaSuccess);
  EXPECT_TRUE(found("race: nothing orders cudaMemsetAsync(16 bytes) on stream 1 and cudaFreeAsync on stream 0"));
  EXPECT_EQ(cudaMemsetAsync(memory, 5, 16, first), cudaErrorInvalidValue);
  EXPECT_TRUE(found("cudaMemsetAsync(16 bytes) uses device allocation 2 of 16 bytes after cudaFreeAsync"));
  EXPECT_EQ(cudaFreeAsync(memory, first), cudaErrorInvalidValue);
  EXPECT_TRUE(found("cudaFreeAsync: double free of device allocation 2 of 16 bytes"));
  EXPECT_EQ(cudaFreeAsync(new_memory(16), first), cudaErrorInvalidValue);
  EXPECT_TRUE(found("cudaFreeAsync: the address was never allocated as such"));
}

TEST(SimulatedMemory, PoolsThatAreLeftOrClosedAreTold) {
  reset(1);
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t pool = nullptr;
  EXPECT_EQ(cudaMemPoolCreate(&pool, &properties), cudaSuccess);
  EXPECT_EQ(report(), (std::vector<std::string>{"leak: pool 0"}));
  EXPECT_EQ(cudaMemPoolDestroy(pool), cudaSuccess);
  void* memory = nullptr;
  EXPECT_EQ(cudaMallocFromPoolAsync(&memory, 16, pool, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(report(), (std::vector<std::string>{"cudaMallocFromPoolAsync: the pool is destroyed"}));
}

TEST(SimulatedMemory, ACopyMayCrossMappingsAndNotTheirEnd) {
  reset(1);
  {
    const MappedMemory memory = MappedMemory::make(2).value();
    const cudaStream_t stream = new_stream();
    std::byte* const begin = memory.bytes().data();
    const std::size_t page = memory.page_bytes();
    EXPECT_EQ(cudaMemsetAsync(begin, 7, 2 * page, stream), cudaSuccess);
    char* pinned = new_pinned(64);
    EXPECT_EQ(cudaMemcpyAsync(pinned, begin + page - 32, 64, cudaMemcpyDeviceToHost, stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
    EXPECT_EQ(std::string_view(pinned, 64), std::string(64, 7));
    EXPECT_TRUE(findings().empty()) << findings().front();

    EXPECT_EQ(cudaMemsetAsync(begin + page, 7, page + 1, stream), cudaErrorInvalidValue);
    EXPECT_TRUE(found("and 1 bytes after it, where nothing is mapped"));
    EXPECT_EQ(cudaMemcpyAsync(pinned, begin - 1, 1, cudaMemcpyDefault, stream), cudaErrorInvalidValue);
    EXPECT_TRUE(found("touches reserved addresses where nothing is mapped"));
    EXPECT_EQ(cudaFree(begin), cudaErrorInvalidValue);
    EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  }
  EXPECT_EQ(live(), Live()) << "whole mappings, their memory and their addresses are given back";
  EXPECT_EQ(report().size(), findings().size());
}

TEST(SimulatedMemory, MemoryThatIsUnmappedUnderRunningWorkIsFound) {
  reset(1);
  const cudaStream_t stream = new_stream();
  {
    const MappedMemory memory = MappedMemory::make(1).value();
    EXPECT_EQ(cudaMemsetAsync(memory.bytes().data(), 7, 16, stream), cudaSuccess);
  }
  EXPECT_TRUE(found("is unmapped while cudaMemsetAsync(16 bytes) may still use it"));
}

}  // namespace
}  // namespace holdfast::sim::cuda

#include "tests/gpu/trainer_cases.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "tests/conformance/expect.h"
#include "tests/gpu/mapped_memory.h"
#include "tests/sim/cuda/random_blocks.h"

namespace holdfast::testing_cuda {
namespace {

using backend::CudaDevice;
using conformance::expect;
using port::StreamId;

constexpr std::size_t tensor_bytes = 4096;

Status held(cudaError_t code, const char* call, std::source_location where = std::source_location::current()) {
  if (code == cudaSuccess) return {};
  (void)cudaGetLastError();
  return conformance::failed_at(where, fmt::format("{}: {}", call, cudaGetErrorString(code)));
}
#define HELD(call) TRY(held(call, #call))

/// A stream of the trainer's, and its view.
struct Trainer {
  cudaStream_t stream = nullptr;
  StreamId view = {};
};

Result<cudaStream_t> new_stream(unsigned flags) {
  cudaStream_t stream = nullptr;
  HELD(cudaStreamCreateWithFlags(&stream, flags));
  return stream;
}

/// Opens a stream of ours behind the trainer's, as save and load do.
Result<StreamId> stream_behind(CudaDevice& device, StreamId trainer) {
  const port::EventId so_far = TRY(device.record(trainer));
  const StreamId ours = TRY(device.create_stream());
  TRY(device.wait(ours, so_far));
  device.destroy_event(so_far);
  return ours;
}

Status finish(CudaDevice& device, port::Clock& clock, StreamId stream) {
  const port::EventId end = TRY(device.record(stream));
  TRY(device.synchronize(end, clock.after(conformance::long_time)));
  device.destroy_event(end);
  return {};
}

/// Stages and digests `memory` after what the trainer's stream was given, which has written `value` everywhere.
Status staged_is(CudaDevice& device, port::Clock& clock, StreamId trainer, ByteSpan memory, unsigned char value) {
  const StreamId ours = TRY(stream_behind(device, trainer));
  struct Kept {
    port::Buffer staging;
    TensorDigest digest;
  };
  const auto kept = std::make_shared<Kept>();
  kept->staging = TRY(device.allocate_staging(memory.size()));
  const Dims size{static_cast<std::int64_t>(memory.size())};
  const Box whole{Dims{0}, size};
  const port::StageItem item{
      packed_block(memory.data(), size, 1, MemoryKind::device), whole, size, DType::u8, kept->staging.bytes, &kept->digest};
  TRY(device.stage({&item, 1}, kept, ours));
  TRY(finish(device, clock, ours));
  device.destroy_stream(ours);
  const auto is_value = [&](std::byte byte) { return byte == std::byte{value}; };
  TRY(expect(std::ranges::all_of(kept->staging.bytes, is_value), "what the trainer had enqueued to be staged"));
  return expect(kept->digest == tensor_digest(packed_block(kept->staging.bytes.data(), size, 1), whole, size, DType::u8),
                "the digest of it");
}

/// The trainer writes on its stream, memory that was there before; we stage after it. Then the other way round: it reads, and we write after it.
Status comes_after(CudaDevice& device, port::Clock& clock, const Trainer& trainer) {
  void* memory = nullptr;
  HELD(cudaMalloc(&memory, tensor_bytes));
  const ByteSpan tensor(static_cast<std::byte*>(memory), tensor_bytes);
  for (const unsigned char value : {std::uint8_t{3}, std::uint8_t{4}}) {
    HELD(cudaMemsetAsync(memory, value, tensor_bytes, trainer.stream));
    TRY(staged_is(device, clock, trainer.view, tensor, value));
  }
  void* seen = nullptr;
  HELD(cudaHostAlloc(&seen, tensor_bytes, cudaHostAllocDefault));
  HELD(cudaMemcpyAsync(seen, memory, tensor_bytes, cudaMemcpyDeviceToHost, trainer.stream));
  const StreamId ours = TRY(stream_behind(device, trainer.view));
  const port::Buffer loaded = TRY(device.allocate_staging(tensor_bytes));
  std::ranges::fill(loaded.bytes, std::byte{9});
  TRY(device.copy_in(loaded.bytes, loaded.owner, packed_block(tensor.data(), {tensor_bytes}, 1, MemoryKind::device), ours));
  TRY(finish(device, clock, ours));
  device.destroy_stream(ours);
  HELD(cudaStreamSynchronize(trainer.stream));
  TRY(expect(static_cast<unsigned char*>(seen)[tensor_bytes - 1] == 4, "the trainer to read what was there before"));
  TRY(staged_is(device, clock, trainer.view, tensor, 9));
  HELD(cudaFree(memory));
  HELD(cudaFreeHost(seen));
  return {};
}

Status comes_after_a_stream_of_flags(CudaDevice& device, port::Clock& clock, unsigned flags) {
  Trainer trainer{TRY(new_stream(flags))};
  trainer.view = TRY(device.view_stream(trainer.stream));
  TRY(comes_after(device, clock, trainer));
  device.destroy_stream(trainer.view);
  HELD(cudaStreamDestroy(trainer.stream));
  return {};
}

Status comes_after_a_blocking_stream(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  return comes_after_a_stream_of_flags(device, clock, cudaStreamDefault);
}

Status comes_after_a_stream_that_does_not_block(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  return comes_after_a_stream_of_flags(device, clock, cudaStreamNonBlocking);
}

Status comes_after_the_default_streams(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  for (cudaStream_t stream : {cudaStream_t{nullptr}, cudaStreamLegacy, cudaStreamPerThread}) {
    const Trainer trainer{stream, TRY(device.view_stream(stream))};
    TRY(comes_after(device, clock, trainer));
    device.destroy_stream(trainer.view);
  }
  return {};
}

/// Work on a blocking stream is work before the legacy default stream.
Status the_legacy_stream_stands_for_blocking_ones(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  const cudaStream_t blocking = TRY(new_stream(cudaStreamDefault));
  const StreamId legacy = TRY(device.view_stream(nullptr));
  void* memory = nullptr;
  HELD(cudaMalloc(&memory, tensor_bytes));
  HELD(cudaMemsetAsync(memory, 7, tensor_bytes, blocking));
  TRY(staged_is(device, clock, legacy, {static_cast<std::byte*>(memory), tensor_bytes}, 7));
  device.destroy_stream(legacy);
  HELD(cudaFree(memory));
  HELD(cudaStreamDestroy(blocking));
  return {};
}

/// Memory of the device's pool or of one of the trainer's own: there in the order of the trainer's stream only.
Status takes_stream_ordered_memory(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  Trainer trainer{TRY(new_stream(cudaStreamNonBlocking))};
  trainer.view = TRY(device.view_stream(trainer.stream));
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location = {cudaMemLocationTypeDevice, 0};
  cudaMemPool_t pool = nullptr;
  HELD(cudaMemPoolCreate(&pool, &properties));
  for (const bool from_pool : {false, true}) {
    void* memory = nullptr;
    HELD(from_pool ? cudaMallocFromPoolAsync(&memory, tensor_bytes, pool, trainer.stream)
                   : cudaMallocAsync(&memory, tensor_bytes, trainer.stream));
    HELD(cudaMemsetAsync(memory, 5, tensor_bytes, trainer.stream));
    TRY(staged_is(device, clock, trainer.view, {static_cast<std::byte*>(memory), tensor_bytes}, 5));
    HELD(cudaFreeAsync(memory, trainer.stream));  // what staged_is() gave out has ended
  }
  HELD(cudaStreamSynchronize(trainer.stream));
  HELD(cudaMemPoolDestroy(pool));
  device.destroy_stream(trainer.view);
  HELD(cudaStreamDestroy(trainer.stream));
  return {};
}

/// Blocks that lie across several physical mappings, packed, as rows and element by element; beside the first and the last nothing is mapped.
Status takes_mapped_memory(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  const MappedMemory memory = TRY(MappedMemory::make(3));
  const auto page = static_cast<std::int64_t>(memory.page_bytes());
  const port::Buffer buffer{memory.bytes(), nullptr, MemoryKind::device};
  struct Shape {
    std::int64_t rows, columns, pitch, element_stride;
  };
  for (const auto& [rows, columns, pitch, element_stride] :
       {Shape{3, page / 4, page, 4}, Shape{6, page / 8 - 8, page / 2, 4}, Shape{3, page / 64, page, 64}}) {
    RandomBlock block;
    block.dtype = DType::f32;
    block.shape = block.box.size = Dims{rows, columns};
    block.box.offset = Dims{0, 0};
    block.strides_bytes = Dims{pitch, element_stride};
    block.bytes = buffer.bytes.size();
    TRY(check_block(device, clock, block, buffer, static_cast<std::uint64_t>(rows)));
  }
  return {};
}

/// What a capture by the trainer comes to: the given number of operations, or an error.
Status ends_well(cudaStream_t stream, std::size_t operations) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  HELD(cudaStreamIsCapturing(stream, &status));
  TRY(expect(status == cudaStreamCaptureStatusActive, "the capture to go on"));
  cudaGraph_t graph = nullptr;
  HELD(cudaStreamEndCapture(stream, &graph));
  std::size_t count = 0;
  HELD(cudaGraphGetNodes(graph, nullptr, &count));
  HELD(cudaGraphDestroy(graph));
  return expect(count == operations, "what the trainer captured, and nothing else, in its graph");
}

constexpr std::array capture_modes{cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed};

Status refuses_a_capturing_stream(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  Trainer trainer{TRY(new_stream(cudaStreamNonBlocking))};
  trainer.view = TRY(device.view_stream(trainer.stream));
  void* memory = nullptr;
  HELD(cudaMalloc(&memory, tensor_bytes));
  const StridedBlock tensor = packed_block(static_cast<std::byte*>(memory), {tensor_bytes}, 1, MemoryKind::device);
  const std::string message =
      fmt::format("device 0, stream {}: the caller's stream is capturing a graph; expected one that is not", trainer.view.value);
  for (const cudaStreamCaptureMode mode : capture_modes) {
    HELD(cudaStreamBeginCapture(trainer.stream, mode));
    HELD(cudaMemsetAsync(memory, 1, tensor_bytes, trainer.stream));
    // With what a save does beside it, on this very thread.
    const StreamId ours = TRY(device.create_stream());
    const port::Buffer staging = TRY(device.allocate_staging(tensor_bytes));
    const port::EventId event = TRY(device.record(ours));
    const auto recorded = device.record(trainer.view);
    TRY(expect(!recorded && recorded.error() == error(ErrorCode::invalid_argument, "{}", message), "record to be refused"));
    const Status waits = device.wait(trainer.view, event);
    TRY(expect(!waits && waits.error() == error(ErrorCode::invalid_argument, "{}", message), "wait to be refused"));
    const Status copied = device.copy_out(tensor, staging.bytes, staging.owner, trainer.view);
    TRY(expect(!copied && copied.error() == error(ErrorCode::invalid_argument, "{}", message), "stage to be refused"));
    const Status written = device.copy_in(staging.bytes, staging.owner, tensor, trainer.view);
    TRY(expect(!written && written.error() == error(ErrorCode::invalid_argument, "{}", message), "unstage to be refused"));
    TRY(device.synchronize(event, clock.after(conformance::long_time)));
    device.destroy_event(event);
    device.destroy_stream(ours);
    HELD(cudaMemsetAsync(memory, 2, tensor_bytes, trainer.stream));
    TRY(ends_well(trainer.stream, 2));
  }
  HELD(cudaFree(memory));
  TRY(finish(device, clock, trainer.view));
  device.destroy_stream(trainer.view);
  HELD(cudaStreamDestroy(trainer.stream));
  return {};
}

/// A save or load beside a capture in global mode, by another thread, which forbids to all others what we do all the time.
Status leaves_captures_of_others_alone(CudaDevice& device, port::Clock& clock, const OnAnotherThread& on_another_thread) {
  for (const cudaStreamCaptureMode mode : capture_modes) {
    cudaStream_t stream = nullptr;
    void* memory = nullptr;
    Status status;
    on_another_thread([&] {
      status = [&]() -> Status {
        HELD(cudaMalloc(&memory, tensor_bytes));
        stream = TRY(new_stream(cudaStreamNonBlocking));
        HELD(cudaStreamBeginCapture(stream, mode));
        HELD(cudaMemsetAsync(memory, 1, tensor_bytes, stream));
        return Status();
      }();
    });
    TRY(status);
    Random random(static_cast<std::uint64_t>(mode));
    TRY(check_block(device, clock, random_block(random, DType::f32), 1));
    const Trainer trainer{cudaStreamPerThread, TRY(device.view_stream(cudaStreamPerThread))};
    const StreamId ours = TRY(stream_behind(device, trainer.view));
    TRY(finish(device, clock, ours));
    device.destroy_stream(ours);
    device.destroy_stream(trainer.view);
    on_another_thread([&] {
      status = [&]() -> Status {
        HELD(cudaMemsetAsync(memory, 2, tensor_bytes, stream));
        TRY(ends_well(stream, 2));
        HELD(cudaFree(memory));
        HELD(cudaStreamDestroy(stream));
        return Status();
      }();
    });
    TRY(status);
  }
  return {};
}

/// The legacy default stream would depend on a blocking stream that captures: it cannot be used, and to ask for it spoils nothing.
Status refuses_the_legacy_stream_beside_a_capture(CudaDevice& device, port::Clock& clock, const OnAnotherThread&) {
  const cudaStream_t blocking = TRY(new_stream(cudaStreamDefault));
  void* memory = nullptr;
  HELD(cudaMalloc(&memory, tensor_bytes));
  const StreamId legacy = TRY(device.view_stream(nullptr));
  for (const cudaStreamCaptureMode mode : capture_modes) {
    HELD(cudaStreamBeginCapture(blocking, mode));
    HELD(cudaMemsetAsync(memory, 1, tensor_bytes, blocking));
    const auto recorded = device.record(legacy);
    const std::string message = fmt::format(
        "device 0, stream {}: the legacy default stream, while a stream that synchronises with it is capturing a graph; expected the "
        "capture to "
        "have ended",
        legacy.value);
    TRY(expect(!recorded && recorded.error() == error(ErrorCode::invalid_argument, "{}", message), "record to be refused"));
    TRY(ends_well(blocking, 1));
  }
  TRY(finish(device, clock, legacy));
  device.destroy_stream(legacy);
  HELD(cudaFree(memory));
  HELD(cudaStreamDestroy(blocking));
  return {};
}

constexpr std::array all_cases{
    TrainerCase{"ComesAfterABlockingStream", comes_after_a_blocking_stream},
    TrainerCase{"ComesAfterAStreamThatDoesNotBlock", comes_after_a_stream_that_does_not_block},
    TrainerCase{"ComesAfterTheDefaultStreams", comes_after_the_default_streams},
    TrainerCase{"TheLegacyStreamStandsForBlockingOnes", the_legacy_stream_stands_for_blocking_ones},
    TrainerCase{"TakesStreamOrderedMemory", takes_stream_ordered_memory},
    TrainerCase{"TakesMappedMemory", takes_mapped_memory},
    TrainerCase{"RefusesACapturingStream", refuses_a_capturing_stream},
    TrainerCase{"LeavesCapturesOfOthersAlone", leaves_captures_of_others_alone},
    TrainerCase{"RefusesTheLegacyStreamBesideACapture", refuses_the_legacy_stream_beside_a_capture},
};

}  // namespace

std::span<const TrainerCase> trainer_cases() { return all_cases; }

}  // namespace holdfast::testing_cuda

#include "properties/simgpu/simgpu_world.h"

#include <fmt/format.h>

#include <memory>

#include "impl/backend/cuda/device.h"
#include "impl/core/check.h"
#include "sim/cuda/runtime.h"

namespace holdfast::properties {
namespace {

namespace cuda = sim::cuda;

/// While this lives, CUDA calls are the rank's: its current device, its last error, what it knows to be complete.
class InContext {
 public:
  explicit InContext(cuda::Context& context) : outer_(cuda::switch_context(&context)) {}
  ~InContext() { cuda::switch_context(outer_); }
  InContext(const InContext&) = delete;
  InContext& operator=(const InContext&) = delete;

 private:
  cuda::Context* outer_;
};

/// The back end sleeps through it while it polls; other ranks run meanwhile, in contexts of their own.
class ContextClock : public port::Clock {
 public:
  ContextClock(port::Clock& clock, cuda::Context& context) : clock_(clock), context_(context) {}
  port::TimePoint now() override { return clock_.now(); }
  void sleep_until(port::TimePoint time) override {
    cuda::switch_context(nullptr);
    clock_.sleep_until(time);
    cuda::switch_context(&context_);
  }

 private:
  port::Clock& clock_;
  cuda::Context& context_;
};

/// The CUDA back end, each call in its rank's context, and after the trainer has made another device the current one.
class ContextDevice : public port::Device {
 private:
  /// The trainer's choice, which must be found again.
  class Chosen {
   public:
    Chosen(cuda::Context& context, int device) : context_(context), device_(context.device = device) {}
    ~Chosen() {
      if (context_.device != device_) cuda::find(fmt::format("the current device was {}, and was left at {}", device_, context_.device));
    }
    Chosen(const Chosen&) = delete;
    Chosen& operator=(const Chosen&) = delete;

   private:
    cuda::Context& context_;
    int device_;
  };

  template <typename Call>
  auto in(Call call) {
    const InContext context(context_);
    const Chosen chosen(context_, static_cast<int>(calls_++ % static_cast<std::uint64_t>(devices_)));
    return call();
  }

 public:
  ContextDevice(port::Device& device, cuda::Context& context, int devices) : device_(device), context_(context), devices_(devices) {}
  Result<port::Buffer> allocate_staging(std::size_t bytes) override {
    return in([&] { return device_.allocate_staging(bytes); });
  }
  Result<port::Buffer> allocate_device(std::size_t bytes) override {
    return in([&] { return device_.allocate_device(bytes); });
  }
  Result<port::StreamId> create_stream() override {
    return in([&] { return device_.create_stream(); });
  }
  void destroy_stream(port::StreamId stream) override {
    in([&] { device_.destroy_stream(stream); });
  }
  Status stage(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, ByteSpan destination, TensorDigest* digest,
               std::shared_ptr<void> owner, port::StreamId stream) override {
    return in([&] { return device_.stage(source, box, shape, dtype, destination, digest, std::move(owner), stream); });
  }
  Status unstage(const StridedBlock& source, const Box& box, const Dims& shape, DType dtype, const StridedBlock& destination,
                 TensorDigest* digest, std::shared_ptr<const void> owner, port::StreamId stream) override {
    return in([&] { return device_.unstage(source, box, shape, dtype, destination, digest, std::move(owner), stream); });
  }
  Result<port::EventId> record(port::StreamId stream) override {
    return in([&] { return device_.record(stream); });
  }
  void destroy_event(port::EventId event) override {
    in([&] { device_.destroy_event(event); });
  }
  Status wait(port::StreamId stream, port::EventId event) override {
    return in([&] { return device_.wait(stream, event); });
  }
  Status synchronize(port::EventId event, port::Deadline deadline) override {
    return in([&] { return device_.synchronize(event, deadline); });
  }

 private:
  port::Device& device_;
  cuda::Context& context_;
  int devices_;
  std::uint64_t calls_ = 0;
};

Bytes run_rank(const port::Env& env, Rank rank, int devices, cuda::Context& context, const RankMain& rank_main) {
  ContextClock clock(env.clock, context);
  std::unique_ptr<backend::CudaDevice> device;
  {
    const InContext in(context);
    auto made = backend::make_cuda_device(rank.value, clock);
    CHECK(made.has_value(), "{}", made.error());
    device = *std::move(made);
  }
  ContextDevice in_context(*device, context, devices);
  Bytes result = rank_main({env.net, env.data, env.storage, in_context, env.clock, env.tasks, env.observer}, rank);
  const InContext in(context);
  device.reset();
  return result;
}

}  // namespace

void SimGpuWorld::arm(Rank rank, DeviceFault fault, std::uint64_t nth) {
  constexpr int out_of_memory = 2;     // cudaErrorMemoryAllocation
  constexpr int ecc = 214;             // cudaErrorECCUncorrectable
  constexpr int launch_failure = 719;  // cudaErrorLaunchFailure
  const cuda::Context* const caller = &contexts_.at(static_cast<std::size_t>(rank.value));
  switch (fault) {
    case DeviceFault::out_of_memory: return cuda::fail_call("", nth, out_of_memory, caller, rank.value);
    case DeviceFault::call_lost: return cuda::fail_call("", nth, ecc, caller, rank.value);
    case DeviceFault::work_lost: return cuda::fail_operation(nth, launch_failure, rank.value);
  }
}

bool SimGpuWorld::disarm() { return cuda::disarm(); }

WorldRun SimGpuWorld::run(int world_size, std::uint64_t seed, const RankMain& rank_main) {
  cuda::reset(seed);
  cuda::set_device_count(world_size);
  contexts_ = std::vector<cuda::Context>(static_cast<std::size_t>(world_size));
  WorldRun run = sim_.run(world_size, seed, [&](const port::Env& env, Rank rank) {
    return run_rank(env, rank, world_size, contexts_[static_cast<std::size_t>(rank.value)], rank_main);
  });
  for (std::string& finding : cuda::report()) run.problems.push_back("simulated CUDA: " + std::move(finding));
  return run;
}

}  // namespace holdfast::properties

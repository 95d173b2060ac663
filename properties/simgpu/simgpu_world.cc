#include "properties/simgpu/simgpu_world.h"

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

/// The CUDA back end, each call in its rank's context.
class ContextDevice : public port::Device {
 private:
  template <typename Call>
  auto in(Call call) {
    const InContext context(context_);
    return call();
  }

 public:
  ContextDevice(port::Device& device, cuda::Context& context) : device_(device), context_(context) {}
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
};

Bytes run_rank(const port::Env& env, Rank rank, const RankMain& rank_main) {
  cuda::Context context;
  ContextClock clock(env.clock, context);
  std::unique_ptr<backend::CudaDevice> device;
  {
    const InContext in(context);
    auto made = backend::make_cuda_device(0, clock);
    CHECK(made.has_value(), "{}", made.error());
    device = *std::move(made);
  }
  ContextDevice in_context(*device, context);
  Bytes result = rank_main({env.net, env.data, env.storage, in_context, env.clock, env.tasks, env.observer}, rank);
  const InContext in(context);
  device.reset();
  return result;
}

}  // namespace

WorldRun SimGpuWorld::run(int world_size, std::uint64_t seed, const RankMain& rank_main) {
  cuda::reset(seed);
  WorldRun run = sim_.run(world_size, seed, [&](const port::Env& env, Rank rank) { return run_rank(env, rank, rank_main); });
  for (std::string& finding : cuda::report()) run.problems.push_back("simulated CUDA: " + std::move(finding));
  return run;
}

}  // namespace holdfast::properties

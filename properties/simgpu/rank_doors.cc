#include "properties/simgpu/rank_doors.h"

#include <fmt/format.h>

#include "impl/backend/cuda/device.h"
#include "properties/simgpu/counted_tasks.h"
#include "properties/simgpu/in_context.h"
#include "properties/simgpu/rank_data.h"

namespace holdfast::properties {
namespace {

namespace cuda = sim::cuda;

/// The CUDA back end, each call in its rank's context, and after the trainer has made another device the current one, and has minded captures more or less.
class ContextDevice : public port::Device {
 private:
  /// The trainer's choices, which must be found again.
  class Chosen {
   public:
    Chosen(cuda::Context& context, int device)
        : context_(context), device_(context.device = device), capture_mode_(context.capture_mode = device % 2) {}
    ~Chosen() {
      if (context_.capture_mode != capture_mode_)
        cuda::find(fmt::format("the capture mode was {}, and was left at {}", capture_mode_, context_.capture_mode));
      if (context_.device != device_) cuda::find(fmt::format("the current device was {}, and was left at {}", device_, context_.device));
    }
    Chosen(const Chosen&) = delete;
    Chosen& operator=(const Chosen&) = delete;

   private:
    cuda::Context& context_;
    int device_;
    int capture_mode_;
  };

  /// A rank is one thread to CUDA here. While one of its tasks sleeps in a call, the calls of others find the choice that it is to find again.
  template <typename Call>
  auto in(Call call) {
    const InContext context(&context_);
    const bool is_alone = under_way_ == 0;
    const Chosen chosen(context_, is_alone ? static_cast<int>(calls_++ % static_cast<std::uint64_t>(devices_)) : context_.device);
    const std::shared_ptr<void> counted(nullptr, [this](void*) { --under_way_; });
    ++under_way_;
    return call();
  }

 public:
  ContextDevice(std::unique_ptr<port::Device> device, cuda::Context& context, int devices)
      : device_(std::move(device)), context_(context), devices_(devices) {}
  ~ContextDevice() override {
    const InContext in(&context_);
    device_.reset();
  }
  Result<port::Buffer> allocate_staging(std::size_t bytes) override {
    return in([&] { return device_->allocate_staging(bytes); });
  }
  Result<port::Buffer> allocate_device(std::size_t bytes) override {
    return in([&] { return device_->allocate_device(bytes); });
  }
  Result<port::StreamId> create_stream() override {
    return in([&] { return device_->create_stream(); });
  }
  void destroy_stream(port::StreamId stream) override {
    in([&] { device_->destroy_stream(stream); });
  }
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override {
    return in([&] { return device_->stage(items, std::move(owner), stream); });
  }
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override {
    return in([&] { return device_->unstage(items, std::move(owner), stream); });
  }
  Result<port::EventId> record(port::StreamId stream) override {
    return in([&] { return device_->record(stream); });
  }
  void destroy_event(port::EventId event) override {
    in([&] { device_->destroy_event(event); });
  }
  Status wait(port::StreamId stream, port::EventId event) override {
    return in([&] { return device_->wait(stream, event); });
  }
  Status synchronize(port::EventId event, port::Deadline deadline) override {
    return in([&] { return device_->synchronize(event, deadline); });
  }

 private:
  std::unique_ptr<port::Device> device_;
  cuda::Context& context_;
  int devices_;
  std::uint64_t calls_ = 0;
  int under_way_ = 0;
};

/// Exchanges leave the context while they wait; what the trainer chooses meanwhile is not theirs to put back.
class ContextData : public port::DataPlane {
 public:
  ContextData(RankData& data, cuda::Context& context) : data_(data), context_(context) {}
  MemoryKind memory() const override { return data_.plane().memory(); }
  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override {
    const InContext in(&context_);
    return data_.plane().exchange(name, sequence, sends, receives, deadline);
  }
  void abort() override { data_.plane().abort(); }

 private:
  RankData& data_;
  cuda::Context& context_;
};

class Doors final : public RankDoors {
 public:
  Doors(const port::Env& env, cuda::Context& context) : env_(env), context_(context) {}
  Status start(int device, int devices) {
    const InContext in(&context_);
    auto made = TRY(backend::make_cuda_device(device, clock_));
    device_ = std::make_unique<ContextDevice>(std::move(made), context_, devices);
    data_ = TRY(open_rank_data(net_, clock_, tasks_, env_.data, device));
    in_context_ = std::make_unique<ContextData>(*data_, context_);
    return {};
  }
  ~Doors() override {
    const InContext in(&context_);
    data_.reset();
    device_.reset();
  }
  port::Env env() override {
    return {env_.net, *in_context_, env_.storage, *device_, env_.clock, counted_, env_.observer, env_.unfinished};
  }
  Status close(port::Deadline deadline) override {
    TRY(counted_.await_all(deadline));
    const InContext in(&context_);
    return data_->close(deadline);
  }

 private:
  port::Env env_;
  cuda::Context& context_;
  ContextClock clock_{env_.clock};
  ContextNet net_{env_.net};
  CountedTasks counted_{env_.tasks};
  ContextTasks tasks_{env_.tasks, context_};
  std::unique_ptr<ContextDevice> device_;
  std::unique_ptr<RankData> data_;
  std::unique_ptr<ContextData> in_context_;
};

}  // namespace

Result<std::unique_ptr<RankDoors>> RankDoors::open(const port::Env& env, int device, int devices, cuda::Context& context) {
  auto doors = std::make_unique<Doors>(env, context);
  TRY(doors->start(device, devices));
  return doors;
}

}  // namespace holdfast::properties

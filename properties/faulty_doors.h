// Doors of one rank that fail once, at a call that is chosen beforehand. For worlds whose own doors cannot.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "impl/core/failure.h"
#include "impl/port/data_plane.h"
#include "impl/port/device.h"
#include "impl/port/net.h"

namespace holdfast::properties {

/// Counts calls down to the one that fails.
class Countdown {
 public:
  /// None: nothing fails.
  explicit Countdown(std::optional<std::uint64_t> nth) : left_(nth) {}
  /// Once, at the nth call (0: the first).
  bool now() {
    if (!left_ || happened_) return false;
    happened_ = *left_ == 0;
    --*left_;
    return happened_;
  }
  bool happened() const { return happened_; }

 private:
  std::optional<std::uint64_t> left_;
  bool happened_ = false;
};

/// A device of which one call is refused.
class FaultyDevice final : public port::Device {
 public:
  FaultyDevice(port::Device& inner, Rank rank, std::optional<std::uint64_t> nth) : inner_(inner), rank_(rank), countdown_(nth) {}
  bool happened() const { return countdown_.happened(); }

  Result<port::Buffer> allocate_staging(std::size_t bytes) override {
    return or_fail([&] { return inner_.allocate_staging(bytes); });
  }
  Result<port::Buffer> allocate_device(std::size_t bytes) override {
    return or_fail([&] { return inner_.allocate_device(bytes); });
  }
  Result<port::StreamId> create_stream() override {
    return or_fail([&] { return inner_.create_stream(); });
  }
  void destroy_stream(port::StreamId stream) override { inner_.destroy_stream(stream); }
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override {
    return or_fail([&] { return inner_.stage(items, std::move(owner), stream); });
  }
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override {
    return or_fail([&] { return inner_.unstage(items, std::move(owner), stream); });
  }
  Result<port::EventId> record(port::StreamId stream) override {
    return or_fail([&] { return inner_.record(stream); });
  }
  void destroy_event(port::EventId event) override { inner_.destroy_event(event); }
  Status wait(port::StreamId stream, port::EventId event) override {
    return or_fail([&] { return inner_.wait(stream, event); });
  }
  Status synchronize(port::EventId event, port::Deadline deadline) override {
    return or_fail([&] { return inner_.synchronize(event, deadline); });
  }

 private:
  template <typename Call>
  std::invoke_result_t<Call> or_fail(Call call) {
    if (countdown_.now()) return fail(ErrorCode::injected, "device {}: the injected fault", rank_);
    return call();
  }

  port::Device& inner_;
  Rank rank_;
  Countdown countdown_;
};

enum class ExchangeFault : std::uint8_t {
  flip,     ///< a bit of what was received is another one
  abort,    ///< the data plane is aborted in the call
  silence,  ///< this rank is as if it were dead from then on: no call of its doors does anything
};

/// A data plane that fails in one exchange.
class FaultyDataPlane final : public port::DataPlane {
 public:
  FaultyDataPlane(port::DataPlane& inner, ExchangeFault fault, std::optional<std::uint64_t> nth, std::uint64_t bit)
      : inner_(inner), fault_(fault), countdown_(nth), bit_(bit) {}
  bool happened() const { return countdown_.happened(); }
  bool is_silent() const { return happened() && fault_ == ExchangeFault::silence; }

  MemoryKind memory() const override { return inner_.memory(); }
  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override {
    const bool flips = fault_ == ExchangeFault::flip;
    const bool now = (!flips || !receives.empty()) && countdown_.now();
    if (is_silent()) return fail(ErrorCode::injected, "exchange \"{}\" #{}: this rank is silent", name, sequence);
    if (now && fault_ == ExchangeFault::abort) inner_.abort();
    const Status done = inner_.exchange(name, sequence, sends, receives, deadline);
    if (now && flips && done) {
      const ByteSpan bytes = receives[bit_ % receives.size()].bytes;
      bytes[bit_ / 8 % bytes.size()] ^= std::byte{1} << static_cast<int>(bit_ % 8);
    }
    return done;
  }
  void abort() override { inner_.abort(); }

 private:
  port::DataPlane& inner_;
  ExchangeFault fault_;
  Countdown countdown_;
  std::uint64_t bit_;
};

/// The network of a rank whose data plane may fall silent: then it hears and says nothing more.
class SilencedNet final : public port::Net {
 public:
  SilencedNet(port::Net& inner, const FaultyDataPlane& data) : inner_(inner), data_(data) {}
  Rank rank() const override { return inner_.rank(); }
  int world_size() const override { return inner_.world_size(); }
  Status send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) override {
    if (data_.is_silent()) return fail(ErrorCode::injected, "this rank is silent");
    return inner_.send(to, tag, std::move(message), deadline);
  }
  Result<SharedBytes> receive(Rank from, port::Tag tag, port::Deadline deadline) override {
    if (data_.is_silent()) return fail(ErrorCode::injected, "this rank is silent");
    return inner_.receive(from, tag, deadline);
  }
  std::size_t max_message_bytes() const override { return inner_.max_message_bytes(); }

 private:
  port::Net& inner_;
  const FaultyDataPlane& data_;
};

/// A data plane that says it moves device memory, and insists on it, over one that moves host memory. For devices whose memory the host reads.
class DeviceDataPlane final : public port::DataPlane {
 public:
  explicit DeviceDataPlane(port::DataPlane& inner) : inner_(inner) {}
  MemoryKind memory() const override { return MemoryKind::device; }
  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override {
    std::vector<port::Transfer> both[2] = {{sends.begin(), sends.end()}, {receives.begin(), receives.end()}};
    for (std::vector<port::Transfer>& transfers : both) {
      for (port::Transfer& transfer : transfers) {
        if (transfer.kind != MemoryKind::device)
          return fail(ErrorCode::unsupported, "exchange \"{}\" #{}: host memory, this data plane moves device memory", name, sequence);
        transfer.kind = MemoryKind::host;
      }
    }
    return inner_.exchange(name, sequence, both[0], both[1], deadline);
  }
  void abort() override { inner_.abort(); }

 private:
  port::DataPlane& inner_;
};

/// Whether an error names the victim and no other rank, with this code and these words.
inline bool says(const CheckpointError& error, Rank victim, ErrorCode code, std::string_view words) {
  const Error* told = error.failures.find(victim);
  return error.lost.empty() && error.failures.ranks() == std::vector{victim} && told->code == code &&
         told->message.find(words) != std::string::npos;
}

}  // namespace holdfast::properties

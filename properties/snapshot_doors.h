// Doors of one rank by which a snapshot is watched and troubled: device memory that is counted, scarce and perhaps damaged, and a storage that stands still.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "impl/backend/decorators/counting_storage.h"
#include "impl/port/clock.h"
#include "impl/port/device.h"
#include "impl/port/tasks.h"

namespace holdfast::properties {

/// A device whose memory, also where the host can read it, counts as device memory.
class ScarceDevice final : public port::Device {
 public:
  ScarceDevice(port::Device& inner, port::Clock& clock) : inner_(inner), clock_(clock), ledger_(std::make_shared<Ledger>()) {}

  /// Counts from here: what was allocated before is the trainer's. Of more than `bytes_max` everything is refused.
  void limit(std::uint64_t bytes_max) {
    const std::scoped_lock lock(ledger_->mutex);
    ledger_->counts = true;
    ledger_->bytes_max = bytes_max;
    ledger_->bytes_peak = ledger_->bytes;
    staged_ = false;
  }
  std::uint64_t held_bytes() const { return locked(&Ledger::bytes); }
  std::uint64_t peak_bytes() const { return locked(&Ledger::bytes_peak); }
  /// Whether device memory of the trainer's was copied elsewhere than to what is counted.
  bool staged() const { return staged_; }

  /// When the next copy to what is counted is there, a bit of it turns over.
  void damage_next(bool damages) { damages_ = damages, damaged_ = false; }
  bool damaged() const { return damaged_; }

  Result<port::Buffer> allocate_staging(std::size_t bytes) override { return inner_.allocate_staging(bytes); }
  Result<port::Buffer> allocate_device(std::size_t bytes) override {
    {
      const std::scoped_lock lock(ledger_->mutex);
      if (ledger_->counts && ledger_->bytes + bytes > ledger_->bytes_max)
        return fail(ErrorCode::out_of_memory, "a scarce device: {} bytes, {} of {} are in use", bytes, ledger_->bytes, ledger_->bytes_max);
    }
    port::Buffer buffer = TRY(inner_.allocate_device(bytes));
    buffer.kind = MemoryKind::device;
    const std::scoped_lock lock(ledger_->mutex);
    if (!ledger_->counts) return buffer;
    ledger_->areas[buffer.bytes.data()] = bytes;
    ledger_->bytes += bytes;
    ledger_->bytes_peak = std::max(ledger_->bytes_peak, ledger_->bytes);
    const ByteSpan span = buffer.bytes;
    const auto free = [ledger = ledger_, inner = std::move(buffer.owner)](std::byte* data) mutable {
      {
        const std::scoped_lock also(ledger->mutex);
        ledger->bytes -= ledger->areas.at(data);
        ledger->areas.erase(data);
      }
      inner.reset();
    };
    return port::Buffer{span, std::shared_ptr<std::byte>(span.data(), free), MemoryKind::device};
  }
  Result<port::StreamId> create_stream() override { return inner_.create_stream(); }
  void destroy_stream(port::StreamId stream) override { inner_.destroy_stream(stream); }
  Status stage(std::span<const port::StageItem> items, std::shared_ptr<void> owner, port::StreamId stream) override {
    for (const port::StageItem& item : items) look_at(item);
    return inner_.stage(items, std::move(owner), stream);
  }
  Status unstage(std::span<const port::UnstageItem> items, std::shared_ptr<const void> owner, port::StreamId stream) override {
    return inner_.unstage(items, std::move(owner), stream);
  }
  Result<port::EventId> record(port::StreamId stream) override { return inner_.record(stream); }
  void destroy_event(port::EventId event) override { inner_.destroy_event(event); }
  Status wait(port::StreamId stream, port::EventId event) override { return inner_.wait(stream, event); }
  Status synchronize(port::EventId event, port::Deadline deadline) override {
    TRY(inner_.synchronize(event, deadline));
    if (damages_ && copied_ != nullptr) {
      damages_ = false;
      damaged_ = true;
      TRY(turn_over(copied_, deadline));
    }
    return {};
  }

 private:
  /// Shared with buffers, which may outlive the device.
  struct Ledger {
    std::mutex mutex;
    bool counts = false;
    std::uint64_t bytes_max = 0, bytes = 0, bytes_peak = 0;
    std::map<std::byte*, std::size_t, std::less<>> areas;
    bool holds(std::byte* address) const {
      const auto after = areas.upper_bound(address);
      return after != areas.begin() && address < std::prev(after)->first + std::prev(after)->second;
    }
  };

  std::uint64_t locked(std::uint64_t Ledger::* number) const {
    const std::scoped_lock lock(ledger_->mutex);
    return (*ledger_).*number;
  }

  void look_at(const port::StageItem& item) {
    const std::scoped_lock lock(ledger_->mutex);
    if (!ledger_->counts || item.source.kind != MemoryKind::device || item.destination.empty()) return;
    if (ledger_->holds(item.destination.data())) {
      copied_ = item.destination.data();
    } else if (!ledger_->holds(item.source.data)) {
      staged_ = true;
    }
  }

  Status turn_over(std::byte* address, port::Deadline deadline) {
    const auto byte = std::make_shared<Bytes>(1);
    const StridedBlock there = packed_block(address, {1}, 1, MemoryKind::device);
    const port::StreamId stream = TRY(inner_.create_stream());
    const auto now = [&](const Status& enqueued) -> Status {
      TRY(enqueued);
      const port::EventId event = TRY(inner_.record(stream));
      const Status done = inner_.synchronize(event, deadline);
      inner_.destroy_event(event);
      return done;
    };
    Status done = now(inner_.copy_out(there, *byte, byte, stream));
    byte->front() ^= std::byte{16};
    if (done) done = now(inner_.copy_in(*byte, byte, there, stream));
    inner_.destroy_stream(stream);
    return done;
  }

  port::Device& inner_;
  port::Clock& clock_;
  std::shared_ptr<Ledger> ledger_;
  std::byte* copied_ = nullptr;  // by the one task of a save that stages; the next save begins when that has ended
  bool damages_ = false, damaged_ = false;
  bool staged_ = false;
};

/// A storage in which what concerns segments stands still while its gate is closed, or fails.
class GatedStorage final : public backend::CountingStorage {
 public:
  enum class At : std::uint8_t { create, write };

  GatedStorage(port::Storage& inner, port::Tasks& tasks) : CountingStorage(inner), monitor_(tasks.make_monitor()) {}

  void close_gate(At at) {
    monitor_->change([&] { closed_ = true, at_ = at; });
  }
  void open_gate() {
    monitor_->change([&] { closed_ = false; });
  }
  void set_failing(bool fails) {
    monitor_->change([&] { fails_ = fails; });
  }

  Result<port::FileId> create(std::string_view path, port::Deadline deadline) override {
    const bool is_segment = path.ends_with(".safetensors");
    if (is_segment) TRY(pass(At::create, deadline));
    const port::FileId file = TRY(CountingStorage::create(path, deadline));
    monitor_->change([&] {
      if (is_segment) segments_.insert(file);
    });
    return file;
  }
  Status close(port::FileId file) override {
    monitor_->change([&] { segments_.erase(file); });
    return CountingStorage::close(file);
  }
  Status write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) override {
    bool is_segment = false;
    monitor_->change([&] { is_segment = segments_.contains(file); });
    if (is_segment) TRY(pass(At::write, deadline));
    return CountingStorage::write_all(file, pieces, deadline);
  }

 private:
  Status pass(At at, port::Deadline deadline) {
    bool fails = false;
    const auto open = [&] {
      fails = fails_ && at == At::write;
      return !closed_ || at_ != at;
    };
    bool at_once = false;
    monitor_->change([&] { at_once = open(); });
    if (!at_once) TRY(monitor_->wait("a gate", open, deadline));
    if (fails) return fail(ErrorCode::injected, "write a segment: the injected fault");
    return {};
  }

  std::shared_ptr<port::Monitor> monitor_;  // over everything below
  bool closed_ = false, fails_ = false;
  At at_ = At::create;
  std::set<port::FileId> segments_;
};

}  // namespace holdfast::properties

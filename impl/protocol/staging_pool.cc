#include "impl/protocol/staging_pool.h"

#include <algorithm>
#include <vector>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {

/// What an acquire may do at once.
struct StagingPool::Claim {
  port::Buffer reused = {};              ///< or none: memory may be allocated
  std::vector<port::Buffer> freed = {};  ///< to be dropped, outside the monitor
};

struct StagingPool::State {
  std::shared_ptr<port::Monitor> monitor;  // over everything below
  std::vector<port::Buffer> idle;
  std::uint64_t held_bytes = 0;
  std::uint64_t peak_bytes = 0;
  std::uint64_t device_bytes = 0;
  bool closed = false;

  /// Takes an idle buffer, or reserves room for a new one. False when neither can be had now.
  bool claim(std::size_t bytes, std::uint64_t budget_bytes, Claim& claim) {
    free_down_to(budget_bytes, claim.freed);
    if (held_bytes <= budget_bytes && reuse(bytes, claim.reused)) return true;
    if (MUTATE("staging_pool.budget_ignored", in_use_bytes() + bytes > budget_bytes, false)) return false;
    free_down_to(budget_bytes - bytes, claim.freed);
    held_bytes += bytes;
    peak_bytes = std::max(peak_bytes, held_bytes);
    return true;
  }

  /// The smallest that is large enough; of equal ones the one used last, which may still be in the cache.
  bool reuse(std::size_t bytes, port::Buffer& reused) {
    auto best = idle.end();
    for (auto buffer = idle.begin(); buffer != idle.end(); ++buffer) {
      const bool fits = buffer->bytes.size() >= bytes;
      if (fits && (best == idle.end() || buffer->bytes.size() <= best->bytes.size())) best = buffer;
    }
    if (best == idle.end()) return false;
    reused = std::move(*best);
    idle.erase(best);
    return true;
  }

  void free_down_to(std::uint64_t bytes, std::vector<port::Buffer>& freed) {
    while (held_bytes > bytes && !idle.empty()) {
      held_bytes -= idle.back().bytes.size();
      freed.push_back(std::move(idle.back()));
      idle.pop_back();
    }
  }

  std::uint64_t in_use_bytes() const {
    std::uint64_t bytes = held_bytes;
    for (const port::Buffer& buffer : idle) bytes -= buffer.bytes.size();
    return bytes;
  }

  void give_back(port::Buffer& buffer) {
    monitor->change([&] {
      if (closed) {
        held_bytes -= buffer.bytes.size();
      } else {
        idle.push_back(std::move(buffer));
      }
    });
  }
};

StagingPool::StagingPool(port::Device& device, port::Tasks& tasks) : device_(device), state_(std::make_shared<State>()) {
  state_->monitor = tasks.make_monitor();
}

StagingPool::~StagingPool() {
  std::vector<port::Buffer> freed;
  state_->monitor->change([&] {
    state_->closed = true;
    freed.swap(state_->idle);
  });
}

Result<port::Buffer> StagingPool::acquire(std::size_t bytes, std::uint64_t budget_bytes, port::Deadline deadline) {
  if (bytes > budget_bytes)
    return fail(ErrorCode::invalid_argument, "staging: {} bytes are needed at once, the budget is {} bytes", bytes, budget_bytes);
  Claim claim;
  bool claimed = false;
  const auto try_claim = [&] { return claimed = state_->claim(bytes, budget_bytes, claim); };
  state_->monitor->change(try_claim);
  if (!claimed) {
    MARK("staging_pool.waited");
    TRY(state_->monitor->wait("staging memory", try_claim, deadline));
  }
  return take(bytes, std::move(claim));
}

Result<std::optional<port::Buffer>> StagingPool::try_acquire(std::size_t bytes, std::uint64_t budget_bytes) {
  Claim claim;
  bool claimed = false;
  if (bytes <= budget_bytes) state_->monitor->change([&] { claimed = state_->claim(bytes, budget_bytes, claim); });
  if (!claimed) return std::nullopt;
  return std::optional(TRY(take(bytes, std::move(claim))));
}

/// The buffer of a claim: a reused one, or a new one.
Result<port::Buffer> StagingPool::take(std::size_t bytes, Claim claim) {
  claim.freed.clear();
  if (claim.reused.bytes.empty()) {
    Result<port::Buffer> allocated = device_.allocate_staging(bytes);
    if (!allocated) {
      state_->monitor->change([&] { state_->held_bytes -= bytes; });
      return fail(std::move(allocated).error());
    }
    claim.reused = *std::move(allocated);
  } else {
    MARK("staging_pool.reused");
  }
  const ByteSpan span = claim.reused.bytes;
  const auto give_back = [state = state_, buffer = std::move(claim.reused)](void*) mutable { state->give_back(buffer); };
  return port::Buffer{span, std::shared_ptr<void>(span.data(), give_back), MemoryKind::host};
}

Result<std::optional<port::Buffer>> StagingPool::try_allocate_device(std::size_t bytes, std::uint64_t bytes_max) {
  bool fits = false;
  state_->monitor->change([&] {
    fits = MUTATE("snapshot.budget_ignored", bytes <= bytes_max && state_->device_bytes <= bytes_max - bytes, true);
    if (fits) state_->device_bytes += bytes;
  });
  if (!fits) return std::nullopt;
  const auto give_back = [state = state_, bytes] { state->monitor->change([&] { state->device_bytes -= bytes; }); };
  Result<port::Buffer> allocated = device_.allocate_device(bytes);
  if (!allocated) {
    give_back();
    if (allocated.error().code == ErrorCode::out_of_memory) return std::nullopt;
    return fail(std::move(allocated).error());
  }
  const ByteSpan span = allocated->bytes;
  const auto free = [give_back, buffer = *std::move(allocated)](void*) mutable {
    buffer = {};  // what is counted is never less than what is held
    give_back();
  };
  return port::Buffer{span, std::shared_ptr<void>(span.data(), free), MemoryKind::device};
}

void StagingPool::trim(std::uint64_t bytes) {
  std::vector<port::Buffer> freed;
  state_->monitor->change([&] { state_->free_down_to(bytes, freed); });
}

std::uint64_t StagingPool::held_bytes() const {
  std::uint64_t bytes = 0;
  state_->monitor->change([&] { bytes = state_->held_bytes; });
  return bytes;
}

std::uint64_t StagingPool::peak_bytes() const {
  std::uint64_t bytes = 0;
  state_->monitor->change([&] { bytes = state_->peak_bytes; });
  return bytes;
}

std::uint64_t StagingPool::device_bytes() const {
  std::uint64_t bytes = 0;
  state_->monitor->change([&] { bytes = state_->device_bytes; });
  return bytes;
}

}  // namespace holdfast::protocol

#include "impl/backend/posix/transfer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "impl/backend/posix/posix_error.h"
#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr std::chrono::milliseconds pause{1};

}  // namespace

Transfer::Transfer(IoQueue& queue, TransferOptions options) : queue_(queue), options_(std::move(options)), slots_(options_.at_once) {
  CHECK(options_.at_once > 0 && options_.at_once <= queue.depth(), "{} at once on a queue of {}", options_.at_once, queue.depth());
}

bool Transfer::late() const { return std::chrono::steady_clock::now().time_since_epoch() >= options_.deadline.at.time_since_epoch(); }

Status Transfer::run(std::span<const IoPart> parts) {
  parts_ = parts;
  std::optional<Error> failure;
  std::size_t failed_part = parts.size();
  const auto note = [&](std::size_t part, Error error) {
    if (part >= failed_part) return;
    failed_part = part;
    failure = std::move(error);
  };
  std::vector<std::size_t> idle;
  for (std::size_t slot = slots_.size(); slot > 0; --slot) idle.push_back(slot - 1);
  for (std::size_t next = 0;;) {
    while (!idle.empty() && next < parts.size() && !failure) {
      if (MUTATE("posix.deadline_ignored", late(), false)) {
        note(0, error(ErrorCode::timeout, "{} \"{}\": stopped at its deadline", verb(), options_.path));
        break;
      }
      const std::size_t slot = idle.back();
      idle.pop_back();
      slots_[slot] = {next, parts[next].way, 0, {}};
      ++next;
      begin(slot);
    }
    // After a failure too: the memory is the kernel's until each request has come back.
    if (MUTATE("posix.left_with_the_kernel", idle.size() == slots_.size(), idle.size() == slots_.size() || failure)) break;
    const IoCompletion completion = queue_.wait();
    Slot& slot = slots_[completion.tag];
    const Result<bool> whole = ended(slot, completion.result);
    if (!whole) note(slot.part, whole.error());
    if (whole && !*whole && slot.part < failed_part) {  // what lies before a failure is carried on: it may have failed first
      begin(completion.tag);
    } else {
      idle.push_back(completion.tag);
    }
  }
  if (failure) return fail(*std::move(failure));
  return {};
}

/// Hands what is left of a slot's part to the kernel.
void Transfer::begin(std::size_t index) {
  Slot& slot = slots_[index];
  const FileSpan& span = parts_[slot.part].span;
  if (slot.way != IoWay::buffered && direct_refused_) slot.way = IoWay::buffered;
  const std::uint64_t offset = span.offset + slot.done;
  const std::uint64_t left = span.bytes - slot.done;
  slot.request = {options_.kind, slot.way == IoWay::buffered ? options_.buffered_fd : options_.direct_fd, span.memory + slot.done, left,
                  offset};
  if (slot.way == IoWay::bounced) {
    const std::uint64_t window = offset / options_.alignment * options_.alignment;
    const std::uint64_t window_end = (span.end() + options_.alignment - 1) / options_.alignment * options_.alignment;
    slot.request.memory = options_.bounce.subspan(index * options_.bounce_bytes, window_end - window).data();
    slot.request.offset = window;
    slot.request.bytes = window_end - window;
    if (options_.kind == IoKind::write) std::memcpy(slot.request.memory, span.memory + slot.done, left);
  }
  queue_.start(slot.request, index);
}

/// Of `bytes` that a request moved, those that are the part's; a bounced read's are copied to where they belong.
std::uint64_t Transfer::moved(const Slot& slot, std::uint64_t bytes) const {
  if (slot.way != IoWay::bounced || options_.kind == IoKind::write) return bytes;
  const FileSpan& span = parts_[slot.part].span;
  const std::uint64_t begin = span.offset + slot.done;
  const std::uint64_t end = std::clamp(slot.request.offset + bytes, begin, span.end());
  std::memcpy(span.memory + slot.done, slot.request.memory + (begin - slot.request.offset), end - begin);
  return end - begin;
}

/// Takes in what became of a slot's request: has its part moved whole?
Result<bool> Transfer::ended(Slot& slot, std::int64_t result) {
  if (result < 0) return failed(slot, static_cast<int>(-result));
  const FileSpan& span = parts_[slot.part].span;
  const std::uint64_t at = span.offset + slot.done;
  const std::uint64_t left = span.bytes - slot.done;
  if (result == 0 && options_.kind == IoKind::read) {
    return fail(ErrorCode::corrupt, "read \"{}\" at {}: the file ends here, {} more bytes were expected", options_.path, at, left);
  }
  // POSIX leaves it open; going round for ever would be a hang.
  if (result == 0) return fail(ErrorCode::io_error, "write \"{}\" at {}: nothing was written", options_.path, at);
  const auto bytes = static_cast<std::uint64_t>(result);
  slot.done += moved(slot, bytes);
  if (MUTATE("posix.short_is_whole", slot.done == span.bytes, true)) return true;
  MARK("posix.short_transfer");
  // At the end of the file, most likely, where the next read says so.
  if ((slot.request.offset + bytes) % options_.alignment != 0) slot.way = IoWay::buffered;
  return false;
}

Result<bool> Transfer::failed(Slot& slot, int number) {
  if ((number == EINTR || number == EAGAIN) && !late()) {
    if (number == EAGAIN) std::this_thread::sleep_for(pause);
    return false;
  }
  if ((number == EINVAL || number == EOPNOTSUPP) && slot.way != IoWay::buffered) {
    MARK("posix.direct_refused_midway");
    direct_refused_ = true;
    return false;
  }
  return system_error(number, "{} \"{}\" at {}", verb(), options_.path, parts_[slot.part].span.offset + slot.done);
}

}  // namespace holdfast::backend

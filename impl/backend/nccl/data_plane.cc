#include "impl/backend/nccl/data_plane.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <map>

#include "impl/backend/cuda/device.h"
#include "impl/backend/nccl/agreement.h"
#include "impl/backend/nccl/communicator.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr port::Duration poll_first = std::chrono::microseconds(20), poll_longest = std::chrono::milliseconds(1);
constexpr port::Duration kept_back_max = std::chrono::seconds(1);  ///< of the time of an exchange, to end what fails
constexpr port::Duration blame_max = std::chrono::seconds(1);      ///< to hear from the control plane why NCCL failed

class Plane final : public NcclDataPlane {
 public:
  Plane(std::shared_ptr<const NcclTable> table, int device, NcclDoors doors, NcclOptions options)
      : table_(std::move(table)), device_(device), doors_(std::move(doors)), options_(std::move(options)),
        monitor_(doors_.tasks.make_monitor()) {}

  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override;
  void abort() override {
    monitor_->change([&] { aborted_ = true; });
  }
  Status close(port::Deadline deadline) override;

 private:
  struct Group {
    std::span<const port::Transfer> sends, receives;
  };
  /// What must be over when.
  struct Times {
    port::Deadline moving;  ///< what NCCL does
    port::Deadline asking;  ///< why it failed
    port::Deadline end;     ///< of the exchange
  };
  /// An exchange's turn, until it goes.
  class Turn {
   public:
    explicit Turn(Plane& plane) : plane_(plane) {}
    ~Turn() {
      plane_.monitor_->change([&] { plane_.busy_ = false; });
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Plane& plane_;
  };

  Rank self() const { return doors_.net.rank(); }
  Status check(std::span<const port::Transfer> transfers) const;
  Status claim(std::string_view name, std::uint64_t sequence);
  Status take_turn(port::Deadline deadline);
  Status run(Agreement& agreement, const Group& group, const Times& times);
  Status renew(Agreement& agreement, const Agreed& agreed, const Times& times);
  Status move(Agreement& agreement, const Agreed& agreed, const Group& group, const Times& times);
  enum class Until : std::uint8_t { idle, ended };
  Status await(Agreement& agreement, std::string_view what, Until until, const Times& times);
  Error blamed(Agreement& agreement, const Error& found, port::Deadline asking);
  Status end_communicator(port::Deadline deadline);

  const std::shared_ptr<const NcclTable> table_;
  const int device_;
  const NcclDoors doors_;
  const NcclOptions options_;
  const std::shared_ptr<port::Monitor> monitor_;
  std::atomic<bool> aborted_ = false;
  bool busy_ = false;  ///< under the monitor; the rest is whose turn it is
  std::map<std::string, std::uint64_t, std::less<>> used_;
  std::unique_ptr<Communicator> communicator_;
};

Status Plane::check(std::span<const port::Transfer> transfers) const {
  for (const port::Transfer& transfer : transfers) {
    if (transfer.peer.value < 0 || transfer.peer.value >= doors_.net.world_size()) {
      return fail(ErrorCode::invalid_argument, "rank {} has a transfer with rank {}, there are ranks 0 to {}", self(), transfer.peer,
                  doors_.net.world_size() - 1);
    }
    if (transfer.kind != MemoryKind::device) {
      return fail(ErrorCode::unsupported, "rank {} has host memory in a transfer with rank {}, NCCL moves device memory", self(),
                  transfer.peer);
    }
  }
  return {};
}

Status Plane::claim(std::string_view name, std::uint64_t sequence) {
  if (sequence >= Agreement::sequences_max) return fail(ErrorCode::invalid_argument, "the number is too large");
  const auto [last, first] = used_.try_emplace(std::string(name), sequence);
  if (first) return {};
  if (sequence <= last->second)
    return fail(ErrorCode::invalid_argument, "it comes after #{} on rank {}; expected a higher number", last->second, self());
  last->second = sequence;
  return {};
}

Status Plane::take_turn(port::Deadline deadline) {
  const auto is_free = [&] {
    if (busy_) return false;
    return busy_ = true;
  };
  bool taken = false;
  monitor_->change([&] { taken = is_free(); });
  if (taken) return {};
  const Status waited = monitor_->wait("the turn of an exchange", is_free, deadline);
  if (waited || waited.error().code != ErrorCode::timeout) return waited;
  return fail(ErrorCode::timeout, "another exchange of rank {} is not over at the deadline", self());
}

Status Plane::exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                       std::span<const port::Transfer> receives, port::Deadline deadline) {
  const auto told = [&](Error error) { return fail(within(std::move(error), "exchange \"{}\" #{}", name, sequence)); };
  Status ready = check(sends);
  if (ready) ready = check(receives);
  if (ready && aborted_) ready = fail(ErrorCode::aborted, "rank {} aborted its data plane", self());
  if (!ready) return told(std::move(ready).error());
  if (sends.empty() && receives.empty()) return {};
  ready = take_turn(deadline);
  if (!ready) return told(std::move(ready).error());
  const Turn turn(*this);
  ready = claim(name, sequence);
  if (!ready) return told(std::move(ready).error());

  std::map<Rank, Sizes> peers;
  for (const port::Transfer& transfer : sends) peers[transfer.peer].sends.push_back(transfer.bytes.size());
  for (const port::Transfer& transfer : receives) peers[transfer.peer].receives.push_back(transfer.bytes.size());
  Agreement agreement(doors_.net, doors_.clock, std::string(name), sequence, std::move(peers), [this] { return aborted_.load(); });
  const port::Duration kept_back = std::clamp((deadline.at - doors_.clock.now()) / 8, port::Duration(0), kept_back_max);
  Status done = run(agreement, {sends, receives}, {{deadline.at - kept_back}, {deadline.at - kept_back / 2}, deadline});
  return done ? Status() : told(std::move(done).error());
}

Status Plane::run(Agreement& agreement, const Group& group, const Times& times) {
  const Result<Agreed> agreed = agreement.agree(communicator_ ? communicator_->number() : 0, times.end);
  if (!agreed) {  // NCCL has had nothing to do with it yet
    Error error = agreement.in_full(agreed.error());
    agreement.give_up(error, times.end);
    return fail(std::move(error));
  }
  if (agreed->members.empty()) return {};
  Status moved = move(agreement, *agreed, group, times);
  if (moved) moved = agreement.finish(times.moving);
  if (moved) return {};
  Error error = agreement.in_full(std::move(moved).error());
  agreement.give_up(error, times.end);
  const Status ended = end_communicator(times.end);
  if (!ended) error.message += fmt::format("; and the memory is still in use: {}", ended.error().message);
  return fail(std::move(error));
}

/// A new communicator for the members. The one before is in nobody's use: it served exchanges of all its ranks, this one among them, and no other.
Status Plane::renew(Agreement& agreement, const Agreed& agreed, const Times& times) {
  TRY(end_communicator(times.moving));
  Bytes id;
  if (agreed.members.front() == self()) {
    id = TRY(Communicator::make_id(*table_, device_));
    TRY(agreement.tell(id, times.moving));
  } else {
    id = TRY(agreement.hear(times.moving));
  }
  communicator_ = TRY(Communicator::begin(table_, device_, id, agreed.members, self(), options_));
  return await(agreement, "making the communicator", Until::idle, times);
}

Status Plane::move(Agreement& agreement, const Agreed& agreed, const Group& group, const Times& times) {
  const bool kept = agreed.communicator != 0 && communicator_->members() == agreed.members;
  if (!kept) TRY(renew(agreement, agreed, times));
  TRY(communicator_->launch(group.sends, group.receives));
  if (MUTATE("nccl.end_marked_early", true, false)) TRY(await(agreement, "launching", Until::idle, times));
  TRY(communicator_->mark_end());
  return await(agreement, "moving the bytes", Until::ended, times);
}

Status Plane::await(Agreement& agreement, std::string_view what, Until until, const Times& times) {
  for (port::Duration pause = poll_first;; pause = std::min(pause * 2, poll_longest)) {
    const bool is_read = until == Until::idle || MUTATE("nccl.async_error_unread", true, false);
    const Result<bool> idle = is_read ? communicator_->idle() : Result<bool>(true);
    if (!idle) return fail(blamed(agreement, idle.error(), times.asking));
    if (*idle && (until == Until::idle || TRY(communicator_->ended()))) return {};
    if (aborted_) return fail(ErrorCode::aborted, "rank {} aborted its data plane", self());
    const port::TimePoint now = doors_.clock.now();
    if (now >= times.moving.at) {
      return fail(ErrorCode::timeout, "{} is not over on rank {} at the deadline; of ranks {} none is known to be lost", what, self(),
                  fmt::join(communicator_->members(), ","));
    }
    TRY(agreement.listen({std::min(now + pause, times.moving.at)}));
  }
  return {};
}

/// What NCCL says of a failure is rarely the cause; the control plane knows who is gone or gave up.
Error Plane::blamed(Agreement& agreement, const Error& found, port::Deadline asking) {
  const Status asked = agreement.ask_around({std::min(asking.at, doors_.clock.now() + blame_max)});
  if (asked || asked.error().code == ErrorCode::timeout) return found;
  return error(asked.error().code, "{}; {}", asked.error().message, found.message);
}

Status Plane::end_communicator(port::Deadline deadline) {
  if (!communicator_) return {};
  const std::shared_ptr<Ending> ending = communicator_->end(doors_.tasks, doors_.clock);
  communicator_.reset();
  const Status ended = ending->wait(deadline);
  if (ended) return {};
  if (doors_.unfinished) doors_.unfinished->add([ending](port::Deadline later) { return ending->wait(later); });
  return ended;
}

Status Plane::close(port::Deadline deadline) {
  aborted_ = true;
  TRY(take_turn(deadline));
  const Turn turn(*this);
  return end_communicator(deadline);
}

}  // namespace

Result<std::unique_ptr<NcclDataPlane>> make_nccl_data_plane(std::shared_ptr<const NcclTable> table, int device, NcclDoors doors,
                                                            NcclOptions options) {
  const char* const blocking = std::getenv("NCCL_COMM_BLOCKING");
  if (blocking && std::string_view(blocking) == "1") {
    return fail(ErrorCode::unsupported, "NCCL_COMM_BLOCKING=1: NCCL would block past every deadline; expected it unset, or 0");
  }
  const int count = TRY(cuda_device_count());
  if (device < 0 || device >= count) return fail(ErrorCode::invalid_argument, "CUDA device {}: this host has {}", device, count);
  return std::make_unique<Plane>(std::move(table), device, std::move(doors), std::move(options));
}

}  // namespace holdfast::backend

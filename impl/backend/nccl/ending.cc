#include "impl/backend/nccl/ending.h"

#include <algorithm>

#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr port::Duration poll_first = std::chrono::microseconds(20), poll_longest = std::chrono::milliseconds(1);

}  // namespace

Status Ending::abort(port::Deadline deadline) {
  if (!aborting_) {
    const auto call = [table = parts_.table, communicator = parts_.communicator, name = parts_.name, device = parts_.device]() -> Status {
      (void)cudaSetDevice(
          device);  // else NCCL would put this new thread's device back, which is the first one, and so make a context on it
      (void)table->comm_abort(communicator);  // what it cannot free, nobody can
      return {};
    };
    auto begun = port::run_detached<void>(tasks_, "ncclCommAbort", tasks_.make_monitor(), call);
    if (!begun) return fail(ErrorCode::timeout, "ncclCommAbort has had no task yet: {}", begun.error().message);
    aborting_ = std::move(*begun);
  }
  if (!aborting_->pending()) return {};
  (void)aborting_->get(deadline);
  if (aborting_->pending()) return fail(ErrorCode::timeout, "ncclCommAbort has not returned");
  return {};
}

Result<bool> Ending::poll(const cuda::Site& site) {
  cuda::OnDevice here;
  TRY(here.enter(site));
  if (!recorded_) TRY(cuda::called(cudaEventRecord(parts_.event.get(), parts_.stream.get()), site, "cudaEventRecord"));
  recorded_ = true;
  const cudaError_t code = cudaEventQuery(parts_.event.get());
  if (code == cudaErrorNotReady) return false;
  TRY(cuda::called(code, site, "cudaEventQuery"));
  return true;
}

bool Ending::drained() {
  const Result<bool> over = poll({parts_.device, {}, {}, &lost_});
  return !lost_.empty() || over.value_or(false);
}

Status Ending::wait(port::Deadline deadline) {
  TRY(abort(deadline));
  if (MUTATE("nccl.abort_without_drain", false, true)) return {};
  for (port::Duration pause = poll_first; !drained(); pause = std::min(pause * 2, poll_longest)) {
    const port::TimePoint now = clock_.now();
    if (now >= deadline.at) return fail(ErrorCode::timeout, "the work of an aborted communicator has not ended");
    clock_.sleep_until(std::min(now + pause, deadline.at));
  }
  return {};
}

}  // namespace holdfast::backend

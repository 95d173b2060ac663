#include "impl/backend/nccl/ending.h"

#include <algorithm>

#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr port::Duration poll_first = std::chrono::microseconds(20), poll_longest = std::chrono::milliseconds(1);

}  // namespace

Status Ending::abort(port::Deadline deadline) {
  if (!aborting_) {
    const auto call = [table = parts_.table, communicator = parts_.communicator, name = parts_.name]() -> Status {
      (void)table->comm_abort(communicator);  // what it cannot free, nobody can
      return {};
    };
    aborting_ = TRY(port::run_detached<void>(tasks_, "ncclCommAbort", tasks_.make_monitor(), call));
  }
  if (!aborting_->pending()) return {};
  (void)aborting_->get(deadline);
  if (aborting_->pending()) return fail(ErrorCode::timeout, "ncclCommAbort has not returned");
  return {};
}

bool Ending::drained() {
  const cuda::Site site{parts_.device};
  const auto means_lost = [&](cudaError_t code) {
    (void)cudaGetLastError();
    return cuda::loses_device(code);
  };
  cuda::OnDevice here;
  if (!here.enter(site)) return means_lost(cudaGetLastError());
  if (!recorded_) {
    const cudaError_t code = cudaEventRecord(parts_.event.get(), parts_.stream.get());
    if (code != cudaSuccess) return means_lost(code);
    recorded_ = true;
  }
  const cudaError_t code = cudaEventQuery(parts_.event.get());
  return code == cudaSuccess || (code != cudaErrorNotReady && means_lost(code));
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

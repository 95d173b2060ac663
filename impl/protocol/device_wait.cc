#include "impl/protocol/device_wait.h"

#include <memory>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/port/unfinished.h"

namespace holdfast::protocol {
namespace {

bool is_timeout(const Status& status) { return !status && status.error().code == ErrorCode::timeout; }

}  // namespace

Status finish(const port::Env& env, port::StreamId stream, Status enqueued, port::Deadline deadline) {
  port::Device& device = env.device;
  Result<port::EventId> event = device.record(stream);
  if (!event) event = device.record(stream);  // want of memory may pass
  if (!event) {
    // What was enqueued goes on, and nobody can tell when it is over.
    if (env.unfinished) env.unfinished->add([](port::Deadline) { return Status(fail(ErrorCode::timeout, "no event was recorded")); });
    return enqueued ? Status(fail(event.error())) : enqueued;
  }
  const std::shared_ptr<void> destroyed(nullptr, [&device, id = *event](void*) { device.destroy_event(id); });
  const Status waited = MUTATE("staging.skip_wait", device.synchronize(*event, deadline), Status());
  // An error that is no timeout: the device is lost, and says so again; or only the question failed, and the work may be going on.
  const bool is_over = waited || (!is_timeout(waited) && !is_timeout(device.synchronize(*event, deadline)));
  if (!is_over && env.unfinished) {
    MARK("device.unfinished");
    env.unfinished->add([&device, id = *event, destroyed](port::Deadline until) { return device.synchronize(id, until); });
  }
  return enqueued ? waited : enqueued;
}

}  // namespace holdfast::protocol

#include "impl/protocol/trainer_work.h"

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {

Result<TrainerWork> TrainerWork::enqueued_on(const port::Env& env, std::optional<port::StreamId> stream) {
  if (!stream) return TrainerWork();
  const Result<port::EventId> end = env.device.record(*stream);
  if (!end) return fail(within(end.error(), "come after the work on the trainer's stream"));
  const auto destroy = [&device = env.device](const port::EventId* event) {
    device.destroy_event(*event);
    delete event;
  };
  return TrainerWork(std::shared_ptr<const port::EventId>(new port::EventId(*end), destroy));
}

Result<port::StreamId> TrainerWork::open_stream(const port::Env& env) const {
  const port::StreamId stream = TRY(env.device.create_stream());
  if (!end_) return stream;
  MARK("trainer_work.waited_for");
  if (const Status waits = env.device.wait(stream, *end_); !waits) {
    env.device.destroy_stream(stream);
    return fail(within(waits.error(), "come after the work on the trainer's stream"));
  }
  return stream;
}

Status TrainerWork::await(const port::Env& env, port::Deadline deadline) const {
  if (!end_) return {};
  MARK("trainer_work.awaited");
  const Status over = MUTATE("trainer_work.not_awaited", env.device.synchronize(*end_, deadline), Status());
  return over ? over : Status(fail(within(over.error(), "await the work on the trainer's stream")));
}

}  // namespace holdfast::protocol

// The wait for a device that uses the caller's memory.
#pragma once

#include "impl/port/env.h"

namespace holdfast::protocol {

/// Waits for everything on `stream`, whether or not all of it could be enqueued: what was, uses the caller's memory. Work that is not over at the deadline
/// becomes unfinished work of the session (port::Unfinished). Errors: that of `enqueued`; else the device's; timeout.
Status finish(const port::Env& env, port::StreamId stream, Status enqueued, port::Deadline deadline);

}  // namespace holdfast::protocol

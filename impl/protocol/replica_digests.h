// What a rank tells of the boxes that it holds and others write, so that the coordinator can compare replicas (impl/plan/replicas.h).
#pragma once

#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/plan_values.h"
#include "impl/plan/replicas.h"
#include "impl/port/env.h"
#include "impl/protocol/planner.h"
#include "impl/protocol/trainer_work.h"

namespace holdfast::protocol {

/// Digests of every box that is an item of `held` and not, as it is, one of `written`; taken where the tensors lie, after the trainer's work. Both plans are box by box (expand()).
/// Blocks until all are taken; no tensor is read afterwards, but by work that outlives a timeout (device_wait.h). Errors: the planner's, the device's; timeout.
Result<std::vector<plan::HeldBox>> digest_held_boxes(const port::Env& env, const TrainerWork& after, SavePlanner& planner,
                                                     const SavePlan& held, const SavePlan& written, port::Deadline deadline);

void encode(Encoder& out, const std::vector<plan::HeldBox>& boxes);
Result<std::vector<plan::HeldBox>> decode_held_boxes(Decoder& in);

}  // namespace holdfast::protocol

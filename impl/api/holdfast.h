// Holdfast for its users: everything a program needs that saves and loads sharded checkpoints. Errors are values (impl/core/error.h); nothing
// throws but for want of host memory, and nothing waits without a deadline.
//
//   auto job = holdfast::Job::alone();
//   holdfast::StateDict state;
//   HOLDFAST_TRY(state.add("wte", data, holdfast::DType::bf16, {50257, 768}, holdfast::ReplicatedLayout{}, job->rank()));
//   auto checkpoints = HOLDFAST_TRY(holdfast::Checkpoints::open(*job, "runs/gpt2"));
//   if (auto saved = checkpoints->save(state, {.step = holdfast::Step{1000}}); !saved) report(to_string(saved.error()));
//   ...
//   auto loaded = checkpoints->load(state);  // the newest committed and intact one, whatever layout it was saved from
#pragma once

#include "impl/api/checkpoints.h"
#include "impl/api/job.h"
#include "impl/core/error.h"
#include "impl/core/failure.h"
#include "impl/core/key_map.h"
#include "impl/core/layout.h"
#include "impl/core/nested.h"
#include "impl/core/state_dict.h"

// Checkpoints of tensors in GPU memory: the device door over the CUDA runtime. Needs no CUDA header. Link holdfast::cuda, which links cudart.
#pragma once

#include <holdfast/holdfast.h>

// clang-format off: the order matters
#include <holdfast/macros_push.inc>
#include "impl/backend/cuda/device.h"
#include <holdfast/macros_pop.inc>
// clang-format on

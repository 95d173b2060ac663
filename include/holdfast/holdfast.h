// Holdfast for those who use it: save and load sharded checkpoints. Link holdfast::holdfast. Leaves behind no macro without the prefix HOLDFAST_.
#pragma once

// clang-format off: the order matters
#include <holdfast/macros_push.inc>
#include "impl/api/holdfast.h"
#include <holdfast/macros_pop.inc>
// clang-format on

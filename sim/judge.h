// What must hold of every run, whatever its ranks are for.
#pragma once

#include <string_view>

#include "impl/core/verdict.h"
#include "sim/trace.h"

namespace holdfast::sim {

/// L1, L4, S10 (properties/CATALOGUE.md): every rank is back, nothing is left open, no door was misused. Adds what is violated to `verdict`;
/// `phase` ("save", "recovery") begins each message.
void judge_run(const Trace& trace, std::string_view phase, Verdict& verdict);

}  // namespace holdfast::sim

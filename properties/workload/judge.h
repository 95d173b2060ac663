// Judges of a save under faults: what must hold whatever happened (the invariants' names are those of CATALOGUE.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "impl/core/verdict.h"
#include "impl/protocol/save.h"
#include "sim/disk.h"
#include "sim/trace.h"

namespace holdfast::properties {

using SaveResults = std::vector<std::optional<protocol::Checkpointed<protocol::Saved>>>;

/// S5: the survivors' outcomes go together.
void judge_agreement(const SaveResults& saves, Verdict& verdict);
/// A1, A4: nobody is blamed but ranks where a fault was injected; without a fault nothing fails.
void judge_attribution(const SaveResults& saves, const sim::Trace& act, Verdict& verdict);
/// L4: a file that belongs neither to a committed attempt nor to the hint; none after a good save.
std::optional<std::string> debris(const sim::Disk& disk);

}  // namespace holdfast::properties

// Planted bugs, to prove that the properties can fail. MUTATE(id, good, bad) is `good` in every build but the one that defines
// HOLDFAST_MUTANTS; there it is `bad` while the mutant `id` is the active one. properties/mutants lists the ids.
#pragma once

#ifdef HOLDFAST_MUTANTS
#include <string_view>

namespace holdfast::mutants {
bool active(std::string_view id);
/// Activates one mutant for the process; an empty id activates none. Not synchronised: choose before a run starts.
void activate(std::string_view id);
}  // namespace holdfast::mutants

#define MUTATE(id, good, bad) (::holdfast::mutants::active(id) ? (bad) : (good))
#else
#define MUTATE(id, good, bad) (good)
#endif

// Compiled only into the mutant build (see mutate.h).
#include "impl/core/mutate.h"

#ifdef HOLDFAST_MUTANTS
#include <string>

namespace holdfast::mutants {
namespace {
std::string active_id;
}

bool active(std::string_view id) { return active_id == id; }
void activate(std::string_view id) { active_id = id; }

}  // namespace holdfast::mutants
#endif

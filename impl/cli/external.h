// Programs beside this one that the command offers as verbs: `holdfast sim` is holdfast-sim, as git does it.
#pragma once

#include <string>
#include <vector>

namespace holdfast::cli {

/// "sim", "report", ...: the programs named holdfast-VERB in the directory of this one, sorted; those with planted bugs left out.
std::vector<std::string> external_verbs();

/// Becomes holdfast-`verb` with `arguments`. Returns only when there is no such program, or it cannot be started: then why.
std::string run_external(const std::string& verb, const std::vector<std::string>& arguments);

}  // namespace holdfast::cli

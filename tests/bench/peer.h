// Programs in Python that time PyTorch beside us, where PyTorch is installed.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "impl/core/error.h"

namespace holdfast::bench {

/// Runs tests/bench/SCRIPT with the arguments; gives the JSON object that it prints. None where there is no python3 or no PyTorch (the script exits 3):
/// `why` says so then. Errors: aborted, when it fails.
Result<std::optional<nlohmann::json>> run_peer(const std::string& script, const std::string& arguments, std::string& why);

}  // namespace holdfast::bench

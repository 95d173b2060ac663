// Making the folder that checkpoints lie in.
#pragma once

#include <string>

#include "impl/core/error.h"

namespace holdfast {

/// Makes `folder` and its parents where they are absent. Durable: every name it made. Several processes may call it at once.
/// Errors: io_error when a component is a file or cannot be made; no_space.
Status make_folder(const std::string& folder);

}  // namespace holdfast

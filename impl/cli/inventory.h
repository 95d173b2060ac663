// What a plan is made for: the tensors and byte values of a layout file, a checkpoint or a safetensors file, without weights.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "impl/cli/folder.h"
#include "impl/spec/model.h"

namespace holdfast::cli {

struct Inventory {
  struct Value {
    std::string name;
    std::uint64_t bytes = 0;
  };
  spec::Model model;
  std::vector<Value> values;
  std::optional<format::Manifest> manifest;  ///< of a checkpoint
};

/// Whatever `path` is. Errors: as for the parts; invalid_argument for a file that is neither layout nor safetensors.
Result<Inventory> take_inventory(const std::string& path, const Console& console);

}  // namespace holdfast::cli

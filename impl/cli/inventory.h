// The tensors that a plan is made for: from a layout file, a checkpoint or a safetensors file. No weights.
#pragma once

#include <string>
#include <vector>

#include "impl/cli/folder.h"
#include "impl/core/box.h"
#include "impl/core/dtype.h"

namespace holdfast::cli {

struct Inventory {
  struct Tensor {
    std::string name;
    DType dtype = DType::f32;
    Dims shape;
    std::int64_t elements() const { return volume({shape.data(), shape.size()}); }
  };
  struct Value {
    std::string name;
    std::uint64_t bytes = 0;
  };
  std::string name;
  std::vector<Tensor> tensors;
  std::vector<Value> values;
  std::uint64_t elements = 0;
  std::uint64_t parameters = 0;  ///< elements without buffers, tied tensors once; without a layout's word on those, all elements
};

/// A JSON object with "tensors": [{"name", "dtype", "shape", "buffer"?}, ...] and perhaps "name" and "tied": [[first, second], ...].
/// Errors: invalid_argument, naming the tensor; unsupported for a dtype that Holdfast does not have.
Result<Inventory> parse_layout(std::string_view json, const std::string& path);

/// Whatever `path` is. Errors: as for the parts; invalid_argument for a file that is neither layout nor safetensors.
Result<Inventory> take_inventory(const std::string& path, const Console& console);

}  // namespace holdfast::cli

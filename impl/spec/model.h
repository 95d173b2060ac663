// A model's layout file: the names, types and shapes of its tensors, in the order of the module. No weights. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/dtype.h"

namespace holdfast::spec {

struct ModelTensor {
  std::string name;
  DType dtype = DType::f32;
  Dims shape;
  bool buffer = false;  ///< saved but not trained: no optimizer state
  bool tied = false;    ///< stands for the values of a tensor before it: no optimizer state, and not counted as a parameter

  std::uint64_t elements() const { return static_cast<std::uint64_t>(volume({shape.data(), shape.size()})); }
  std::uint64_t bytes() const { return elements() * size_bytes(dtype); }
};

struct Model {
  std::string name;
  std::vector<ModelTensor> tensors;

  std::uint64_t parameters() const;  ///< elements without buffers, tied tensors once
  std::uint64_t elements() const;    ///< of all tensors
  std::uint64_t bytes() const;
};

/// A JSON object with "tensors": [{"name", "dtype", "shape", "buffer"?}, ...] and perhaps "name" and "tied": [[first, second], ...], where the second
/// may be missing from the tensors. `path` names the file in messages, and the model where the file does not.
/// Errors: invalid_argument, naming the tensor; unsupported for a dtype that Holdfast does not have.
Result<Model> parse_model(std::string_view json, const std::string& path);

}  // namespace holdfast::spec

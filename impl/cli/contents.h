// One side of a comparison: the tensors and byte values of a checkpoint or of a safetensors file, with their digests, and their bytes when asked for.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "impl/cli/folder.h"
#include "impl/core/digest.h"

namespace holdfast::cli {

class Contents {
 public:
  struct Tensor {
    DType dtype = DType::f32;
    Dims shape;
    TensorDigest digest;  ///< layout-free. Of a checkpoint: what its commit record says, which `holdfast verify` compares with the bytes
  };
  struct Value {
    std::uint64_t bytes = 0;
    BlockDigest digest;
  };

  virtual ~Contents() = default;
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, Value>& values() const { return values_; }
  /// The directory of a checkpoint, or the path of a file.
  const std::string& name() const { return name_; }

  /// The bytes of a tensor, packed and row-major; of a checkpoint verified. Requires: a name of tensors().
  virtual Result<Bytes> read_tensor(const std::string& name) = 0;
  /// Requires: a name of values().
  virtual Result<Bytes> read_value(const std::string& name) = 0;

 protected:
  std::string name_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, Value> values_;
};

/// Errors: of locate(), open_safetensors() and manifests; unsupported for a dtype that Holdfast does not have.
Result<std::unique_ptr<Contents>> open_contents(const std::string& path, const Console& console);

}  // namespace holdfast::cli

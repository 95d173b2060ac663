// A device mesh while a tensor is laid over it: which dims cut it, which are fixed, which are left.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "impl/core/mesh_layout.h"
#include "impl/spec/mesh.h"

namespace holdfast::spec {

class Axes {
 public:
  /// `dims` are all the ranks of `mesh`, packed.
  Axes(const MeshSpec& mesh, std::span<const MeshDim> dims);

  /// Ranks along a dim, or along flattened dims; 1 for one that the mesh lacks.
  std::int64_t size(const std::string& dim) const;
  /// Leaves of `dim` the ranks at one coordinate.
  void fix(const std::string& dim, std::int64_t coordinate);
  /// Cuts along `dim`. Errors: invalid_argument when flattened dims of more than one rank are no neighbours, or are cut already.
  Status cut(const std::string& dim, Placement placement);
  /// Cuts along `dim` into `parts`, each held by size / parts neighbours. Requires: parts divides size(dim).
  Status cut_repeated(const std::string& dim, std::int64_t parts, Placement placement);

  /// The layout of the dims that are neither fixed nor of size 1.
  MeshLayout layout() const;
  /// Numbers of the axes of layout() that `dim` is, in order. Requires: dim is not cut by a placement.
  std::vector<int> numbers(const std::string& dim) const;
  /// Names of the dims that no placement cut and nothing fixed.
  std::vector<std::string> uncut() const;

 private:
  struct Axis {
    std::string name;
    MeshAxis axis;
    Placement placement = Replicate{};
    bool placed = false;
  };
  std::vector<std::string> parts_of(const std::string& dim) const;
  std::size_t find(const std::string& name) const;
  /// One axis of what flattened dims are; its position.
  Result<std::size_t> merge(const std::string& dim);

  std::string mesh_name_;
  std::vector<MeshSpec::Flattened> flattened_;
  std::int64_t first_ = 0;
  std::vector<Axis> axes_;  ///< without those of size 1 and those fixed
};

}  // namespace holdfast::spec

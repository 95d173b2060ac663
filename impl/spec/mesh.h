// meshes.json: the device meshes that train the models. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/box.h"
#include "impl/core/dtype.h"

namespace holdfast::spec {

struct MeshDim {
  std::string name;
  std::int64_t size = 1;
  bool operator==(const MeshDim&) const = default;
};

/// What the optimizer keeps for every parameter.
struct OptimizerState {
  std::string name;  ///< "exp_avg"
  DType dtype = DType::f32;
  std::optional<Dims> shape;  ///< none: that of the parameter
};

struct MeshSpec {
  std::string model;
  std::string name;
  std::string rules;  ///< a rule set of sharding.json
  std::int64_t ranks = 1;
  std::vector<MeshDim> dims;         ///< outermost first: the last varies fastest with the rank
  std::vector<MeshDim> expert_dims;  ///< the same ranks seen by expert parameters; none: as `dims`
  struct Flattened {
    std::string name;
    std::vector<std::string> dims;
  };
  std::vector<Flattened> flattened;            ///< names for the product of dims
  std::vector<std::int64_t> layers_per_chunk;  ///< pipeline chunks in model order; chunk c lies on pp rank c modulo the size of pp
  std::optional<DType> parameters;             ///< none: as the model has them
  std::vector<OptimizerState> states;
};

/// The "meshes" of a file. `path` names it in messages. Errors: invalid_argument, unsupported (dtype), naming mesh and member; a mesh whose
/// dims do not make its ranks.
Result<std::vector<MeshSpec>> parse_meshes(std::string_view json, const std::string& path);

/// The mesh of that name, of meshes for several models that of `model`. Errors: not_found, with the names there are.
Result<MeshSpec> find_mesh(const std::vector<MeshSpec>& meshes, std::string_view name, std::string_view model);

/// The same mesh with another number of ranks: its data parallel dim (the first there is of dp_shard, fsdp, dp, dp_replicate; of the experts edp) grows or
/// shrinks, all others stay. Errors: invalid_argument when there is no such dim, or the others do not divide `ranks`.
Result<MeshSpec> with_ranks(MeshSpec mesh, std::int64_t ranks);

}  // namespace holdfast::spec

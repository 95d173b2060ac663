// The state of a training job: a model on a mesh by a rule set. Every key with the layout that its ranks hold, symbolic. Pure.
//
// Keys: parameters and buffers under their published names; optimizer state as "optimizer.state.<parameter>.<state>".
//
// How the placements become layouts:
// - Dims of the mesh of size 1 are left out. Layer, First, Last and Expert pick one coordinate along their dim: the layout's mesh is the rest, with the
//   first rank of that stage. Of several pipeline chunks c lies on stage c modulo the stages; First is chunk 0, Last the last one.
// - A rule that names a dim which the mesh lacks, or flattened dims it does not name, means size 1, as sharding.json says.
// - pad_to makes the tensor itself longer: item.shape is what the job saves, model_shape what the model has of it.
// - A rule with `unit` (heads) whose tensor has fewer heads than the cutting dim has ranks is repeated where the heads divide the ranks and another tensor
//   of the same rule has enough heads: neighbouring ranks hold the same head.
// - Megatron's distributed optimizer: the parameters of a chunk on a rank, dense and expert ones apart, in reverse order of the model, each from a multiple
//   of 64 elements on, are one bucket, padded to a multiple of lcm(ranks that share it, 128); each of those ranks owns an equal run. (Megatron cuts the
//   bucket of the first stage in several when it overlaps the reduction of gradients: not told apart here.)
#pragma once

#include <vector>

#include "impl/core/plan_values.h"
#include "impl/spec/mesh.h"
#include "impl/spec/sharding.h"

namespace holdfast::spec {

enum class KeyKind : std::uint8_t { parameter, tied, buffer, optimizer };

struct JobTensor {
  LayoutItem item;
  KeyKind kind = KeyKind::parameter;
  Dims model_shape;  ///< item.shape without padding
};

struct Job {
  std::string model;
  std::string mesh;
  std::string rules;
  std::int64_t ranks = 1;
  std::vector<JobTensor> tensors;  ///< in name order
};

/// Errors: invalid_argument, naming mesh, rule set and tensor: no rule for it; a layer on no chunk; parts that do not divide by the heads; a flat cut over
/// parts of unequal size; dims that are no neighbours cut as one; a layout that check() refuses.
Result<Job> make_job(const Model& model, const MeshSpec& mesh, const Sharding& sharding);

/// The tensors that each rank knows: those in whose mesh it is. Ranks with equal tables share one.
std::vector<LayoutTable> local_tables(const Job& job);

}  // namespace holdfast::spec

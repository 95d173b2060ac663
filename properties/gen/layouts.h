// Layouts for generated tensors: every kind that a state dict can have, over any ranks of a job.
#pragma once

#include "impl/core/layout.h"

namespace holdfast::properties::gen {

/// Draws a layout that fits `shape` and a job of `world_size` ranks and leaves no element to nobody. Called inside a RapidCheck generator.
Layout draw_layout(const Dims& shape, int world_size);
/// Draws one over a mesh: any sizes, strides and first rank, any placements, with or without a flat cut.
MeshLayout draw_mesh_layout(const Dims& shape, int world_size);

}  // namespace holdfast::properties::gen

#include "properties/gen/paper_job.h"

#include <algorithm>
#include <numeric>

#include "impl/core/check.h"
#include "properties/gen/draw.h"

namespace holdfast::properties::gen {
namespace {

/// Sizes of axes whose product is exactly `ranks`.
std::vector<std::int64_t> draw_sizes(Draw& draw, std::int64_t ranks) {
  std::vector<std::int64_t> sizes;
  while (ranks > 1) {
    std::vector<std::int64_t> divisors;
    for (std::int64_t d = 2; d <= ranks; ++d) {
      if (ranks % d == 0) divisors.push_back(d);
    }
    sizes.push_back(divisors[static_cast<std::size_t>(draw.below(std::ssize(divisors)))]);
    ranks /= sizes.back();
  }
  if (sizes.empty() || draw.one_in(6)) sizes.push_back(1);
  return sizes;
}

/// A stage of a pipeline, or all ranks; axes in any order of their strides.
Mesh draw_mesh(Draw& draw, std::int64_t world, std::int64_t stages) {
  const std::int64_t ranks = world / stages;
  Mesh mesh = packed_mesh(draw_sizes(draw, ranks), draw.below(stages) * ranks);
  if (draw.one_in(3)) std::reverse(mesh.axes.begin(), mesh.axes.end());
  return mesh;
}

Dims draw_shape(Draw& draw) {
  Dims shape;
  for (std::int64_t dims = draw.below(4); dims > 0; --dims) {
    shape.push_back(draw.of<std::int64_t>({0, 1, 2, 3, 5, 8, 17, 64, 100, 256, 500, 1000, 1024}));
  }
  if (shape.size() == 1 && !draw.one_in(3)) shape[0] *= 1000;
  if (shape.size() == 3) shape[0] = std::min<std::int64_t>(shape[0], 8);
  return shape;
}

MeshLayout draw_rule(Draw& draw, const Mesh& mesh, const Dims& shape) {
  MeshLayout layout{mesh, {}, {}};
  layout.placements.assign(mesh.axes.size(), Replicate{});
  for (std::size_t a = 0; a < mesh.axes.size() && !shape.empty(); ++a) {
    const auto dim = static_cast<int>(draw.below(std::ssize(shape)));
    const std::int64_t extent = shape[static_cast<std::size_t>(dim)];
    const std::int64_t first = draw.below(extent + 1);
    switch (draw.below(8)) {
      case 0:
      case 1: layout.placements[a] = Shard{dim}; break;
      case 2: layout.placements[a] = StridedShard{dim, a + 1 < mesh.axes.size() ? mesh.axes[a + 1].size : 2}; break;
      case 3: layout.placements[a] = Segments{dim, {first, extent - first}}; break;
      default: break;
    }
    if (!check(layout, shape)) layout.placements[a] = Replicate{};
  }
  auto axes = replicated_axes(layout);
  if (axes.empty() || draw.one_in(2)) return layout;
  const MeshLayout uncut = layout;
  FlatCut flat{{}, draw.one_in(2) ? 0 : draw.below(100'000), 1, draw.one_in(4) ? 1 + draw.below(300) : 1, {}, 1};
  std::int64_t runs = 1;
  for (const int axis : axes) {
    if (!flat.axes.empty() && draw.one_in(2)) continue;
    flat.axes.push_back(axis);
    runs *= mesh.axes[static_cast<std::size_t>(axis)].size;
  }
  flat.run = std::max<std::int64_t>(1, (flat.offset + uncut_elements(layout, shape, 0) + runs - 1) / runs + draw.below(50));
  layout.flat = std::move(flat);
  return check(layout, shape) ? layout : uncut;
}

Layout draw_boxes(Draw& draw, const Dims& shape, int world) {
  if (shape.empty() || draw.one_in(2)) return ReplicatedLayout{};
  ChunkLayout layout{static_cast<int>(draw.below(std::ssize(shape))), {}};
  for (std::int64_t placements = 1 + draw.below(world + 2); placements > 0; --placements) {
    layout.placements.push_back(Rank{static_cast<std::int32_t>(draw.below(world))});
  }
  return layout;
}

void add(PaperJob& job, std::size_t rank, const std::string& name, TensorEntry entry) {
  const Status added = job.states[rank].add(name, std::move(entry));
  CHECK(added.has_value(), "{}", added.error());
}

/// How ranks outside a mesh take it.
enum class Outside { lists, announces, knows_nothing };

void add_ruled(Draw& draw, PaperJob& job, const std::string& name, DType dtype, const Dims& shape, std::int64_t stages) {
  const auto world = std::ssize(job.states);
  const MeshLayout rule = draw_rule(draw, draw_mesh(draw, world, stages), shape);
  const auto outside = draw.of({Outside::lists, Outside::announces, Outside::knows_nothing});
  // Tied weights: the first and the last stage hold the same by rules of their own; or one rank says nothing of the rule.
  std::optional<MeshLayout> twin;
  if (stages > 1 && draw.one_in(3)) {
    twin = rule;
    twin->mesh.first = (rule.mesh.first + world / stages) % world;
  }
  const std::int64_t without_rule =
      !shape.empty() && draw.one_in(6) ? draw.below(world) : -1;  // nothing of a 0-d tensor cannot be announced
  for (std::size_t r = 0; r < job.states.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    const bool in_twin = twin && twin->mesh.position(rank);
    if (!in_twin && !rule.mesh.position(rank)) {
      if (outside == Outside::knows_nothing) continue;
      if (outside == Outside::announces) {
        add(job, r, name, TensorEntry{dtype, shape, true, {}});
        continue;
      }
    }
    TensorEntry entry = paper_entry(dtype, shape, in_twin ? *twin : rule, rank);
    if (static_cast<std::int64_t>(r) == without_rule) entry.rule.reset();
    add(job, r, name, std::move(entry));
  }
}

}  // namespace

TensorEntry paper_entry(DType dtype, const Dims& shape, const Layout& layout, Rank rank) {
  TensorEntry entry{dtype, shape, !std::holds_alternative<ReplicatedLayout>(layout), {}};
  if (const auto* rule = std::get_if<MeshLayout>(&layout)) entry.rule = *rule;
  auto boxes = local_boxes(layout, shape, rank);
  CHECK(boxes.has_value(), "{}", boxes.error());
  for (Box& box : *boxes) {
    StridedBlock memory = packed_block(nullptr, box.size, size_bytes(dtype));
    entry.shards.push_back({std::move(box), std::move(memory)});
  }
  return entry;
}

PaperJob draw_paper_job(std::uint64_t seed, const PaperJobOptions& options) {
  Draw draw(seed);
  PaperJob job;
  job.states.resize(static_cast<std::size_t>(1 + draw.below(options.ranks_max)));
  const auto world = std::ssize(job.states);
  std::int64_t stages = draw.of<std::int64_t>({1, 2, 3, 4});
  while (world % stages != 0) --stages;
  for (std::int64_t t = 1 + draw.below(options.tensors_max); t > 0; --t) {
    const std::string name = fmt::format("layers.{}.{}", draw.below(3), t);
    const DType dtype = draw.of({DType::u8, DType::bf16, DType::f32, DType::f32, DType::c128});
    const Dims shape = draw_shape(draw);
    if (draw.below(5) > 0) {
      add_ruled(draw, job, name, dtype, shape, stages);
      continue;
    }
    const Layout boxes = draw_boxes(draw, shape, static_cast<int>(world));
    for (std::size_t r = 0; r < job.states.size(); ++r) {
      add(job, r, name, paper_entry(dtype, shape, boxes, Rank{static_cast<std::int32_t>(r)}));
    }
  }
  for (std::int64_t v = draw.below(3); v > 0; --v) {
    const auto bytes = static_cast<std::size_t>(draw.below(5000));
    const std::int64_t from = draw.below(world);
    for (std::int64_t r = from; r < world; ++r) {
      const Status added = job.states[static_cast<std::size_t>(r)].add_bytes(fmt::format("value.{}", v), Bytes(bytes));
      CHECK(added.has_value(), "{}", added.error());
    }
  }
  return job;
}

}  // namespace holdfast::properties::gen

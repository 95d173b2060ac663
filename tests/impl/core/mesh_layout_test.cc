#include "impl/core/mesh_layout.h"

#include <gtest/gtest.h>

#include <set>

#include "impl/core/chunk_set.h"
#include "impl/core/layout.h"
#include "impl/core/memory.h"
#include "tests/impl/core/random.h"

namespace holdfast {
namespace {

/// Random numbers as the layouts use them.
class Random {
 public:
  explicit Random(std::uint64_t seed) : bits_(seed) {}
  std::int64_t below(std::int64_t bound) { return static_cast<std::int64_t>(bits_.below(static_cast<std::uint64_t>(bound))); }

 private:
  testing::Random bits_;
};

/// Row-major numbers of the elements of a box.
std::vector<std::int64_t> elements_of(const Box& box, const Dims& shape) {
  std::vector<std::int64_t> numbers;
  const StridedBlock block = packed_block(nullptr, shape, 1);
  std::int64_t start = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) start += box.offset[d] * block.strides_bytes[d];
  StridedBlock part = block;
  part.sizes = box.size;
  for_each_run(part, [&](std::int64_t at, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) numbers.push_back(start + at + i);
  });
  return numbers;
}

MeshLayout over(std::initializer_list<std::int64_t> sizes, std::initializer_list<Placement> placements, std::int64_t first = 0) {
  return {packed_mesh(std::vector(sizes), first), placements, {}};
}

std::vector<Box> boxes_at(const MeshLayout& layout, const Dims& shape, std::int64_t position) {
  std::vector<Box> boxes;
  for (LocalBox& local : local_part(layout, shape, position)) boxes.push_back(std::move(local.box));
  return boxes;
}

/// A layout drawn over at most 24 ranks, with or without a flat cut; check() accepts it.
MeshLayout draw_layout(Random& random, const Dims& shape) {
  while (true) {
    MeshLayout layout;
    std::vector<std::int64_t> sizes;
    for (std::int64_t axes = random.below(4); axes > 0; --axes) sizes.push_back(1 + random.below(3));
    layout.mesh = packed_mesh(sizes, random.below(3));
    for (std::size_t a = 0; a < sizes.size(); ++a) {
      const int dim = shape.empty() ? 0 : static_cast<int>(random.below(static_cast<std::int64_t>(shape.size())));
      switch (shape.empty() ? 0 : random.below(5)) {
        case 1: layout.placements.emplace_back(Shard{dim}); break;
        case 2: layout.placements.emplace_back(StridedShard{dim, 1 + random.below(3)}); break;
        case 3: {
          const std::int64_t extent = shape[static_cast<std::size_t>(dim)];
          const std::int64_t first = random.below(extent + 1);
          layout.placements.emplace_back(Segments{dim, {first, extent - first}});
          break;
        }
        default: layout.placements.emplace_back(Replicate{});
      }
    }
    if (const auto axes = replicated_axes(layout); !axes.empty() && random.below(2) == 0) {
      FlatCut flat{{}, random.below(9), 1 + random.below(12), 1 + random.below(4)};
      for (const int axis : axes) {
        if (random.below(3) == 0) {
          flat.inner_axes.push_back(axis);
        } else {
          flat.axes.push_back(axis);
        }
      }
      if (!flat.inner_axes.empty()) flat.inner_unit = 1 + random.below(8);
      layout.flat = flat;
    }
    if (check(layout, shape)) return layout;
  }
}

Dims draw_shape(Random& random) {
  Dims shape;
  for (std::int64_t dims = random.below(4); dims > 0; --dims) shape.push_back(random.below(7));
  return shape;
}

/// The positions that hold different things: one of each group of replicas.
std::vector<std::int64_t> distinct_positions(const MeshLayout& layout) {
  std::vector<std::int64_t> positions;
  const auto replicated = replicated_axes(layout);
  for (std::int64_t p = 0; p < layout.mesh.size(); ++p) {
    std::int64_t rest = p;
    bool first = true;
    for (std::size_t a = layout.mesh.axes.size(); a-- > 0;) {
      const bool replica = std::ranges::find(replicated, static_cast<int>(a)) != replicated.end();
      if (replica && rest % layout.mesh.axes[a].size != 0) first = false;
      rest /= layout.mesh.axes[a].size;
    }
    if (first) positions.push_back(p);
  }
  return positions;
}

TEST(MeshLayout, RanksAndPositionsAreInverse) {
  const Mesh mesh{5, {{2, 12}, {3, 1}, {2, 3}}};  // axes out of order of their strides
  std::set<Rank> ranks;
  for (std::int64_t p = 0; p < mesh.size(); ++p) {
    EXPECT_EQ(mesh.position(mesh.rank(p)), p);
    ranks.insert(mesh.rank(p));
  }
  EXPECT_EQ(ranks.size(), 12u);
  for (int rank = 0; rank < 40; ++rank) EXPECT_EQ(mesh.position(Rank{rank}).has_value(), ranks.contains(Rank{rank})) << rank;
}

TEST(MeshLayout, EveryElementIsHeldOnceByTheRanksThatAreNoReplicas) {
  Random random(7);
  for (int i = 0; i < 20000; ++i) {
    const Dims shape = draw_shape(random);
    const MeshLayout layout = draw_layout(random, shape);
    std::vector<int> held(static_cast<std::size_t>(whole(shape).volume()), 0);
    for (const std::int64_t p : distinct_positions(layout)) {
      ASSERT_LE(uncut_elements(layout, shape, p), uncut_elements(layout, shape, 0)) << to_string(layout);
      std::int64_t boxes = 0;
      std::set<std::int64_t> memory;
      for (const LocalBox& local : local_part(layout, shape, p)) {
        ++boxes;
        ASSERT_TRUE(in_bounds(local.box, shape)) << to_string(layout);
        for (const std::int64_t element : elements_of(local.box, shape)) ++held[static_cast<std::size_t>(element)];
        // Its place in memory: packed, no element on another.
        StridedBlock block{nullptr, local.box.size, local.strides, 1};
        for_each_run(block, [&](std::int64_t at, std::int64_t count) {
          for (std::int64_t e = 0; e < count; ++e) ASSERT_TRUE(memory.insert(local.start + at + e).second) << to_string(layout);
        });
      }
      ASSERT_LE(boxes, boxes_max(layout, shape)) << to_string(layout);
      if (!memory.empty()) {
        ASSERT_EQ(*memory.begin(), 0);
        ASSERT_EQ(*memory.rbegin(), std::ssize(memory) - 1) << to_string(layout);
      }
    }
    for (std::size_t e = 0; e < held.size(); ++e) ASSERT_EQ(held[e], 1) << to_string(layout) << " element " << e;
  }
}

TEST(MeshLayout, ReplicasHoldTheSame) {
  const MeshLayout layout = over({2, 3}, {Replicate{}, Shard{0}});
  for (std::int64_t t = 0; t < 3; ++t) EXPECT_EQ(boxes_at(layout, {7, 2}, t), boxes_at(layout, {7, 2}, 3 + t));
}

TEST(MeshLayout, StridedShardOutsideAShardCutsWhatTheShardLeft) {
  // FSDP over 2 outside tensor parallelism over 2, 10 rows: tp leaves 5 and 5, fsdp cuts each into 3 and 2.
  const MeshLayout layout = over({2, 2}, {StridedShard{0, 2}, Shard{0}});
  EXPECT_EQ(boxes_at(layout, {10}, 0), (std::vector<Box>{{{0}, {3}}}));
  EXPECT_EQ(boxes_at(layout, {10}, 1), (std::vector<Box>{{{5}, {3}}}));
  EXPECT_EQ(boxes_at(layout, {10}, 2), (std::vector<Box>{{{3}, {2}}}));
  EXPECT_EQ(boxes_at(layout, {10}, 3), (std::vector<Box>{{{8}, {2}}}));
}

TEST(MeshLayout, StridedShardAloneGivesSeveralBoxes) {
  const MeshLayout layout = over({2}, {StridedShard{0, 3}});
  EXPECT_EQ(boxes_at(layout, {12}, 1), (std::vector<Box>{{{2}, {2}}, {{6}, {2}}, {{10}, {2}}}));
}

TEST(MeshLayout, SegmentsAreJoinedAlongTheirDimensionInMemory) {
  const MeshLayout layout = over({2}, {Segments{1, {4, 2}}});
  const std::vector<LocalBox> part = local_part(layout, {2, 6}, 1);
  ASSERT_EQ(part.size(), 2u);
  EXPECT_EQ(part[0], (LocalBox{{{0, 2}, {2, 2}}, 0, {3, 1}}));
  EXPECT_EQ(part[1], (LocalBox{{{0, 5}, {2, 1}}, 2, {3, 1}}));
}

TEST(MeshLayout, AFlatCutOfAMatrixIsAtMostThreeBoxes) {
  MeshLayout layout = over({2}, {Replicate{}});
  layout.flat = FlatCut{{0}, 0, 10, 1};
  EXPECT_EQ(boxes_at(layout, {5, 4}, 0), (std::vector<Box>{{{0, 0}, {2, 4}}, {{2, 0}, {1, 2}}}));
  EXPECT_EQ(boxes_at(layout, {5, 4}, 1), (std::vector<Box>{{{2, 2}, {1, 2}}, {{3, 0}, {2, 4}}}));
  layout.flat = FlatCut{{0}, 3, 8, 1};  // the line's first three elements belong to another tensor
  EXPECT_EQ(boxes_at(layout, {3, 4}, 0), (std::vector<Box>{{{0, 0}, {1, 4}}, {{1, 0}, {1, 1}}}));
  layout.flat = FlatCut{{0}, 3, 8, 4};  // in whole rows
  EXPECT_EQ(boxes_at(layout, {3, 4}, 0), (std::vector<Box>{{{0, 0}, {1, 4}}}));
  EXPECT_EQ(boxes_at(layout, {3, 4}, 1), (std::vector<Box>{{{1, 0}, {2, 4}}}));
}

TEST(MeshLayout, ARunIsCutOnceMoreAlongInnerAxes) {
  // ZeRO over 2, replicated twice outside: the replicas share each run of 10 elements in whole rows, rounded down.
  MeshLayout layout = over({2, 2}, {Replicate{}, Replicate{}});
  layout.flat = FlatCut{{1}, 0, 10, 1, {0}, 4};
  EXPECT_TRUE(replicated_axes(layout).empty());
  EXPECT_EQ(boxes_at(layout, {5, 4}, 0), (std::vector<Box>{{{0, 0}, {1, 4}}}));
  EXPECT_EQ(boxes_at(layout, {5, 4}, 2), (std::vector<Box>{{{1, 0}, {1, 4}}, {{2, 0}, {1, 2}}}));
  EXPECT_EQ(boxes_at(layout, {5, 4}, 1), (std::vector<Box>{{{2, 2}, {1, 2}}}));
  EXPECT_EQ(boxes_at(layout, {5, 4}, 3), (std::vector<Box>{{{3, 0}, {2, 4}}}));
  EXPECT_EQ(to_string(layout), "mesh(2x2 from 0) [replicate,replicate] flat(axes 1 at 0 by 10, then axes 0 in 4s)");
}

TEST(MeshLayout, RefusesWhatCannotBe) {
  const auto message = [](const MeshLayout& layout, const Dims& shape, std::int64_t world = 0) {
    const Status status = check(layout, shape, world);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(message(over({2}, {}), {4}), "mesh(2 from 0): 0 placements for 1 axes");
  EXPECT_EQ(message(over({4}, {Shard{0}}, 2), {4}, 5), "mesh(4 from 2): the job has 5 ranks");
  EXPECT_EQ(message({{0, {{2, 1}, {2, 1}}}, {Replicate{}, Replicate{}}, {}}, {4}),
            "mesh(2:1x2:1 from 0): two positions would be the same rank");
  EXPECT_EQ(message(over({2}, {Shard{1}}), {4}),
            "mesh(2 from 0) [shard(1)]: placement 0 of a tensor of shape [4]: there is no dimension 1");
  EXPECT_EQ(message(over({2}, {Segments{0, {1, 2}}}), {4}),
            "mesh(2 from 0) [segments(0: 1+2)]: placement 0 of a tensor of shape [4]: its segments add up to 3, not 4");
  MeshLayout flat = over({2}, {Replicate{}});
  flat.flat = FlatCut{{0}, 5, 4, 1};
  EXPECT_EQ(message(flat, {4}), "mesh(2 from 0) [replicate] flat(axes 0 at 5 by 4): 2 runs of 4 elements do not reach the end of 4 at 5");
  flat.placements = {Shard{0}};
  EXPECT_EQ(message(flat, {4}), "mesh(2 from 0) [shard(0)] flat(axes 0 at 5 by 4): the flat cut names an axis that a placement has cut");
}

TEST(ChunkSetOfMesh, FindsWhatComparingAllFinds) {
  Random random(11);
  for (int i = 0; i < 5000; ++i) {
    const Dims shape = draw_shape(random);
    MeshLayout layout = draw_layout(random, shape);
    if (!replicated_axes(layout).empty()) continue;
    const ChunkSet chunks(layout, shape);
    Box wanted = whole(shape);
    for (std::size_t d = 0; d < shape.size(); ++d) {
      wanted.offset[d] = random.below(shape[d] + 1);
      wanted.size[d] = random.below(shape[d] - wanted.offset[d] + 1);
    }
    std::vector<ChunkSet::Id> expected;
    std::size_t count = 0;
    chunks.for_each([&](ChunkSet::Id id, const Box& box) {
      ++count;
      ASSERT_EQ(chunks.box(id), box);
      ASSERT_EQ(chunks.find(box.offset), id) << to_string(layout) << " " << to_string(box);
      ASSERT_EQ(boxes_at(layout, shape, *layout.mesh.position(chunks.holder(id).rank))[static_cast<std::size_t>(chunks.holder(id).number)],
                box);
      if (!wanted.empty() && intersection(box, wanted)) expected.push_back(id);
    });
    ASSERT_EQ(chunks.size(), count);
    ASSERT_EQ(chunks.intersecting(wanted), expected) << to_string(layout) << " " << to_string(wanted);
  }
}

TEST(Layout, FlatRangesAndListedBoxesLieOneAfterTheOther) {
  const FlatLayout flat{{{Rank{0}, 0, 5}, {Rank{1}, 5, 7}, {Rank{0}, 12, 3}}};
  const auto part = local_part(flat, {5, 3}, Rank{0});
  ASSERT_TRUE(part);
  EXPECT_EQ(*part, (std::vector<LocalBox>{{{{0, 0}, {1, 3}}, 0, {3, 1}}, {{{1, 0}, {1, 2}}, 3, {3, 1}}, {{{4, 0}, {1, 3}}, 5, {3, 1}}}));
  const EnumerableLayout boxes{{{Rank{2}, {{1, 0}, {2, 2}}}, {Rank{2}, {{0, 2}, {1, 1}}}}};
  EXPECT_EQ(*local_part(boxes, {3, 3}, Rank{2}), (std::vector<LocalBox>{{{{1, 0}, {2, 2}}, 0, {2, 1}}, {{{0, 2}, {1, 1}}, 4, {1, 1}}}));
  EXPECT_EQ(local_part(boxes, {2, 3}, Rank{2}).error().message, "layout: box [1,0]+[2,2] of rank 2 outside shape [2,3]");
  EXPECT_EQ(local_part(flat, {4, 3}, Rank{0}).error().message, "layout: range 12+3 of rank 0 outside 12 elements");
}

}  // namespace
}  // namespace holdfast

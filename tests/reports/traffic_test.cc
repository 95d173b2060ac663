// Reports of rules against reports of the same plans item by item.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "impl/format/file_names.h"
#include "impl/plan/load_plan.h"
#include "impl/plan/save_plan.h"
#include "reports/grouping.h"
#include "reports/reads.h"
#include "reports/writes.h"
#include "tests/impl/spec/specs.h"

namespace holdfast::reports {
namespace {

using spec::MeshSpec;
using spec::testing::mesh_of;

/// A small model whose tensors every rule set but gpt2's and mixtral's knows.
spec::Model tiny_llama() {
  return spec::testing::value_of(spec::parse_model(R"({"name":"tiny","tensors":[
    {"name":"model.embed_tokens.weight","dtype":"F32","shape":[300,16]},
    {"name":"model.layers.0.input_layernorm.weight","dtype":"F32","shape":[16]},
    {"name":"model.layers.0.self_attn.q_proj.weight","dtype":"F32","shape":[1024,16]},
    {"name":"model.layers.0.self_attn.k_proj.weight","dtype":"F32","shape":[256,16]},
    {"name":"model.layers.0.self_attn.o_proj.weight","dtype":"F32","shape":[16,1024]},
    {"name":"model.layers.0.mlp.down_proj.weight","dtype":"F32","shape":[16,40]},
    {"name":"model.layers.1.mlp.down_proj.weight","dtype":"F32","shape":[16,40]},
    {"name":"model.layers.1.mlp.up_proj.weight","dtype":"F32","shape":[40,16]},
    {"name":"model.norm.weight","dtype":"F32","shape":[16]},
    {"name":"lm_head.weight","dtype":"F32","shape":[300,16]}]})",
                                                   "tiny.json"));
}

std::vector<MeshSpec> meshes() {
  std::vector<MeshSpec> all = {
      mesh_of("any/ddp", {{"dp", 3}}),
      mesh_of("any/fsdp2", {{"fsdp", 7}}),
      mesh_of("any/zero3", {{"dp", 5}}),
      mesh_of("llama/torchtitan", {{"dp_replicate", 2}, {"fsdp", 3}, {"tp", 4}}),
      mesh_of("llama/torchtitan", {{"pp", 2}, {"fsdp", 2}, {"tp", 2}}, {1, 1}),
      mesh_of("llama/megatron-lm", {{"pp", 2}, {"dp", 3}, {"tp", 4}}, {1, 1}),
      mesh_of("llama/megatron-lm", {{"dp", 5}, {"tp", 2}}),
  };
  for (MeshSpec& mesh : all) {
    mesh.flattened = {{"dp_cp", {"dp"}}};
    mesh.states = {{"exp_avg", DType::f32, {}}, {"step", DType::f32, Dims{}}};
  }
  return all;
}

struct Saved {
  spec::Job job;
  std::vector<SavePlan> local;
  plan::GlobalSavePlan global;
  std::vector<SavePlan> expanded_local, expanded;
};

Saved save(const MeshSpec& mesh) {
  Saved saved;
  saved.job = spec::testing::value_of(make_job(tiny_llama(), mesh, spec::testing::sharding()));
  for (const LayoutTable& table : local_tables(saved.job)) saved.local.emplace_back().layouts = table;
  WriteItem value;
  value.index.fqn = "trainer";
  value.nbytes = 77;
  saved.local[0].items.push_back(value);
  saved.global = spec::testing::value_of(plan::global_save_plan(saved.local));
  for (std::int32_t rank = 0; rank < saved.job.ranks; ++rank) {
    saved.expanded_local.push_back(expand(saved.local[static_cast<std::size_t>(rank)], Rank{rank}));
    saved.expanded.push_back(expand(saved.global.plans[static_cast<std::size_t>(rank)], Rank{rank}));
  }
  return saved;
}

using PartKey = std::tuple<std::uint32_t, std::uint32_t, std::string, std::string, std::uint64_t>;

std::vector<PartKey> parts_of(const Writes& writes) {
  std::vector<PartKey> parts;
  writes.for_each([&](const Writes::Part& part) {
    const Writes::Tensor& tensor = writes.tensors()[part.tensor];
    const Dims size = tensor.dtype.empty() ? Dims() : writes.sizes()[part.size];
    parts.emplace_back(part.rank, part.file, tensor.name, to_string({size.data(), size.size()}), part.bytes);
  });
  std::ranges::sort(parts);
  return parts;
}

TEST(Writes, OfRulesAreThoseOfTheirItems) {
  for (const MeshSpec& mesh : meshes()) {
    SCOPED_TRACE(mesh.rules);
    const Saved saved = save(mesh);
    const Writes rules = writes_of(saved.global.plans, &saved.local), items = writes_of(saved.expanded, &saved.expanded_local);
    EXPECT_EQ(parts_of(rules), parts_of(items));
    EXPECT_TRUE(rules.faults().empty());
    const SaveSummary by_rule = summarise(rules), by_item = summarise(items);
    EXPECT_EQ(by_rule.rank_bytes, by_item.rank_bytes);
    EXPECT_EQ(by_rule.chunks, by_item.chunks);
    EXPECT_EQ(by_rule.files, by_item.files);
    EXPECT_EQ(by_rule.files_a_rank_max, by_item.files_a_rank_max);
    std::uint64_t held = 0;
    for (const SavePlan& plan : saved.expanded_local) {
      for (const WriteItem& item : plan.items) held += item.stored_bytes();
    }
    EXPECT_EQ(by_rule.bytes_held, held);
  }
}

TEST(Writes, NameTensorsThatALayoutDoesNotCover) {
  Writes writes(8);
  LayoutItem item{"w", DType::f32, {8, 4}, {packed_mesh(std::vector<std::int64_t>{4}), {Shard{0}}, {}}};
  writes.add_rule(item, nullptr);
  EXPECT_TRUE(writes.faults().empty());
  item.fqn = "twice";
  item.layout = {packed_mesh(std::vector<std::int64_t>{2, 2}), {Shard{0}, Replicate{}}, {}};
  writes.add_rule(item, nullptr);
  ASSERT_EQ(writes.faults().size(), 1u);
  EXPECT_EQ(writes.faults()[0].tensor, "twice");
  EXPECT_TRUE(writes.faults()[0].overlap);
}

/// The plans of all ranks that load `wanted` from `saved`, by the planner.
std::vector<LoadPlan> load_plans(const spec::Job& wanted, const Metadata& metadata, std::vector<std::byte>& memory) {
  std::vector<LoadPlan> plans;
  for (Rank rank{0}; rank.value < wanted.ranks; ++rank.value) {
    StateDict state;
    for (const spec::JobTensor& tensor : wanted.tensors) {
      if (!tensor.item.layout.mesh.position(rank)) continue;
      const Status added = state.add(tensor.item.fqn, memory.data(), tensor.item.dtype, tensor.item.shape, tensor.item.layout, rank);
      EXPECT_TRUE(added) << added.error().message;
    }
    plans.push_back(spec::testing::value_of(plan::local_load_plan(state, metadata)));
  }
  return plans;
}

FileOf files_of(const std::vector<SavePlan>& plans) {
  FileOf files;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    std::map<std::string, std::int64_t> boxes;
    for (const WriteItem& item : plans[rank].items) {
      if (item.type == WriteItemType::bytes) continue;
      files[item.index] = format::segment_name(format::segment_of_box(Rank{static_cast<std::int32_t>(rank)}, boxes[item.index.fqn]++));
    }
  }
  return files;
}

void expect_equal(const LoadSummary& rules, const LoadSummary& items) {
  EXPECT_EQ(rules.rank_bytes, items.rank_bytes);
  EXPECT_EQ(rules.rank_files, items.rank_files);
  EXPECT_EQ(rules.bytes_needed, items.bytes_needed);
  EXPECT_EQ(rules.bytes_spanned, items.bytes_spanned);
  EXPECT_EQ(rules.bytes_stored, items.bytes_stored);
  EXPECT_EQ(rules.reads, items.reads);
  EXPECT_EQ(rules.reads_small, items.reads_small);
  EXPECT_EQ(rules.files, items.files);
  EXPECT_EQ(rules.files_a_rank_max, items.files_a_rank_max);
  EXPECT_EQ(rules.hottest.needed, items.hottest.needed);
}

TEST(Reads, OfRulesAreThoseOfTheItemsThatThePlannerMakes) {
  std::vector<std::byte> memory(16);  // plans name it, nobody touches it
  int compared = 0;
  for (const MeshSpec& from : meshes()) {
    const Saved saved = save(from);
    const FileOf files = files_of(saved.expanded);
    for (const MeshSpec& to : meshes()) {
      const spec::Job wanted = spec::testing::value_of(make_job(tiny_llama(), to, spec::testing::sharding()));
      const bool padded_alike = std::ranges::all_of(wanted.tensors, [&](const spec::JobTensor& tensor) {
        return std::get<TensorMetadata>(saved.global.metadata.entries.at(tensor.item.fqn)).shape == tensor.item.shape;
      });
      if (!padded_alike) continue;  // the planner refuses another shape
      SCOPED_TRACE(from.rules + " to " + to.rules);
      Reads reads(static_cast<std::size_t>(wanted.ranks), static_cast<std::size_t>(saved.job.ranks));
      for (const spec::JobTensor& tensor : wanted.tensors) {
        const auto& metadata = std::get<TensorMetadata>(saved.global.metadata.entries.at(tensor.item.fqn));
        reads.add_rule({tensor.item.fqn, metadata.dtype, metadata.shape, metadata.chunks, {}}, tensor.item.layout, tensor.item.shape);
      }
      const auto plans = load_plans(wanted, saved.global.metadata, memory);
      expect_equal(summarise(reads), summarise(reads_of(plans, saved.global.metadata, files)));
      ++compared;
    }
  }
  EXPECT_GE(compared, 20);
}

TEST(Reads, OfChunksThatNameTheirFilesAreThoseOfARule) {
  std::vector<MeshSpec> all = meshes();
  const Saved saved = save(all[3]);
  const spec::Job wanted = spec::testing::value_of(make_job(tiny_llama(), all[1], spec::testing::sharding()));
  const auto writers = static_cast<std::size_t>(saved.job.ranks);
  Reads rules(static_cast<std::size_t>(wanted.ranks), writers), lists(static_cast<std::size_t>(wanted.ranks), writers);
  for (const spec::JobTensor& tensor : wanted.tensors) {
    const auto& metadata = std::get<TensorMetadata>(saved.global.metadata.entries.at(tensor.item.fqn));
    StoredTensor stored{tensor.item.fqn, metadata.dtype, metadata.shape, metadata.chunks, {}};
    rules.add_rule(stored, tensor.item.layout, tensor.item.shape);
    std::map<Box, std::uint32_t> file_of;
    metadata.chunks.for_each([&](ChunkSet::Id id, const Box& box) {
      const ChunkSet::Holder holder = metadata.chunks.holder(id);
      file_of[box] =
          static_cast<std::uint32_t>(static_cast<std::size_t>(holder.number) * writers + static_cast<std::size_t>(holder.rank.value));
    });
    std::vector<Box> boxes;
    for (const auto& [box, file] : file_of) boxes.push_back(box);
    stored.chunks = ChunkSet(boxes, metadata.shape);
    stored.chunks.for_each([&](ChunkSet::Id, const Box& box) { stored.files.push_back(file_of.at(box)); });
    lists.add_rule(stored, tensor.item.layout, tensor.item.shape);
  }
  expect_equal(summarise(lists), summarise(rules));
}

TEST(Reads, LeaveOutWhatIsPadding) {
  Reads reads(2, 1);
  const MeshLayout one{packed_mesh(std::vector<std::int64_t>{1}), {Replicate{}}, {}};
  const MeshLayout two{packed_mesh(std::vector<std::int64_t>{2}), {Shard{0}}, {}};
  const StoredTensor stored{"w", DType::f32, {5, 4}, ChunkSet(one, {5, 4}), {}};
  reads.add_rule(stored, two, {8, 4});
  EXPECT_EQ(reads.padding_bytes(), 3u * 4 * 4);
  const LoadSummary summary = summarise(reads);
  EXPECT_EQ(summary.rank_bytes, (std::vector<std::uint64_t>{64, 16}));
  EXPECT_EQ(summary.bytes_stored, 80u);
  EXPECT_EQ(summary.hottest.name, "segment-00000-000.safetensors");
  EXPECT_EQ(summary.hottest.ranks, 2u);
}

TEST(Grouping, TakesNamesOnlyWhenTheyNameEveryRankOnce) {
  EXPECT_EQ(named_groups({{"a", {0, 2}}, {"b", {1}}}, 3, 16).size(), 2u);
  EXPECT_TRUE(named_groups({{"a", {0, 2}}}, 3, 16).empty()) << "rank 1 is left out";
  EXPECT_TRUE(named_groups({{"a", {0, 1}}, {"b", {1, 2}}}, 3, 16).empty()) << "rank 1 twice";
  EXPECT_TRUE(named_groups({{"a", {0, 3}}, {"b", {1}}}, 3, 16).empty()) << "there is no rank 3";
  EXPECT_TRUE(named_groups({{"a", {0}}, {"b", {1}}, {"c", {2}}}, 3, 2).empty()) << "more than the limit";
  EXPECT_TRUE(named_groups({}, 3, 16).empty());
}

TEST(Spread, TakesTheLowerMiddleValueAndMeasuresTheLargestAgainstTheMean) {
  const Spread spread = spread_of({4, 1, 3, 8});
  EXPECT_EQ(spread.min, 1u);
  EXPECT_EQ(spread.median, 3u);
  EXPECT_EQ(spread.max, 8u);
  EXPECT_DOUBLE_EQ(spread.imbalance, 2);
  EXPECT_DOUBLE_EQ(spread_of({}).imbalance, 1);
  EXPECT_DOUBLE_EQ(spread_of({0, 0}).imbalance, 1);
}

}  // namespace
}  // namespace holdfast::reports

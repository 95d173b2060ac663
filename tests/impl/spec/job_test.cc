#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "impl/plan/tiling.h"
#include "tests/impl/spec/specs.h"

namespace holdfast::spec {
namespace {

/// What is wrong with how a tensor is held, or "". Every element must be held by as many ranks as the mesh has along the axes that replicate.
std::string fault_of(const LayoutItem& item) {
  std::int64_t replicas = 1;
  const std::vector<int> replicated = replicated_axes(item.layout);
  for (const int axis : replicated) replicas *= item.layout.mesh.axes[static_cast<std::size_t>(axis)].size;
  std::vector<Box> boxes;
  std::int64_t held = 0, positions = 0;
  for (std::int64_t p = 0; p < item.layout.mesh.size(); ++p) {
    std::int64_t rest = p;
    bool first = true;
    for (std::size_t a = item.layout.mesh.axes.size(); a-- > 0;) {
      const std::int64_t size = item.layout.mesh.axes[a].size;
      first = first && (rest % size == 0 || std::ranges::find(replicated, static_cast<int>(a)) == replicated.end());
      rest /= size;
    }
    if (!first) continue;
    ++positions;
    for (LocalBox& local : local_part(item.layout, item.shape, p)) {
      held += local.box.volume();
      boxes.push_back(std::move(local.box));
    }
  }
  if (positions * replicas != item.layout.mesh.size())
    return fmt::format("{} parts of {} replicas on {} ranks", positions, replicas, item.layout.mesh.size());
  if (held != whole(item.shape).volume()) return fmt::format("{} of {} elements are held", held, whole(item.shape).volume());
  if (!plan::find_overlaps(boxes).empty()) return "an element is held twice";
  return "";
}

/// Layers repeat: a layout that was looked at before, on any stage, is not looked at again.
class Faults {
 public:
  std::string operator()(const LayoutItem& item) {
    MeshLayout layout = item.layout;
    layout.mesh.first = 0;
    const auto key = std::pair(to_string(layout), to_string({item.shape.data(), item.shape.size()}));
    const auto known = known_.find(key);
    return known != known_.end() ? known->second : known_.emplace(key, fault_of(item)).first->second;
  }

 private:
  std::map<std::pair<std::string, std::string>, std::string> known_;
};

void expect_whole(const Model& model, const MeshSpec& mesh, const Sharding& sharding, Faults& faults) {
  SCOPED_TRACE(fmt::format("{} on {} by {}", model.name, mesh.name, mesh.rules));
  const auto job = make_job(model, mesh, sharding);
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(job->ranks, mesh.ranks);
  std::uint64_t parameters = 0, bytes = 0;
  std::size_t trained = 0, states = 0;
  for (const JobTensor& tensor : job->tensors) {
    ASSERT_TRUE(check(tensor.item.layout, tensor.item.shape, mesh.ranks)) << tensor.item.fqn;
    ASSERT_EQ(faults(tensor.item), "") << tensor.item.fqn << " " << to_string(tensor.item.layout);
    if (tensor.kind == KeyKind::optimizer) {
      ++states;
      continue;
    }
    const std::int64_t elements = whole(tensor.model_shape).volume();
    if (tensor.kind == KeyKind::parameter) ++trained;
    if (tensor.kind == KeyKind::parameter) parameters += static_cast<std::uint64_t>(elements);
    const std::uint32_t width =
        tensor.kind != KeyKind::buffer && mesh.parameters ? size_bytes(model.tensors[0].dtype) : size_bytes(tensor.item.dtype);
    bytes += static_cast<std::uint64_t>(elements) * width;
  }
  EXPECT_EQ(parameters, model.parameters());
  EXPECT_EQ(bytes, model.bytes());
  EXPECT_EQ(states, trained * mesh.states.size());
  EXPECT_TRUE(std::ranges::is_sorted(job->tensors, {}, [](const JobTensor& tensor) { return tensor.item.fqn; }));
}

TEST(Job, EveryMeshOfTheFileHoldsEveryElementAsOftenAsItSays) {
  const Sharding sharding = testing::sharding();
  Faults faults;
  for (const MeshSpec& mesh : testing::meshes()) expect_whole(testing::model(mesh.model), mesh, sharding, faults);
}

TEST(Job, EveryRuleSetOfAModelWorksOnEveryMeshOfItAndOnMeshesThatHaveItsDims) {
  const Sharding sharding = testing::sharding();
  const std::map<std::string, std::vector<MeshDim>> own = {
      {"any/ddp", {{"dp", 3}}},
      {"any/fsdp2", {{"fsdp", 7}}},
      {"any/zero3", {{"dp", 6}}},
      {"gpt2/megatron-tp", {{"dp", 2}, {"tp", 6}}},
      {"llama/megatron-lm", {{"dp", 2}, {"cp", 2}, {"tp", 4}}},
      {"llama/torchtitan", {{"dp_replicate", 2}, {"fsdp", 3}, {"tp", 4}}},
      {"mixtral/megatron-lm", {{"dp", 4}, {"tp", 2}}},
  };
  Faults faults;
  std::set<std::string> used;
  for (const auto& [name, rule_sets] : sharding.models) {
    const Model model = testing::model(name);
    for (const std::string& rules : rule_sets) {
      used.insert(rules);
      expect_whole(model, testing::mesh_of(rules, own.at(rules)), sharding, faults);
      for (MeshSpec mesh : testing::meshes()) {
        if (mesh.model != name || mesh.ranks > 1024) continue;
        mesh.rules = rules;
        expect_whole(model, mesh, sharding, faults);
      }
    }
  }
  EXPECT_EQ(used.size(), sharding.rule_sets.size()) << "a rule set that no model uses";
}

Job job_of(const std::string& mesh_name) {
  for (const MeshSpec& mesh : testing::meshes()) {
    if (mesh.name == mesh_name) return testing::value_of(make_job(testing::model(mesh.model), mesh, testing::sharding()));
  }
  throw std::runtime_error("no mesh " + mesh_name);
}

std::string layout_of(const Job& job, const std::string& fqn) { return to_string(testing::tensor(job, fqn).item.layout); }

TEST(Job, PutsALayerOnItsStageAndFsdpOutsideTensorParallelism) {
  const Job job = job_of("torchtitan-512");
  // 15 layers on chunk 0, 16 on each of the next: layer 20 is on stage 1, whose first rank is 64.
  EXPECT_EQ(layout_of(job, "model.layers.20.self_attn.q_proj.weight"), "mesh(8x8 from 64) [strided(0 by 8),shard(0)]");
  EXPECT_EQ(layout_of(job, "model.layers.14.self_attn.o_proj.weight"), "mesh(8x8 from 0) [shard(0),shard(1)]");
  EXPECT_EQ(layout_of(job, "model.layers.15.input_layernorm.weight"), "mesh(8x8 from 64) [shard(0),replicate]");
  EXPECT_EQ(layout_of(job, "model.embed_tokens.weight"), "mesh(8x8 from 0) [strided(0 by 8),shard(0)]");
  EXPECT_EQ(layout_of(job, "lm_head.weight"), "mesh(8x8 from 448) [strided(0 by 8),shard(0)]");
  EXPECT_EQ(layout_of(job, "optimizer.state.model.norm.weight.exp_avg"), "mesh(8x8 from 448) [shard(0),replicate]");
  EXPECT_EQ(layout_of(job, "optimizer.state.model.norm.weight.step"), "mesh(8x8 from 448) [replicate,replicate]");
  EXPECT_EQ(testing::tensor(job, "optimizer.state.model.norm.weight.step").item.shape, Dims());
  EXPECT_EQ(testing::tensor(job, "model.norm.weight").item.dtype, DType::f32) << "the mesh says how parameters are kept";
  EXPECT_EQ(layout_of(job_of("torchtitan-512-long"), "model.norm.weight"), "mesh(8x8 from 448) [shard(0),replicate]")
      << "dp_shard and cp are cut as one";
}

TEST(Job, PadsTheVocabulary) {
  const Job job = job_of("megatron-bridge-1024");
  const JobTensor& embedding = testing::tensor(job, "model.embed_tokens.weight");
  EXPECT_EQ(embedding.model_shape, (Dims{128256, 16384}));
  EXPECT_EQ(embedding.item.shape, (Dims{129024, 16384})) << "a multiple of 128 * 8";
  EXPECT_EQ(testing::tensor(job, "optimizer.state.lm_head.weight.exp_avg").item.shape, (Dims{129024, 16384}));
  EXPECT_EQ(testing::tensor(job, "model.norm.weight").item.shape, (Dims{16384}));
}

TEST(Job, ExpertsLieOnAMeshOfTheirOwnOverTheSameRanks) {
  const Job job = job_of("mcore-64-tp2-etp1");
  // pp 4 x edp 2 x ep 8: expert 3 of layer 0 (stage 0) is on ep rank 3; its replicas are 8 ranks apart.
  EXPECT_EQ(layout_of(job, "model.layers.0.block_sparse_moe.experts.3.w2.weight"), "mesh(2:8 from 3) [replicate]");
  EXPECT_EQ(layout_of(job, "model.layers.5.block_sparse_moe.experts.3.w2.weight"), "mesh(2:8 from 19) [replicate]") << "chunk 5: stage 1";
  EXPECT_EQ(layout_of(job, "model.layers.5.self_attn.k_proj.weight"), "mesh(8x2 from 16) [replicate,shard(0)]");
}

TEST(Job, SeveralExpertsLieOnOneRank) {
  MeshSpec mesh = testing::mesh_of("mixtral/megatron-lm", {{"dp", 8}});
  mesh.expert_dims = {{"edp", 2}, {"ep", 4}};
  const Job job = testing::value_of(make_job(testing::model("mixtral-8x7b"), mesh, testing::sharding()));
  // Eight experts on four ranks: 2 and 3 on the second.
  EXPECT_EQ(layout_of(job, "model.layers.0.block_sparse_moe.experts.2.w1.weight"), "mesh(2:4 from 1) [replicate]");
  EXPECT_EQ(layout_of(job, "model.layers.0.block_sparse_moe.experts.3.w1.weight"), "mesh(2:4 from 1) [replicate]");
  mesh.expert_dims = {{"ep", 16}};
  mesh.dims[0].size = mesh.ranks = 16;
  const auto too_many = make_job(testing::model("mixtral-8x7b"), mesh, testing::sharding());
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().message,
            "mesh \"test\", rules mixtral/megatron-lm: tensor \"model.layers.0.block_sparse_moe.experts.0.w1.weight\": 8 experts do not "
            "divide over "
            "the 16 ranks of ep");
}

TEST(Job, CutsFusedProjectionsSegmentBySegment) {
  const Job job = job_of("small-tp");
  EXPECT_EQ(layout_of(job, "h.3.attn.c_attn.weight"), "mesh(2x4 from 0) [replicate,segments(1: 768+768+768)]");
  EXPECT_EQ(local_part(testing::tensor(job, "h.3.attn.c_attn.bias").item.layout, {2304}, 1).size(), 3u);
  EXPECT_EQ(testing::tensor(job, "wte.weight").item.shape, (Dims{50688, 768})) << "50,257 padded to a multiple of 128 * 4";
  EXPECT_EQ(testing::tensor(job, "h.0.attn.bias").kind, KeyKind::buffer);
}

TEST(Job, RepeatsHeadsWhereThereAreFewerThanRanks) {
  const Model model = testing::model("llama-3.1-8b");
  const Sharding sharding = testing::sharding();
  const Job job = testing::value_of(make_job(model, testing::mesh_of("llama/megatron-lm", {{"dp", 2}, {"tp", 32}}), sharding));
  // 8 key-value heads on 32 ranks: 4 neighbours hold the same.
  EXPECT_EQ(layout_of(job, "model.layers.0.self_attn.k_proj.weight"), "mesh(2x8x4 from 0) [replicate,shard(0),replicate]");
  EXPECT_EQ(layout_of(job, "model.layers.0.self_attn.q_proj.weight"), "mesh(2x32 from 0) [replicate,shard(0)]");
  const auto too_many = make_job(model, testing::mesh_of("llama/megatron-lm", {{"tp", 64}}), sharding);
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().message,
            "mesh \"test\", rules llama/megatron-lm: tensor \"model.layers.0.self_attn.q_proj.weight\": 4096 do not divide over the 64 "
            "ranks of tp in "
            "units of 128");
}

Model tiny_model() {
  return testing::value_of(parse_model(R"({"name":"tiny","tensors":[
    {"name":"model.embed_tokens.weight","dtype":"BF16","shape":[200,4]},
    {"name":"model.layers.0.input_layernorm.weight","dtype":"BF16","shape":[100]},
    {"name":"model.layers.0.mlp.up_proj.weight","dtype":"BF16","shape":[30,4]},
    {"name":"model.layers.1.mlp.up_proj.weight","dtype":"BF16","shape":[30,4]},
    {"name":"model.norm.weight","dtype":"BF16","shape":[4]}]})",
                                       "tiny.json"));
}

TEST(Job, LaysTheOptimizerOfAChunkInOneBucketFromTheLastParameterOn) {
  MeshSpec mesh = testing::mesh_of("llama/megatron-lm", {{"dp", 3}, {"tp", 2}}, {1, 1});
  mesh.flattened = {{"dp_cp", {"dp"}}};
  mesh.parameters = DType::bf16;
  mesh.states = {{"master", DType::f32, {}}, {"step", DType::i64, Dims{}}};
  const Job job = testing::value_of(make_job(tiny_model(), mesh, testing::sharding()));
  // Chunk 0 on each rank, last parameter first: up_proj, half of 120 elements at 0; the norm's 100 at 64; half of 256 x 4 of the padded embedding at 192:
  // 704 in all, padded to a multiple of lcm(3, 128) = 384, 768: runs of 256.
  EXPECT_EQ(layout_of(job, "optimizer.state.model.layers.0.mlp.up_proj.weight.master"),
            "mesh(3x2 from 0) [replicate,shard(0)] flat(axes 0 at 0 by 256)");
  EXPECT_EQ(layout_of(job, "optimizer.state.model.layers.0.input_layernorm.weight.master"),
            "mesh(3x2 from 0) [replicate,replicate] flat(axes 0 at 64 by 256)");
  EXPECT_EQ(layout_of(job, "optimizer.state.model.embed_tokens.weight.master"),
            "mesh(3x2 from 0) [replicate,shard(0)] flat(axes 0 at 192 by 256)");
  // Chunk 1: the final norm at 0, up_proj at 64: 124, padded to 384.
  EXPECT_EQ(layout_of(job, "optimizer.state.model.layers.1.mlp.up_proj.weight.master"),
            "mesh(3x2 from 0) [replicate,shard(0)] flat(axes 0 at 64 by 128)");
  EXPECT_EQ(layout_of(job, "optimizer.state.model.norm.weight.step"), "mesh(3x2 from 0) [replicate,replicate]");
  EXPECT_EQ(testing::tensor(job, "optimizer.state.model.norm.weight.master").item.dtype, DType::f32);
  EXPECT_EQ(testing::tensor(job, "model.norm.weight").item.dtype, DType::bf16);
}

TEST(Job, BuffersAndTiedTensorsHaveNoOptimizerState) {
  MeshSpec mesh = testing::mesh_of("any/zero3", {{"dp", 2}});
  mesh.states = {{"exp_avg", DType::f32, {}}};
  const Model model = testing::value_of(parse_model(
      R"({"tied":[["w","head"]],"tensors":[{"name":"w","dtype":"F32","shape":[5]},{"name":"head","dtype":"F32","shape":[5]},
          {"name":"mask","dtype":"BOOL","shape":[3],"buffer":true}]})",
      "tiny.json"));
  const Job job = testing::value_of(make_job(model, mesh, testing::sharding()));
  std::vector<std::string> names;
  for (const JobTensor& tensor : job.tensors) names.push_back(tensor.item.fqn);
  EXPECT_EQ(names, (std::vector<std::string>{"head", "mask", "optimizer.state.w.exp_avg", "w"}));
  EXPECT_EQ(layout_of(job, "w"), "mesh(2 from 0) [replicate] flat(axes 0 at 0 by 3)");
  EXPECT_EQ(layout_of(job, "mask"), "mesh(2 from 0) [replicate]");
}

TEST(Job, RefusesWhatDoesNotFit) {
  const Sharding sharding = testing::sharding();
  const auto refusal = [&](const Model& model, const MeshSpec& mesh) {
    const auto job = make_job(model, mesh, sharding);
    return job ? std::string("accepted") : job.error().message;
  };
  const Model tiny = tiny_model();
  EXPECT_EQ(refusal(tiny, testing::mesh_of("mixtral/megatron-lm", {{"dp", 2}})),
            "mesh \"test\": rules mixtral/megatron-lm: none is for the tensor \"model.layers.0.mlp.up_proj.weight\" of shape [30,4]");
  EXPECT_EQ(refusal(tiny, testing::mesh_of("none", {{"dp", 2}})).substr(0, 39), "there is no rule set \"none\"; expected o");
  EXPECT_EQ(refusal(tiny, testing::mesh_of("llama/megatron-lm", {{"pp", 2}}, {1})),
            "mesh \"test\", rules llama/megatron-lm: tensor \"model.layers.1.mlp.up_proj.weight\": layers_per_chunk holds 1 layers");
  EXPECT_EQ(refusal(tiny, testing::mesh_of("llama/megatron-lm", {{"pp", 2}})),
            "mesh \"test\", rules llama/megatron-lm: tensor \"model.layers.0.input_layernorm.weight\": the mesh has pipeline stages and no "
            "layers_per_chunk");
  MeshSpec uneven = testing::mesh_of("llama/megatron-lm", {{"dp", 2}, {"tp", 4}});
  uneven.flattened = {{"dp_cp", {"dp"}}};
  uneven.states = {{"master", DType::f32, {}}};
  EXPECT_EQ(refusal(tiny, uneven),
            "mesh \"test\", rules llama/megatron-lm: tensor \"model.layers.1.mlp.up_proj.weight\": its parts have 24 to 32 elements; a "
            "flat cut needs "
            "equal ones");
  MeshSpec apart = testing::mesh_of("any/fsdp2", {{"dp_shard", 2}, {"tp", 2}, {"cp", 2}});
  apart.flattened = {{"fsdp", {"dp_shard", "cp"}}};
  EXPECT_EQ(refusal(tiny, apart),
            "mesh \"test\", rules any/fsdp2: tensor \"model.embed_tokens.weight\": mesh \"test\": dp_shard and cp are no neighbours that "
            "could be cut as "
            "one fsdp");
}

TEST(Job, RanksOfOneStageShareATable) {
  const Job job = job_of("mcore-32");
  const auto tables = local_tables(job);
  ASSERT_EQ(tables.size(), 32u);
  std::set<const void*> distinct;
  for (std::size_t rank = 0; rank < tables.size(); ++rank) {
    distinct.insert(tables[rank].get());
    std::size_t known = 0;
    for (const JobTensor& tensor : job.tensors) known += tensor.item.layout.mesh.position(Rank{static_cast<std::int32_t>(rank)}) ? 1 : 0;
    EXPECT_EQ(tables[rank]->size(), known);
  }
  EXPECT_EQ(distinct.size(), 32u) << "4 stages of 8 ranks, each with an expert of its own";
  std::set<const void*> stages;
  for (const auto& table : local_tables(job_of("torchtitan-512"))) stages.insert(table.get());
  EXPECT_EQ(stages.size(), 8u);
}

}  // namespace
}  // namespace holdfast::spec

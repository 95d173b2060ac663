#include <gtest/gtest.h>

#include "tests/impl/spec/specs.h"

namespace holdfast::spec {
namespace {

TEST(Model, CountsWhatThePublishedFilesHold) {
  struct Row {
    const char* name;
    std::size_t tensors;
    std::uint64_t parameters, bytes;
  };
  for (const Row& row : {Row{"gpt2", 160, 124439808, 548090880}, Row{"llama-3.1-8b", 291, 8030261248, 16060522496},
                         Row{"llama-3.1-70b", 723, 70553706496, 141107412992}, Row{"llama-3.1-405b", 1137, 405853388800, 811706777600},
                         Row{"mixtral-8x7b", 995, 46702792704, 93405585408}}) {
    const Model model = testing::model(row.name);
    EXPECT_EQ(model.name, row.name);
    EXPECT_EQ(model.tensors.size(), row.tensors);
    EXPECT_EQ(model.parameters(), row.parameters);
    EXPECT_EQ(model.bytes(), row.bytes);
  }
}

TEST(Model, CountsTiedTensorsOnceAndBuffersNever) {
  const Model model = testing::value_of(parse_model(
      R"({"tied":[["w","head"]],"tensors":[{"name":"w","dtype":"F32","shape":[8,4]},{"name":"head","dtype":"F32","shape":[8,4]},
          {"name":"mask","dtype":"BOOL","shape":[5],"buffer":true},{"name":"scale","dtype":"BF16","shape":[]}]})",
      "tiny.json"));
  EXPECT_EQ(model.name, "tiny.json");
  EXPECT_EQ(model.parameters(), 33u);
  EXPECT_EQ(model.elements(), 70u);
  EXPECT_EQ(model.bytes(), 2u * 128 + 5 + 2);
}

std::string model_error(const std::string& text) {
  const auto model = parse_model(text, "l.json");
  return model ? "accepted" : model.error().message;
}

TEST(Model, NamesWhatIsWrong) {
  EXPECT_EQ(model_error("{"), "layout \"l.json\": it is not JSON");
  EXPECT_EQ(model_error("[]"), "layout \"l.json\" is []; expected an object");
  EXPECT_EQ(model_error("{}"), "layout \"l.json\": it has no \"tensors\"; expected a list");
  EXPECT_EQ(model_error(R"({"tensors":3})"), "layout \"l.json\": \"tensors\" is 3; expected a list");
  EXPECT_EQ(model_error(R"({"tensors":[3]})"), "layout \"l.json\": tensor 0 is 3; expected an object");
  EXPECT_EQ(model_error(R"({"tensors":[{}]})"), "layout \"l.json\": tensor 0: it has no \"name\"; expected a text");
  EXPECT_EQ(model_error(R"({"tensors":[{"name":"w","dtype":"F99","shape":[]}]})"),
            "layout \"l.json\": tensor 0, \"w\": unknown dtype \"F99\"");
  EXPECT_EQ(model_error(R"({"tensors":[{"name":"w","dtype":"F32","shape":[2,-1]}]})"),
            "layout \"l.json\": tensor 0, \"w\": \"shape\" is [2,-1]; expected a list of integers from 0");
  EXPECT_EQ(model_error(R"({"tensors":[{"name":"w","dtype":"F32","shape":[4294967296,4294967296]}]})"),
            "layout \"l.json\": tensor 0, \"w\": \"shape\" is [4294967296,4294967296]; expected fewer than 2^62 bytes");
  EXPECT_EQ(model_error(R"({"tensors":[{"name":"w","dtype":"F32","shape":[],"buffer":1}]})"),
            "layout \"l.json\": tensor 0, \"w\": \"buffer\" is 1; expected true or false");
  EXPECT_EQ(model_error(R"({"tensors":[{"name":"w","dtype":"F32","shape":[]},{"name":"w","dtype":"F32","shape":[]}]})"),
            "layout \"l.json\": tensor 1: the name \"w\" was there before");
  EXPECT_EQ(model_error(R"({"tensors":[],"tied":[["a"]]})"), "layout \"l.json\": \"tied\" is [[\"a\"]]; expected a list of pairs of names");
}

std::string mesh_error(const std::string& members) {
  const auto meshes = parse_meshes(R"({"meshes":[{"model":"m","name":"x","rules":"r",)" + members + "}]}", "m.json");
  return meshes ? "accepted" : meshes.error().message;
}

TEST(Mesh, NamesWhatIsWrong) {
  EXPECT_EQ(mesh_error(R"("ranks":0)"), "meshes \"m.json\": mesh 0, \"x\": \"ranks\" is 0; expected an integer from 1");
  EXPECT_EQ(mesh_error(R"("ranks":8)"), "meshes \"m.json\": mesh 0, \"x\": it has no \"dims\"; expected a list");
  EXPECT_EQ(mesh_error(R"("ranks":8,"dims":[{"name":"dp","size":4},{"name":"tp","size":3}])"),
            "meshes \"m.json\": mesh 0, \"x\": dp=4 tp=3 are not 8 ranks");
  EXPECT_EQ(
      mesh_error(R"("ranks":16,"dims":[{"name":"dp","size":4},{"name":"dp","size":4}])"),
      "meshes \"m.json\": mesh 0, \"x\": \"dims\" is [{\"name\":\"dp\",\"size\":4},{\"name\":\"dp\",\"size\":4}]; expected no name twice");
  EXPECT_EQ(mesh_error(R"("ranks":4,"dims":[{"name":"dp","size":4}],"flattened":{"all":["dp","cp"]})"),
            "meshes \"m.json\": mesh 0, \"x\": \"all\" is [\"dp\",\"cp\"]; expected names of dims of the mesh");
  EXPECT_EQ(mesh_error(R"("ranks":4,"dims":[{"name":"dp","size":4}],"optimizer":{"states":[{"name":"m","dtype":"F31"}]})"),
            "meshes \"m.json\": mesh 0, \"x\": state 0: unknown dtype \"F31\"");
  EXPECT_EQ(parse_meshes("{}", "m.json").error().message, "meshes \"m.json\": it has no \"meshes\"; expected a list");
}

TEST(Mesh, IsFoundByNameAndModel) {
  const auto meshes = testing::meshes();
  EXPECT_EQ(testing::value_of(find_mesh(meshes, "mcore-32", "mixtral-8x7b")).ranks, 32);
  const auto none = find_mesh(meshes, "mcore", "mixtral-8x7b");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::not_found);
  EXPECT_TRUE(
      none.error().message.starts_with("there is no mesh \"mcore\"; expected one of mcore-64, mcore-32, mcore-64-tp2-etp1, nanogpt-ddp-8"))
      << none.error().message;
}

TEST(Mesh, GrowsAndShrinksAlongDataParallelism) {
  const auto meshes = testing::meshes();
  const MeshSpec titan = testing::value_of(find_mesh(meshes, "torchtitan-512", "llama-3.1-405b"));
  EXPECT_EQ(testing::value_of(with_ranks(titan, 384)).dims, (std::vector<MeshDim>{{"pp", 8}, {"dp_shard", 6}, {"tp", 8}}));
  EXPECT_EQ(with_ranks(titan, 100).error().message,
            "mesh \"torchtitan-512\" (pp=8 dp_shard=8 tp=8) on 100 ranks: its dims without dp_shard take 64; expected a multiple of that");
  const MeshSpec experts = testing::value_of(find_mesh(meshes, "mcore-64", "mixtral-8x7b"));
  const MeshSpec larger = testing::value_of(with_ranks(experts, 128));
  EXPECT_EQ(larger.dims, (std::vector<MeshDim>{{"pp", 4}, {"dp", 32}, {"cp", 1}, {"tp", 1}}));
  EXPECT_EQ(larger.expert_dims, (std::vector<MeshDim>{{"pp", 4}, {"edp", 4}, {"ep", 8}, {"etp", 1}}));
  EXPECT_EQ(with_ranks(experts, 16).error().message,
            "mesh \"mcore-64\" (pp=4 edp=2 ep=8 etp=1) on 16 ranks: its dims without edp take 32; expected a multiple of that");
  EXPECT_EQ(with_ranks(testing::mesh_of("r", {{"tp", 4}}), 8).error().message,
            "mesh \"test\" (tp=4) on 8 ranks: it has none of the dims dp_shard, fsdp, dp, dp_replicate");
}

std::string rule_error(const std::string& rule) {
  const auto sharding = parse_sharding(R"({"rule_sets":{"a/b":{"rules":[)" + rule + "]}}}", "s.json");
  return sharding ? "accepted" : sharding.error().message;
}

TEST(Sharding, NamesWhatIsWrong) {
  const std::string where = "sharding \"s.json\": a/b: rule 0: ";
  EXPECT_EQ(rule_error(R"({"place":{}})"), where + "it has no \"match\"; expected a text");
  EXPECT_EQ(rule_error(R"({"match":"(","place":{}})"), where + "\"match\" is \"(\"; expected an ECMAScript regular expression");
  EXPECT_EQ(rule_error(R"({"match":"w"})"), where + "it has no \"place\"; expected it to be there");
  for (const char* place : {"Shard", "Shard(x)", "Shard(0,tp)", "StridedShard(0)", "Layer(1)", "Replicate(0)", "Cut(0)", ""}) {
    EXPECT_EQ(rule_error(fmt::format(R"({{"match":"w","place":{{"tp":"{}"}}}})", place)),
              where + fmt::format("\"tp\" is \"{}\"; expected Replicate, Shard(d), StridedShard(d,dim), Segments(d), Layer, First, Last, "
                                  "Expert or Flat",
                                  place));
  }
  EXPECT_EQ(rule_error(R"json({"match":"w","place":{"tp":"Segments(0)"}})json"),
            where + "it has no \"segments\"; expected the lengths that Segments cuts");
  EXPECT_EQ(rule_error(R"({"match":"w","place":{"tp":"Replicate"}})"), "accepted");
  EXPECT_EQ(parse_sharding(R"({"rule_sets":{"a":{"rules":[],"optimizer":{"place":"Round","mesh":"dp"}}}})", "s.json").error().message,
            "sharding \"s.json\": a: optimizer: \"place\" is \"Round\"; expected Flat");
}

TEST(Sharding, TakesTheFirstRuleThatMatchesTheWholeName) {
  const Sharding sharding = testing::sharding();
  const RuleSet& fsdp = *testing::value_of(find_rules(sharding, "any/fsdp2"));
  const auto kind = [&](const ModelTensor& tensor) { return testing::value_of(match(fsdp, tensor)).rule - fsdp.rules.data(); };
  EXPECT_EQ(kind({"b", DType::f32, {4}, true, false}), 0);
  EXPECT_EQ(kind({"s", DType::f32, {}, false, false}), 1);
  EXPECT_EQ(kind({"w", DType::f32, {4}, false, false}), 2);
  const RuleSet& mixtral = *testing::value_of(find_rules(sharding, "mixtral/megatron-lm"));
  const Matched expert =
      testing::value_of(match(mixtral, {"model.layers.31.block_sparse_moe.experts.7.w2.weight", DType::bf16, {8, 8}, false, false}));
  EXPECT_EQ(expert.captured, (std::vector<std::int64_t>{31, 7}));
  EXPECT_EQ(match(mixtral, {"model.layers.31.block_sparse_moe.experts.7.w2.weights", DType::bf16, {8, 8}, false, false}).error().message,
            "rules mixtral/megatron-lm: none is for the tensor \"model.layers.31.block_sparse_moe.experts.7.w2.weights\" of shape [8,8]");
  EXPECT_EQ(
      find_rules(sharding, "x").error().message,
      "there is no rule set \"x\"; expected one of any/ddp, any/fsdp2, any/zero3, gpt2/megatron-tp, llama/megatron-lm, llama/torchtitan, "
      "mixtral/megatron-lm");
}

}  // namespace
}  // namespace holdfast::spec

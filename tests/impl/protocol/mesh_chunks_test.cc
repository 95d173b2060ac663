// Chunks of a mesh on their way through a checkpoint: the manifest does not list them, load and verify find them all the same.
#include <gtest/gtest.h>

#include "impl/format/segment.h"
#include "impl/protocol/files.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "impl/protocol/segment_file.h"
#include "impl/protocol/verify.h"
#include "properties/gen/state_spec.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

using properties::gen::StateSpec;

/// Two stages of two ranks; a flat cut in several boxes, fused segments, strided placements, a tensor without elements, and one that no rule gives.
StateSpec sample() {
  const auto mesh = [](std::initializer_list<std::int64_t> sizes, std::int64_t first = 0) {
    return packed_mesh(std::vector(sizes), first);
  };
  StateSpec spec;
  spec.world_size = 4;
  spec.tensors = {
      {"flat", DType::f32, {7, 5}, MeshLayout{mesh({4}), {Replicate{}}, FlatCut{{0}, 3, 11, 1}}, 0},
      {"fused", DType::bf16, {12, 3}, MeshLayout{mesh({2}, 2), {Segments{0, {4, 8}}}, {}}, 0},
      {"strided", DType::u8, {9, 4}, MeshLayout{mesh({2, 2}), {StridedShard{0, 3}, Shard{1}}, {}}, 0},
      {"empty", DType::f64, {0, 4}, MeshLayout{mesh({4}), {Shard{1}}, {}}, 0},
      {"plain", DType::i16, {6}, ChunkLayout{0, {Rank{3}, Rank{1}}}, 0},
  };
  return spec;
}

/// Runs `body` as one rank of `ranks` in `world`; gives what each returned.
template <typename Body>
std::vector<std::string> run(properties::World& world, int ranks, Body body) {
  const properties::WorldRun run =
      world.run(ranks, 0, [&](const port::Env& env, Rank rank) { return to_bytes(as_bytes(body(env, rank))); });
  EXPECT_TRUE(run.problems.empty()) << fmt::format("{}", fmt::join(run.problems, "\n"));
  std::vector<std::string> results;
  for (const Bytes& result : run.results) results.emplace_back(as_text(result));
  return results;
}

void save_sample(properties::World& world, const StateSpec& spec) {
  const auto values = make_values(spec, 1);
  for (const std::string& result : run(world, spec.world_size, [&](const port::Env& env, Rank rank) -> std::string {
         const auto state = make_state(spec, rank, values);
         Session session(env);
         const auto saved = save(session, state.dict, {.step = Step{1}, .block_bytes = 64});
         return saved ? "" : to_string(saved.error());
       })) {
    EXPECT_EQ(result, "");
  }
}

TEST(MeshChunks, AreSavedLoadedUnderOtherLayoutsAndVerified) {
  const auto world = *properties::ThreadsWorld::make();
  const StateSpec spec = sample();
  save_sample(*world, spec);
  StateSpec other = spec;
  other.world_size = 3;
  for (auto& tensor : other.tensors) tensor.layout = ChunkLayout{0, {Rank{2}, Rank{0}, Rank{1}}};
  const auto values = make_values(spec, 1);
  for (const StateSpec& target : {spec, other}) {
    for (const std::string& result : run(*world, target.world_size, [&](const port::Env& env, Rank rank) -> std::string {
           auto state = make_destination(target, rank);
           Session session(env);
           const auto loaded = load(session, state.dict, {});
           return loaded ? difference(state, target, rank, values).value_or("") : to_string(loaded.error());
         })) {
      EXPECT_EQ(result, "");
    }
  }
  run(*world, 1, [&](const port::Env& env, Rank) -> std::string {
    const auto deadline = [&] { return env.clock.after(std::chrono::seconds(30)); };
    const auto bytes = read_file(env.storage, "step-1.a1/MANIFEST", 1 << 20, deadline());
    const auto reader = format::ManifestReader::open(*bytes, "m");
    EXPECT_NE(reader->tensor(*reader->find("flat")).metadata.chunks.mesh(), nullptr);
    EXPECT_TRUE(reader->tensor(*reader->find("flat")).segments.empty());
    const auto report = verify_all(env.storage, deadline);
    EXPECT_TRUE(report && report->findings.empty());
    return "";
  });
}

TEST(MeshChunks, AreMissedWhereTheyShouldLie) {
  const auto world = *properties::ThreadsWorld::make();
  const StateSpec spec = sample();
  save_sample(*world, spec);
  const auto values = make_values(spec, 1);
  run(*world, 1, [&](const port::Env& env, Rank) -> std::string {
    EXPECT_TRUE(env.storage.remove("step-1.a1/segment-00001-001.safetensors", env.clock.after(std::chrono::seconds(30))));
    const auto report = verify_all(env.storage, [&] { return env.clock.after(std::chrono::seconds(30)); });
    EXPECT_TRUE(report.has_value());
    if (!report) return "";
    // The segment, and no tensor of it besides: their digests cannot be taken.
    EXPECT_EQ(report->findings.size(), 1u);
    EXPECT_EQ(report->findings.front().message, "segment \"step-1.a1/segment-00001-001.safetensors\" is missing");
    return "";
  });
}

TEST(MeshChunks, APlaceIsTakenOnlyFromTheRightBox) {
  const auto world = *properties::ThreadsWorld::make();
  save_sample(*world, sample());
  run(*world, 1, [&](const port::Env& env, Rank) -> std::string {
    const auto deadline = env.clock.after(std::chrono::seconds(30));
    const auto bytes = read_file(env.storage, "step-1.a1/MANIFEST", 1 << 20, deadline);
    const format::Manifest manifest = format::ManifestReader::open(*bytes, "m")->decode();
    const auto file = SegmentFile::open(env.storage, "step-1.a1", manifest.segments[0], deadline);
    EXPECT_TRUE(file.has_value());
    if (!file) return "";
    const TensorMetadata& flat = manifest.tensors.at("flat").metadata;
    const Result<std::size_t> position = file->find("flat", flat, {{0, 0}, {1, 5}});
    EXPECT_TRUE(position.has_value());
    if (!position) return "";
    EXPECT_EQ(file->header().layout.tensors[*position].name, "flat");
    EXPECT_EQ(file->find("flat", flat, {{0, 0}, {2, 5}}).error(),
              (Error{ErrorCode::corrupt,
                     "segment \"step-1.a1/segment-00000-000.safetensors\" holds of tensor \"flat\" box [0,0]+[1,5] of F32 "
                     "[7,5], the manifest says box [0,0]+[2,5] of F32 [7,5]"}));
    EXPECT_EQ(file->find("fused", flat, {{0, 0}, {2, 5}}).error(),
              (Error{ErrorCode::corrupt,
                     "segment \"step-1.a1/segment-00000-000.safetensors\" holds no box of tensor \"fused\", the manifest "
                     "says [0,0]+[2,5]"}));
    return "";
  });
}

}  // namespace
}  // namespace holdfast::protocol

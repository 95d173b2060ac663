#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "impl/api/holdfast.h"
#include "tests/cli/command.h"

namespace holdfast::cli_test {
namespace {

namespace fs = std::filesystem;

std::map<std::string, Tensor> sample(unsigned seed) {
  return {{"a.scalar", {"F64", {}, noise(8, seed)}},
          {"b.flags", {"BOOL", {3}, noise(3, seed + 1)}},
          {"c.rows", {"F32", {10, 7}, noise(280, seed + 2)}},
          {"d.halves", {"BF16", {33, 2, 2}, noise(264, seed + 3)}},
          {"e.empty", {"F32", {0, 4}, ""}},
          {"f/odd name", {"I8", {5}, noise(5, seed + 4)}}};
}

void expect_equal(const std::map<std::string, Tensor>& found, const std::map<std::string, Tensor>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_EQ(found.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(found.at(name).shape, tensor.shape) << name;
    EXPECT_EQ(found.at(name).data, tensor.data) << name;
  }
}

/// A folder with one checkpoint of sample(seed) a step, and the source of the last.
struct Saved {
  Scratch scratch;
  std::string source = scratch / "source.safetensors";
  std::string folder = scratch / "checkpoints";

  explicit Saved(std::vector<int> steps = {1}, const std::string& ranks = "2") {
    for (const int step : steps) {
      write_safetensors(source, sample(static_cast<unsigned>(step)), {{"format", "pt"}});
      const Ran run = holdfast({"save", source, folder, "--step", std::to_string(step), "--ranks", ranks});
      EXPECT_EQ(run.exit, 0) << run.err;
    }
  }
  std::string operator/(const std::string& name) const { return scratch / name; }
};

/// What the command itself never saves: byte values of a trainer's own.
void save_with_values(const std::string& folder, const std::map<std::string, std::string>& values) {
  const auto job = Job::alone();
  auto checkpoints = Checkpoints::open(*job, folder);
  ASSERT_TRUE(checkpoints) << checkpoints.error().message;
  std::string data = "data";
  StateDict state;
  ASSERT_TRUE(state.add("w", reinterpret_cast<std::byte*>(data.data()), DType::u8, {4}, ReplicatedLayout{}, job->rank()));
  for (const auto& [name, value] : values) ASSERT_TRUE(state.add_bytes(name, to_bytes(as_bytes(value))));
  const auto saved = (*checkpoints)->save(state, {.step = Step{1}});
  ASSERT_TRUE(saved) << to_string(saved.error());
}

TEST(Save, MakesACheckpointThatLoadsAsTheSameTensorsOnAnyNumberOfRanks) {
  for (const char* ranks : {"1", "3", "12"}) {
    const Saved saved({1}, ranks);
    for (const char* to : {"1", "4"}) {
      const std::string back = saved / (std::string("back") + to);
      const Ran run = holdfast({"load", saved.folder, back, "--ranks", to});
      ASSERT_EQ(run.exit, 0) << run.err;
      EXPECT_EQ(run.err, "");
      std::map<std::string, std::string> metadata;
      expect_equal(read_safetensors(back, &metadata), sample(1));
      EXPECT_EQ(metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
      EXPECT_EQ(holdfast({"verify", back}).exit, 0);
    }
  }
}

TEST(Save, TakesTheStepAfterTheHighestAndSaysSo) {
  const Saved saved({7});
  const Ran run = holdfast({"save", saved.source, saved.folder, "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_NE(run.err.find("step 8, one above the highest there"), std::string::npos) << run.err;
  EXPECT_EQ(run.json()["directory"], "step-8.a2");
  EXPECT_EQ(run.json()["step"], 8);
  EXPECT_EQ(run.json()["sequence"], 2);
}

TEST(Save, MakesTheFolderAndItsParents) {
  const Saved saved;
  EXPECT_EQ(holdfast({"save", saved.source, saved / "x/y/z"}).exit, 0);
  EXPECT_EQ(holdfast({"latest", saved / "x/y/z"}).out, "step-1.a1\n");
}

TEST(Save, KeepsAsManyAsItIsTold) {
  const Saved saved({1, 2});
  EXPECT_EQ(holdfast({"save", saved.source, saved.folder, "--step", "3", "--keep", "3"}).exit, 0);
  EXPECT_EQ(holdfast({"ls", saved.folder, "--json"}).json()["attempts"].size(), 3u);
  EXPECT_EQ(holdfast({"save", saved.source, saved.folder, "--step", "4", "--keep", "1"}).exit, 0);
  EXPECT_EQ(holdfast({"ls", saved.folder, "--json"}).json()["attempts"].size(), 1u);
}

TEST(Load, FallsBackToAnOlderCheckpointAndNamesTheDamagedOne) {
  const Saved saved({1, 2});
  flip_bit(saved.folder + "/step-2.a2/segment-00000-000.safetensors", 8 * 4100);
  const std::string back = saved / "back";
  const Ran run = holdfast({"load", saved.folder, back});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_NE(run.err.find("skipped step-2.a2: "), std::string::npos) << run.err;
  expect_equal(read_safetensors(back), sample(1));
  const Ran chosen = holdfast({"load", saved.folder, saved / "other", "--directory", "step-2.a2"});
  EXPECT_EQ(chosen.exit, 1);
  EXPECT_FALSE(fs::exists(saved / "other"));
  EXPECT_EQ(files_below(saved / "").size(), files_below(saved.folder).size() + 2) << "a temporary file was left";
}

TEST(Load, WritesByteValuesOnlyWhenAskedTo) {
  const Scratch scratch;
  save_with_values(scratch / "folder", {{"optim/state", "first"}, {".hidden", ""}});
  const Ran without = holdfast({"load", scratch / "folder", scratch / "one"});
  EXPECT_EQ(without.exit, 0) << without.err;
  EXPECT_NE(without.err.find("left out: the byte value \"optim/state\" of 5 bytes"), std::string::npos) << without.err;
  const Ran with = holdfast({"load", scratch / "folder", scratch / "two", "--bytes", scratch / "values", "--json"});
  ASSERT_EQ(with.exit, 0) << with.err;
  EXPECT_EQ(with.json()["values"], (nlohmann::json{{"optim/state", 5}, {".hidden", 0}}));
  EXPECT_EQ(read_file(scratch / "values/optim%2Fstate.bin"), "first");
  EXPECT_EQ(files_below(scratch / "values"), (std::vector<std::string>{"%2Ehidden.bin", "optim%2Fstate.bin"}));
  EXPECT_EQ(read_safetensors(scratch / "two").at("w").data, "data");
}

TEST(Load, RefusesToOverwriteUnlessForced) {
  const Saved saved;
  write_file(saved / "back", "precious");
  const Ran run = holdfast({"load", saved.folder, saved / "back"});
  EXPECT_EQ(run.exit, 2);
  EXPECT_NE(run.last_line().find("it exists; --force replaces it"), std::string::npos) << run.err;
  EXPECT_EQ(read_file(saved / "back"), "precious");
  EXPECT_EQ(holdfast({"load", saved.folder, saved / "back", "--force"}).exit, 0);
  expect_equal(read_safetensors(saved / "back"), sample(1));
}

TEST(Verify, PassesWhatWasSavedAndSaysHowMuch) {
  const Saved saved({1, 2});
  for (const std::string& path : {saved.folder, saved.folder + "/step-1.a1", saved.folder + "/step-2.a2/", saved.source,
                                  saved.folder + "/step-1.a1/segment-00001-000.safetensors"}) {
    const Ran run = holdfast({"verify", path, "--json"});
    EXPECT_EQ(run.exit, 0) << path << "\n" << run.out << run.err;
    EXPECT_EQ(run.json()["holdfast"], 1);
    EXPECT_EQ(run.json()["verb"], "verify");
    EXPECT_EQ(run.json()["ok"], true);
    EXPECT_TRUE(run.json()["findings"].empty());
    EXPECT_GT(run.json()["bytes"], 0);
  }
}

TEST(Latest, PrintsTheNewestAndWithVerifiedPassesOverDamage) {
  const Saved saved({5, 3});
  EXPECT_EQ(holdfast({"latest", saved.folder}).out, "step-3.a2\n");
  flip_bit(saved.folder + "/step-3.a2/segment-00001-000.safetensors", 8 * 4096);
  EXPECT_EQ(holdfast({"latest", saved.folder}).out, "step-3.a2\n");
  const Ran verified = holdfast({"latest", saved.folder, "--verified"});
  EXPECT_EQ(verified.exit, 0);
  EXPECT_EQ(verified.out, "step-5.a1\n");
  EXPECT_NE(verified.err.find("passed over step-3.a2"), std::string::npos) << verified.err;
  flip_bit(saved.folder + "/step-5.a1/MANIFEST", 8 * 40);
  const Ran none = holdfast({"latest", saved.folder, "--verified", "--json"});
  EXPECT_EQ(none.exit, 1);
  EXPECT_EQ(none.json()["error"]["code"], "corrupt");
  EXPECT_EQ(holdfast({"latest", saved.folder}).out, "step-3.a2\n");
}

TEST(Ls, ListsCommittedDamagedAndUncommittedAttempts) {
  const Saved saved({1, 2});
  fs::create_directory(saved.folder + "/step-9.a3");
  const Ran run = holdfast({"ls", saved.folder});
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_NE(run.out.find("newest"), std::string::npos);
  flip_bit(saved.folder + "/step-1.a1/MANIFEST", 0);
  const Ran damaged = holdfast({"ls", saved.folder, "--json"});
  EXPECT_EQ(damaged.exit, 1);
  const auto attempts = damaged.json()["attempts"];
  ASSERT_EQ(attempts.size(), 3u);
  EXPECT_EQ(attempts[0]["directory"], "step-2.a2");
  EXPECT_EQ(attempts[0]["state"], "committed");
  EXPECT_EQ(attempts[0]["newest"], true);
  EXPECT_EQ(attempts[0]["ranks"], 2);
  EXPECT_EQ(attempts[0]["tensors"], 6);
  EXPECT_EQ(attempts[1]["state"], "damaged");
  EXPECT_EQ(attempts[2]["state"], "uncommitted");
}

TEST(Show, TakesValuesOfSingleRanksTogether) {
  const Scratch scratch;
  for (const Status& result : run_local_job(3, [&](Job& job) -> Status {
         auto checkpoints = TRY(Checkpoints::open(job, scratch / "ranks"));
         StateDict state;
         TRY(state.add_rank_bytes("rng", Bytes(8), RankPolicy::modulo));
         TRY(state.add_bytes("step", Bytes(2)));
         const auto saved = checkpoints->save(state, {.step = Step{1}});
         return saved ? Status() : Status(fail(to_error(saved.error())));
       })) {
    ASSERT_TRUE(result) << result.error().message;
  }
  const std::string shown = holdfast({"show", scratch / "ranks"}).out;
  EXPECT_NE(shown.find("\nvalues of single ranks\nrng                                      3 of 3 ranks, 24 bytes, policy modulo\n"),
            std::string::npos)
      << shown;
  const auto json = holdfast({"show", scratch / "ranks", "--json"}).json();
  EXPECT_EQ(json["rank_values"].size(), 1u);
  EXPECT_EQ(json["rank_values"][0]["holders"], 3);
  EXPECT_EQ(json["values"][0]["name"], "@rank/0-of-3/modulo/rng");
}

TEST(Show, SaysWhatIsInACheckpointAndWhereATensorLies) {
  const Saved saved;
  const auto all = holdfast({"show", saved.folder, "--json"}).json();
  EXPECT_EQ(all["directory"], "step-1.a1");
  EXPECT_EQ(all["tensors"].size(), 6u);
  EXPECT_EQ(all["ranks"], 2);
  const Ran run = holdfast({"show", saved.folder + "/step-1.a1", "--tensor", "c.rows", "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  const auto shown = run.json();
  EXPECT_EQ(shown["tensor"]["shape"], (std::vector<int>{10, 7}));
  ASSERT_EQ(shown["chunks"].size(), 2u);
  std::string stored;
  for (const auto& chunk : shown["chunks"]) {
    stored += read_file(saved.folder + "/step-1.a1/" + chunk["file"].get<std::string>()).substr(chunk["file_offset"], chunk["bytes"]);
  }
  EXPECT_EQ(stored, sample(1)["c.rows"].data);
  EXPECT_NE(holdfast({"show", saved.folder}).out.find("c.rows"), std::string::npos);
  EXPECT_EQ(holdfast({"show", saved.folder, "--tensor", "nope"}).exit, 2);
}

/// A checkpoint whose tensors lie by the rule of a mesh: 2 x 2 ranks, one axis replicated.
void save_on_mesh(const std::string& folder) {
  const MeshLayout layout{packed_mesh(std::vector<std::int64_t>{2, 2}), {Replicate{}, Shard{0}}, {}};
  const std::vector<Status> results = run_local_job(4, [&](Job& job) -> Status {
    std::vector<float> data(8 * 3, 1.5f);
    StateDict state;
    TRY(state.add("w", reinterpret_cast<std::byte*>(data.data()), DType::f32, {16, 3}, layout, job.rank()));
    const auto checkpoints = TRY(Checkpoints::open(job, folder));
    const auto saved = checkpoints->save(state, {.step = Step{1}});
    return saved ? Status() : Status(fail(to_error(saved.error())));
  });
  for (const Status& result : results) EXPECT_TRUE(result) << result.error().message;
}

TEST(Show, SaysByWhichRuleATensorLies) {
  const Scratch scratch;
  save_on_mesh(scratch / "folder");
  const Ran run = holdfast({"show", scratch / "folder", "--tensor", "w", "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_EQ(run.json()["tensor"]["chunks"], 2) << "small: each half is written whole by one of its two holders";
  const std::string layout = run.json()["tensor"]["layout"];
  EXPECT_EQ(layout.find("mesh("), 0u) << layout;
  EXPECT_EQ(run.json()["chunks"].size(), 2u);
  const Ran all = holdfast({"show", scratch / "folder"});
  EXPECT_NE(all.out.find("  by " + layout), std::string::npos) << all.out;
  const Ran plan = holdfast({"plan", scratch / "folder", "--to", "3", "--json"});
  ASSERT_EQ(plan.exit, 0) << plan.err;
  EXPECT_EQ(plan.json()["ranks"], 4);
  EXPECT_EQ(plan.json()["chunks"], 2);
  EXPECT_EQ(plan.json()["written_bytes"], 16 * 3 * 4);
  EXPECT_EQ(plan.json()["load"]["rank_bytes"], (std::vector<int>{72, 72, 48})) << "6, 6 and 4 rows of 12 bytes";
}

}  // namespace
}  // namespace holdfast::cli_test

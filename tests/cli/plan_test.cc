// plan, estimate and check-plan.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "tests/cli/command.h"

namespace holdfast::cli_test {
namespace {

using nlohmann::json;

const std::string specs = HOLDFAST_SPECS;
std::string spec(const std::string& name) { return specs + "/" + name + ".json"; }

Ran on_mesh(const std::string& verb, const std::string& model, const std::string& mesh, std::vector<std::string> more = {}) {
  std::vector<std::string> words{verb, spec(model), "--meshes", spec("meshes"), "--sharding", spec("sharding"), "--mesh", mesh};
  words.insert(words.end(), more.begin(), more.end());
  return holdfast(words);
}

std::string layout_file(const Scratch& scratch) {
  const std::string path = scratch / "layout.json";
  write_file(path, R"({"name":"tiny","tied":[["w","head"]],"tensors":[
    {"name":"w","dtype":"F32","shape":[8,4]},{"name":"head","dtype":"F32","shape":[8,4]},
    {"name":"mask","dtype":"BOOL","shape":[5],"buffer":true},{"name":"scale","dtype":"BF16","shape":[]}]})");
  return path;
}

TEST(Plan, CountsALayoutFile) {
  const Scratch scratch;
  const auto one = holdfast({"plan", layout_file(scratch), "--json"}).json();
  EXPECT_EQ(one["parameters"], 33);
  EXPECT_EQ(one["elements"], 70);
  EXPECT_EQ(one["tensors"], 4);
  EXPECT_EQ(one["bytes"], 2 * 128 + 5 + 2);
  EXPECT_EQ(one["ranks"], 1);
  EXPECT_EQ(one["files"], 1);
  EXPECT_EQ(one["chunks"], 4);
  const auto four = holdfast({"plan", layout_file(scratch), "--ranks", "4", "--to", "3", "--json"}).json();
  EXPECT_EQ(four["ranks"], 4);
  EXPECT_EQ(four["files"], 4);
  EXPECT_EQ(four["chunks"], 4 + 4 + 3 + 1) << "five rows on four ranks are cut as torch.chunk cuts: 2, 2, 1";
  EXPECT_EQ(four["written_bytes"], four["bytes"]);
  EXPECT_EQ(four["dedup_saved_bytes"], 3 * 2);
  EXPECT_EQ(four["load"]["ranks"], 3);
  EXPECT_EQ(four["load"]["needed_bytes"], 2 * 128 + 5 + 3 * 2);
  EXPECT_EQ(four["load"]["rank_bytes"].size(), 3u);
}

TEST(Plan, PrintsTheHeaderAndTheFindings) {
  const Scratch scratch;
  const Ran run = holdfast({"plan", layout_file(scratch), "--ranks", "4", "--to", "3", "--write-gbps", "2", "--read-gbps", "4"});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_EQ(run.out,
            "layout        tiny\n"
            "parameters    33\n"
            "elements      70 in 4 tensors\n"
            "ranks         4 -> 3\n"
            "\n"
            "save          4 ranks, each a part of the rows\n"
            "logical       263 B under 4 keys\n"
            "written       263 B in 12 chunks, 4 files\n"
            "dedup saved   6 B\n"
            "bytes a rank  min 64 B, median 65 B, max 68 B, imbalance 1.03\n"
            "files a rank  at most 1\n"
            "peak staging  68 B a rank\n"
            "estimated     3.4e-08 s at 2 GB/s a rank\n"
            "\n"
            "load          3 ranks, each a part of the rows\n"
            "needed        267 B of 263 B stored\n"
            "read          267 B in 16 reads, amplification 1.000\n"
            "small reads   16 under 64.0 KiB\n"
            "bytes a rank  min 67 B, median 100 B, max 100 B, imbalance 1.12\n"
            "files a rank  at most 3 of 4\n"
            "peak staging  100 B a rank\n"
            "estimated     2.5e-08 s at 4 GB/s a rank\n");
}

/// A checkpoint of `ranks` ranks.
struct Saved {
  Scratch scratch;
  std::string folder = scratch / "checkpoints";
  explicit Saved(const std::string& ranks) {
    write_safetensors(scratch / "source", {{"a", {"F32", {12, 8}, noise(384, 1)}}, {"b", {"U8", {3}, noise(3, 2)}}}, {{"format", "pt"}});
    const Ran run = holdfast({"save", scratch / "source", folder, "--step", "1", "--ranks", ranks});
    EXPECT_EQ(run.exit, 0) << run.err;
  }
};

TEST(Plan, TakesACheckpointAsItWasStored) {
  const Saved saved("4");
  const Ran run = holdfast({"plan", saved.folder, "--to", "3", "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  const json plan = run.json();
  EXPECT_EQ(plan["name"], "step-1.a1");
  EXPECT_EQ(plan["saved_on"], "as 4 ranks stored it");
  EXPECT_EQ(plan["ranks"], 4);
  EXPECT_EQ(plan["chunks"], 5);
  EXPECT_EQ(plan["keys"], 3) << "with the metadata of the file, a byte value";
  EXPECT_EQ(plan["written_bytes"], plan["bytes"]);
  EXPECT_EQ(plan["load"]["rank_bytes"], (std::vector<int>{129, 129, 129}));
  EXPECT_EQ(plan["load"]["needed_bytes"], 3 * 129);
  EXPECT_EQ(plan["load"]["files_a_rank_max"], 2 + 1) << "two of the four files of rows, and perhaps another for b";
  const json again = holdfast({"plan", saved.folder, "--ranks", "2", "--json"}).json();
  EXPECT_EQ(again["ranks"], 2);
  EXPECT_EQ(again["chunks"], 2 + 2) << "b has rows enough for two ranks, not for the four that stored it whole";
}

TEST(Plan, TakesASafetensorsFile) {
  const Saved saved("1");
  const json plan = holdfast({"plan", saved.scratch / "source", "--ranks", "3", "--json"}).json();
  EXPECT_EQ(plan["tensors"], 2);
  EXPECT_EQ(plan["elements"], 99);
  EXPECT_EQ(plan["chunks"], 3 + 3);
}

TEST(Plan, SaysWhatEachOf384RanksReadsOfWhat512Wrote) {
  const auto start = std::chrono::steady_clock::now();
  const Ran run = on_mesh("plan", "llama-3.1-405b", "torchtitan-512", {"--to", "384", "--focus", "rank=60", "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  const json plan = run.json();
  EXPECT_EQ(plan["ranks"], 512);
  EXPECT_EQ(plan["parameters"], 405853388800);
  EXPECT_EQ(plan["saved_on"], "mesh torchtitan-512 (pp=8 dp_shard=8 tp=8), rules llama/torchtitan");
  // F32 parameters and two states, and a step of 4 bytes a tensor.
  EXPECT_EQ(plan["bytes"], 405853388800 * 12 + 1137 * 4);
  EXPECT_EQ(plan["written_bytes"], plan["bytes"]);
  EXPECT_EQ(plan["load"]["ranks"], 384);
  EXPECT_EQ(plan["load"]["loaded_on"], "mesh torchtitan-512 (pp=8 dp_shard=6 tp=8), rules llama/torchtitan");
  EXPECT_EQ(plan["load"]["rank_bytes"].size(), 384u);
  std::uint64_t needed = 0;
  for (const auto& bytes : plan["load"]["rank_bytes"]) needed += bytes.get<std::uint64_t>();
  EXPECT_EQ(plan["load"]["needed_bytes"], needed);
  EXPECT_EQ(plan["load"]["stored_bytes"], plan["bytes"]);
  EXPECT_EQ(plan["load"]["amplification"], 1.0);
  EXPECT_EQ(plan["focus"]["bytes"], plan["load"]["rank_bytes"][60]);
  std::uint64_t of_files = 0;
  for (const auto& file : plan["focus"]["files"]) of_files += file["bytes"].get<std::uint64_t>();
  EXPECT_EQ(of_files, plan["focus"]["bytes"]);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << "2 s on a machine that is not busy";
}

TEST(Plan, IsMadeFor16384Ranks) {
  const json plan = on_mesh("plan", "llama-3.1-405b", "llama3-paper-16384", {"--to", "8960", "--json"}).json();
  EXPECT_EQ(plan["ok"], true);
  EXPECT_EQ(plan["ranks"], 16384);
  EXPECT_EQ(plan["load"]["ranks"], 8960);
  EXPECT_EQ(plan["written_bytes"], plan["bytes"]);
  EXPECT_LT(plan["imbalance"], 1.09);
}

TEST(Plan, OfEveryMeshIsWhole) {
  const json meshes = json::parse(read_file(spec("meshes")))["meshes"];
  for (const auto& mesh : meshes) {
    const Ran run = on_mesh("plan", mesh["model"], mesh["name"], {"--json"});
    EXPECT_EQ(run.exit, 0) << mesh["name"] << run.err;
    EXPECT_EQ(run.json()["written_bytes"], run.json()["bytes"]) << mesh["name"];
    EXPECT_EQ(run.json()["ranks"], mesh["ranks"]);
  }
}

TEST(Plan, RefusesWhatWouldHaveToBeCastAndSaysWhatIsMissing) {
  const Ran run = on_mesh("plan", "llama-3.1-405b", "megatron-bridge-1024", {"--to", "torchtitan-512"});
  EXPECT_EQ(run.exit, 1);
  EXPECT_EQ(run.last_line(),
            "holdfast plan: E dtype: 1,137 keys; the first: \"lm_head.weight\": BF16 is stored, F32 wanted; nothing is cast");
  EXPECT_NE(run.out.find("W missing: 1,137 keys; the first: \"optimizer.state.lm_head.weight.step\": wanted, and not stored\n"),
            std::string::npos)
      << run.out;
}

TEST(Plan, FindsAFileThatEverybodyReads) {
  const Scratch scratch;
  std::string tensors;
  for (int i = 0; i < 60; ++i) tensors += fmt::format(R"({{"name":"t{}","dtype":"U8","shape":[40]}},)", i);
  // One tensor that one rank writes and all load: with fewer rows than ranks it is replicated.
  write_file(scratch / "layout.json", R"({"tensors":[)" + tensors + R"({"name":"table","dtype":"U8","shape":[3,2000]}]})");
  const Ran run = holdfast({"plan", scratch / "layout.json", "--ranks", "8", "--to", "32"});
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_NE(run.out.find("W hot-file: "), std::string::npos) << run.out;
  EXPECT_NE(run.out.find(", by 32 ranks; "), std::string::npos) << run.out;
}

TEST(Plan, NamesPaddingThatItDoesNotRead) {
  const Ran run = on_mesh("plan", "gpt2", "small-tp", {"--ranks", "4", "--to", "8"});
  EXPECT_EQ(run.exit, 0) << run.err;
  EXPECT_EQ(run.out.find("W padding"), std::string::npos) << "padded alike";
  const Ran rows =
      holdfast({"plan", spec("gpt2"), "--ranks", "6", "--to", "small-tp", "--meshes", spec("meshes"), "--sharding", spec("sharding")});
  EXPECT_EQ(rows.exit, 0) << rows.err;
  EXPECT_NE(rows.out.find("W padding: 2.53 MiB that the ranks hold are padding of their mesh and are not read\n"), std::string::npos)
      << rows.out;
}

TEST(Plan, TakesAHundredThousandTensors) {
  const Scratch scratch;
  std::string layout = R"({"name":"many","tensors":[)";
  for (int i = 0; i < 100'000; ++i)
    layout += fmt::format(R"({}{{"name":"layers.{}.weight","dtype":"BF16","shape":[64,32]}})", i ? ",\n" : "", i);
  write_file(scratch / "layout.json", layout + "]}");
  const Ran run = holdfast({"plan", scratch / "layout.json", "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_EQ(run.json()["tensors"], 100'000);
  EXPECT_EQ(run.json()["parameters"], 204'800'000);
}

TEST(Plan, DrawsFilesAndRanksBarsAndOneTensor) {
  if (std::system("dot -V >/dev/null 2>&1") != 0) GTEST_SKIP() << "no program dot";
  const Scratch scratch;
  const std::string svg = scratch / "plan.svg", dot = scratch / "plan.dot", bars = scratch / "bars.svg", tensor = scratch / "tensor.svg";
  for (const auto& [model, mesh, to] : {std::tuple{"llama-3.1-8b", "torchtitan-8", "6"}, std::tuple{"mixtral-8x7b", "mcore-64", "mcore-32"},
                                        std::tuple{"llama-3.1-405b", "megatron-bridge-1024", "640"}}) {
    for (const bool load : {false, true}) {
      std::vector<std::string> more{"--svg", svg, "--dot", dot, "--bars", bars};
      if (load) more.insert(more.end(), {"--to", to});
      const Ran run = on_mesh("plan", model, mesh, more);
      ASSERT_EQ(run.exit, 0) << run.err;
      EXPECT_EQ(run.err, "");
      EXPECT_NE(read_file(svg).find(load ? "Who reads what" : "Who writes what"), std::string::npos);
      EXPECT_NE(read_file(dot).find("digraph"), std::string::npos);
      EXPECT_NE(read_file(bars).find(load ? "Needed a rank" : "Written a rank"), std::string::npos);
    }
  }
  const Ran run =
      on_mesh("plan", "gpt2", "small-tp", {"--to", "12", "--tensor", "h.0.attn.c_attn.weight", "--focus", "rank=2", "--svg", tensor});
  ASSERT_EQ(run.exit, 0) << run.err;
  EXPECT_NE(read_file(tensor).find("3 boxes need 3 saved chunks: 2 (33.3 %), 6 (33.3 %), 10 (33.3 %)"), std::string::npos);
  EXPECT_NE(run.out.find("  saved   12 chunks, held by mesh(2x4 from 0) [replicate,segments(1: 768+768+768)]\n"), std::string::npos)
      << run.out;
}

TEST(Plan, RefusesArgumentsThatDoNotGoTogether) {
  const Scratch scratch;
  const std::string layout = layout_file(scratch);
  const auto refused = [&](std::vector<std::string> more, const std::string& cause) {
    std::vector<std::string> words{"plan", layout};
    words.insert(words.end(), more.begin(), more.end());
    const Ran run = holdfast(words);
    EXPECT_EQ(run.exit, 2) << cause;
    EXPECT_EQ(run.last_line(), "holdfast plan: " + cause);
    EXPECT_EQ(run.out, "");
  };
  refused({"--meshes", spec("meshes")}, "--meshes and --sharding go together");
  refused({"--mesh", "small-tp"}, "--mesh needs --meshes and --sharding");
  refused({"--rules", "any/ddp"}, "--rules needs --meshes and --sharding");
  refused({"--to", "small-tp"}, "--to \"small-tp\": expected a number of ranks, or the name of a mesh with --meshes and --sharding");
  refused({"--to", "0"}, "--to 0: expected 1 to 1048576 ranks");
  refused({"--full"}, "--full needs --json");
  refused({"--tensor", "w", "--dot", scratch / "x.dot"}, "--tensor draws one tensor, which is no graph; expected --svg, not --dot");
  refused({"--tensor", "v"}, "--tensor \"v\": the plan has no such tensor; it has 4 keys");
  refused({"--focus", "host=3"}, "focus \"host=3\": expected rank=NUMBER, tensor=GLOB or file=GLOB");
  refused({"--focus", "rank=3"}, "focus rank=3: there are 1 ranks");
  const std::vector<std::string> files{"--meshes", spec("meshes"), "--sharding", spec("sharding")};
  const auto with_files = [&](std::vector<std::string> more) {
    more.insert(more.begin(), files.begin(), files.end());
    return more;
  };
  refused(with_files({"--mesh", "small-tp"}), "mesh \"small-tp\": rules gpt2/megatron-tp: none is for the tensor \"w\" of shape [8,4]");
  refused(with_files({"--mesh", "small-tp", "--rules", "any/ddp", "--ranks", "6"}),
          "mesh \"small-tp\" (dp=2 tp=4) on 6 ranks: its dims without dp take 4; expected a multiple of that");
  refused(
      with_files({"--mesh", "small-tp", "--rules", "x"}),
      "there is no rule set \"x\"; expected one of any/ddp, any/fsdp2, any/zero3, gpt2/megatron-tp, llama/megatron-lm, llama/torchtitan, "
      "mixtral/megatron-lm");
  write_file(scratch / "meshes.json", "{");
  refused({"--meshes", scratch / "meshes.json", "--sharding", spec("sharding"), "--mesh", "a"},
          "meshes \"" + (scratch / "meshes.json") + "\": it is not JSON");
}

TEST(Estimate, SaysBytesFilesSecondsAndStaging) {
  const Ran run =
      on_mesh("estimate", "llama-3.1-70b", "torchtitan-256", {"--to", "128", "--write-gbps", "2", "--storage-gbps", "50", "--json"});
  ASSERT_EQ(run.exit, 0) << run.err;
  const json estimate = run.json();
  const std::uint64_t bytes = 70553706496ull * 12 + 723 * 4;
  EXPECT_EQ(estimate["bytes"], bytes);
  EXPECT_EQ(estimate["files"], 256);
  EXPECT_DOUBLE_EQ(estimate["seconds"], static_cast<double>(bytes) / 50e9) << "256 ranks at 2 GB/s are faster than the storage";
  EXPECT_GE(estimate["staging_bytes_max"], bytes / 256);
  EXPECT_LT(estimate["staging_bytes_max"], bytes / 256 * 11 / 10);
  EXPECT_EQ(estimate["load"]["ranks"], 128);
  EXPECT_EQ(estimate["assumed"]["storage_gbps"], 50.0);
  const json alone = on_mesh("estimate", "llama-3.1-70b", "torchtitan-256", {"--write-gbps", "2", "--json"}).json();
  EXPECT_DOUBLE_EQ(alone["seconds"], alone["staging_bytes_max"].get<double>() / 2e9);
}

/// The plan that the command itself makes of a small layout.
json full_plan(const Scratch& scratch) {
  const Ran run = holdfast({"plan", layout_file(scratch), "--ranks", "3", "--to", "2", "--json", "--full"});
  EXPECT_EQ(run.exit, 0) << run.err;
  return run.json();
}

Ran check(const Scratch& scratch, const json& plan) {
  write_file(scratch / "plan.json", plan.dump());
  return holdfast({"check-plan", scratch / "plan.json"});
}

TEST(CheckPlan, FindsThePlannersOwnPlansSound) {
  const Scratch scratch;
  const json printed = full_plan(scratch);
  const Ran run = check(scratch, printed);
  EXPECT_EQ(run.exit, 0) << run.out << run.err;
  EXPECT_EQ(run.out,
            "save          3 ranks, imbalance 1.14\n"
            "load          2 ranks, imbalance 1.00, amplification 1.000, 265 B needed\n"
            "every byte exactly once\n");
  EXPECT_EQ(check(scratch, printed["plan"]).exit, 0) << "the plan alone";
  const Saved saved("4");
  const Ran stored = holdfast({"plan", saved.folder, "--to", "3", "--json", "--full"});
  ASSERT_EQ(stored.exit, 0) << stored.err;
  const Ran checked = check(scratch, stored.json());
  EXPECT_EQ(checked.exit, 0) << checked.out << checked.err;
  const json mesh = on_mesh("plan", "gpt2", "small-tp", {"--to", "12", "--json", "--full"}).json();
  EXPECT_EQ(check(scratch, mesh).exit, 0);
}

TEST(CheckPlan, FindsWhatIsWrong) {
  const Scratch scratch;
  const json good = full_plan(scratch)["plan"];
  const auto found = [&](const std::string& finding, const std::function<void(json&)>& spoil) {
    json plan = good;
    spoil(plan);
    const Ran run = check(scratch, plan);
    EXPECT_EQ(run.exit, 1) << finding;
    EXPECT_NE(run.out.find(finding), std::string::npos) << "expected " << finding << "\nfound " << run.out;
    EXPECT_EQ(run.last_line().substr(0, 23), "holdfast check-plan: E ") << run.err;
  };
  // Rank 0 writes head [0..3), mask [0..2), w [0..3) and perhaps the scalar; items are in name order.
  found("E uncovered: save: ", [](json& plan) { plan["save"][0].erase(0); });
  found("E owner: save: ",
        [](json& plan) { plan["save"][1].push_back(plan["save"][0][0]), plan["held"][1].push_back(plan["save"][0][0]); });
  found("E not-held: save: ", [](json& plan) { plan["held"][0].erase(0); });
  found("E out-of-bounds: save: ", [](json& plan) { plan["save"][2][0]["size"][0] = 99; });
  found("E uncovered: load of rank 1: ", [](json& plan) { plan["load"][1].erase(0); });
  found("E overlap: load of rank 0: ", [](json& plan) { plan["load"][0].push_back(plan["load"][0][0]); });
  found("E empty: load of rank 0: ", [](json& plan) { plan["load"][0][0]["size"][0] = 0; });
  found("E misplaced: load of rank 0: ", [](json& plan) { plan["load"][0][0]["from_at"][0] = 1, plan["load"][0][0]["size"][0] = 1; });
  found("E unknown-source: load of rank 0: ", [](json& plan) { plan["load"][0][0]["from"][0] = 7; });
}

TEST(CheckPlan, RefusesAFileThatIsNoPlan) {
  const Scratch scratch;
  const json good = full_plan(scratch)["plan"];
  const auto refused = [&](const std::string& cause, const std::function<void(json&)>& spoil) {
    json plan = good;
    spoil(plan);
    const Ran run = check(scratch, plan);
    EXPECT_EQ(run.exit, 2) << cause;
    EXPECT_EQ(run.last_line(), "holdfast check-plan: plan \"" + (scratch / "plan.json") + "\"" + cause);
  };
  refused(": \"holdfast_plan\" is 2; expected 1", [](json& plan) { plan["holdfast_plan"] = 2; });
  refused(": it has no \"tensors\"; expected it to be there", [](json& plan) { plan.erase("tensors"); });
  refused(": tensor \"w\": unknown dtype \"F9\"", [](json& plan) { plan["tensors"]["w"]["dtype"] = "F9"; });
  refused(": save of rank 0, item 0: it has no \"key\"; expected a text", [](json& plan) { plan["save"][0][0].erase("key"); });
  refused(": save of rank 0, item 0: \"v\" is neither in \"tensors\" nor in \"values\"",
          [](json& plan) { plan["save"][0][0]["key"] = "v"; });
  refused(": save of rank 0, item 0: \"offset\" is [0]; expected 2 numbers, one a dimension of the tensor",
          [](json& plan) { plan["save"][0][0]["offset"] = {0}; });
  refused(": save of rank 0, item 0: \"offset\" is [0,-1]; expected a list of integers from 0",
          [](json& plan) { plan["save"][0][0]["offset"] = {0, -1}; });
  refused(": \"save\" is [3]; expected a list a rank", [](json& plan) { plan["save"] = {3}; });
  refused(": \"load\" has 1 ranks, \"wanted\" 2", [](json& plan) { plan["load"].erase(0); });
  refused(": it has no \"save\"; expected that, or \"load\" and \"wanted\"", [](json& plan) { plan.erase("save"), plan.erase("load"); });
  write_file(scratch / "plan.json", "{");
  const Ran run = holdfast({"check-plan", scratch / "plan.json"});
  EXPECT_EQ(run.exit, 2);
  EXPECT_EQ(run.last_line(), "holdfast check-plan: plan \"" + (scratch / "plan.json") + "\": it is not JSON");
}

TEST(CheckPlan, TheDocumentedExampleIsSound) {
  const std::string document = read_file(HOLDFAST_PLANS_DOCUMENT);
  const std::size_t begin = document.find("```json\n") + 8, end = document.find("```", begin);
  ASSERT_LT(end, document.size());
  const Scratch scratch;
  const Ran run = check(scratch, json::parse(document.substr(begin, end - begin)));
  EXPECT_EQ(run.exit, 0) << run.out << run.err;
}

}  // namespace
}  // namespace holdfast::cli_test

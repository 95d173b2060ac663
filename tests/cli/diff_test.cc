// diff, and what a machine says of itself.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>

#include "tests/cli/command.h"

namespace holdfast::cli_test {
namespace {

namespace fs = std::filesystem;

std::string floats(std::vector<float> values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::map<std::string, Tensor> sample() {
  return {{"a", {"F32", {2, 3}, floats({0, 1, 2, 3, 4, 5})}}, {"b", {"BF16", {4}, noise(8, 1)}}, {"c", {"U8", {}, "x"}}};
}

/// Two sources and a folder of checkpoints of the first.
struct Sides {
  Scratch scratch;
  std::string a = scratch / "a.safetensors";
  std::string b = scratch / "b.safetensors";
  std::string folder = scratch / "checkpoints";
  Sides() {
    write_safetensors(a, sample(), {{"format", "pt"}});
    write_safetensors(b, sample(), {{"format", "pt"}});
  }
  void save(const std::string& source, const std::string& step, const std::string& ranks) {
    const Ran run = holdfast({"save", source, folder, "--step", step, "--ranks", ranks});
    EXPECT_EQ(run.exit, 0) << run.err;
  }
};

TEST(Diff, OfEqualContentsIsGoodHoweverTheyAreCut) {
  Sides sides;
  sides.save(sides.a, "1", "1");
  sides.save(sides.b, "2", "2");
  const std::string one = sides.folder + "/step-1.a1", two = sides.folder + "/step-2.a2";
  for (const auto& [a, b] :
       {std::pair{sides.a, sides.b}, std::pair{sides.a, one}, std::pair{two, sides.b}, std::pair{one, two}, std::pair{sides.folder, one}}) {
    const Ran run = holdfast({"diff", a, b});
    EXPECT_EQ(run.exit, 0) << run.out << run.err;
    EXPECT_EQ(run.out, "4 keys equal, 0 differences\n") << "three tensors and the metadata";
    EXPECT_EQ(run.err, "");
  }
}

TEST(Diff, NamesTheFirstElementThatDiffers) {
  Sides sides;
  auto changed = sample();
  changed["a"].data = floats({0, 1, 2, 3, 4.5, 7});
  write_safetensors(sides.b, changed, {{"format", "pt"}});
  sides.save(sides.a, "1", "2");
  const Ran files = holdfast({"diff", sides.a, sides.b});
  EXPECT_EQ(files.exit, 1);
  EXPECT_EQ(files.out,
            "\"a\": 2 of 6 elements differ; the first at [1,1]: 4 (0x40800000) in A, 4.5 (0x40900000) in B\n3 keys equal, 1 difference\n");
  EXPECT_EQ(files.last_line(),
            "holdfast diff: \"a\": 2 of 6 elements differ; the first at [1,1]: 4 (0x40800000) in A, 4.5 (0x40900000) in B");
  const Ran run = holdfast({"diff", sides.folder, sides.b, "--json"});
  EXPECT_EQ(run.exit, 1);
  const auto difference = run.json()["differences"][0];
  EXPECT_EQ(difference["kind"], "values");
  EXPECT_EQ(difference["key"], "a");
  EXPECT_EQ(difference["elements"], 2);
  EXPECT_EQ(difference["first"], (std::vector<int>{1, 1}));
}

TEST(Diff, NamesKeysDtypesShapesAndValues) {
  Sides sides;
  auto changed = sample();
  changed["a"] = {"F32", {3, 2}, changed["a"].data};
  changed["b"].dtype = "F16";
  changed["d"] = changed["c"];
  changed.erase("c");
  write_safetensors(sides.b, changed, {{"format", "tp"}});
  const Ran run = holdfast({"diff", sides.a, sides.b});
  EXPECT_EQ(run.exit, 1);
  EXPECT_EQ(run.out,
            "\"__metadata__\": byte 11: 0x70 in A, 0x74 in B\n"
            "\"a\": [2,3] in A, [3,2] in B\n"
            "\"b\": BF16 in A, F16 in B\n"
            "\"c\": only in A\n"
            "\"d\": only in B\n"
            "0 keys equal, 5 differences\n");
  EXPECT_EQ(run.last_line(), "holdfast diff: 5 differences; the first: \"__metadata__\": byte 11: 0x70 in A, 0x74 in B");
}

TEST(Diff, OfDamagedDataIsABadVerdictOfItsOwn) {
  Sides sides;
  auto changed = sample();
  changed["a"].data[0] = 'z';
  write_safetensors(sides.b, changed, {{"format", "pt"}});
  sides.save(sides.a, "1", "1");
  flip_bit(sides.folder + "/step-1.a1/segment-00000-000.safetensors", 8 * 4096);
  const Ran run = holdfast({"diff", sides.folder, sides.b});
  EXPECT_EQ(run.exit, 1);
  EXPECT_NE(run.err.find("segment-00000-000.safetensors"), std::string::npos) << run.err;
  EXPECT_EQ(holdfast({"diff", sides.folder, sides.scratch / "absent"}).exit, 2);
}

using Variables = std::map<std::string, std::string>;

/// Sets variables of the environment while it lives.
class Environment {
 public:
  explicit Environment(Variables variables) : variables_(std::move(variables)) {
    for (const auto& [name, value] : variables_) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) ::unsetenv(name.c_str());
  }

 private:
  Variables variables_;
};

std::string found_of(const Ran& run, const std::string& check) {
  const nlohmann::json report = run.json();
  for (const auto& one : report["checks"]) {
    if (one["name"] == check) return one["found"];
  }
  return "no check " + check;
}

TEST(Doctor, LooksAtAFolderAndLeavesNothingThere) {
  const Scratch scratch;
  const Ran run = holdfast({"doctor", scratch / "", "--json"});
  ASSERT_EQ(run.exit, 0) << run.out << run.err;
  EXPECT_EQ(found_of(run, "link"), "a name is given once");
  EXPECT_EQ(found_of(run, "rename"), "replaces a file by another, whole");
  EXPECT_EQ(found_of(run, "read back"), "what was written");
  EXPECT_EQ(found_of(run, "sync of a directory"), "done");
  EXPECT_NE(found_of(run, "input, output"), "no check input, output");
  EXPECT_NE(found_of(run, "CUDA runtime"), "no check CUDA runtime");
  const std::string nccl = found_of(run, "NCCL");
  EXPECT_TRUE(nccl.starts_with("none that will do: open NCCL: ") || nccl.ends_with("with ncclGetLastError")) << nccl;
  EXPECT_NE(found_of(run, "processor").find("digests by "), std::string::npos);
  EXPECT_NE(found_of(run, "version").find("holdfast "), std::string::npos);
  EXPECT_TRUE(fs::is_empty(scratch / ""));
}

TEST(Doctor, SaysWhichRankTheLauncherMadeThis) {
  const Scratch scratch;
  const auto ranks = [&] { return holdfast({"doctor", scratch / "", "--json"}); };
  EXPECT_EQ(found_of(ranks(), "ranks"), "world=1 rank=0 via=alone");
  {
    const Environment slurm(
        Variables{{"SLURM_PROCID", "17"}, {"SLURM_NTASKS", "64"}, {"SLURM_JOB_NODELIST", "n[01-08]"}, {"HOLDFAST_PORT", "4000"}});
    EXPECT_EQ(found_of(ranks(), "ranks"), "world=64 rank=17 via=slurm rank0=n01:4000");
    const Environment torchrun(Variables{{"RANK", "17"}, {"WORLD_SIZE", "64"}, {"MASTER_ADDR", "n01"}});
    EXPECT_EQ(found_of(ranks(), "ranks"), "world=64 rank=17 via=torchrun,slurm rank0=n01:4000");
    const Environment other(Variables{{"RANK", "3"}});
    const Ran run = ranks();
    EXPECT_EQ(run.exit, 1);
    EXPECT_EQ(run.last_line(),
              "holdfast doctor: ranks: rendezvous: RANK=3, WORLD_SIZE=64 (torchrun) and SLURM_PROCID=17, SLURM_NTASKS=64 (slurm) disagree; "
              "expected one launcher, or HOLDFAST_LAUNCHER to name the one to believe");
  }
  for (const auto& [variables, message] : std::vector<std::pair<Variables, std::string>>{
           {{{"RANK", "1"}}, "rendezvous: RANK=1 without WORLD_SIZE (torchrun); expected both or none"},
           {{{"PMI_SIZE", "4"}}, "rendezvous: PMI_SIZE=4 without PMI_RANK (pmi); expected both or none"},
           {{{"RANK", "x"}, {"WORLD_SIZE", "2"}}, "rendezvous: RANK=\"x\"; expected a whole number from 0 to 1"},
           {{{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
            "rendezvous: OMPI_COMM_WORLD_RANK=\"2\"; expected a whole number from 0 to 1"}}) {
    const Environment environment(variables);
    const Ran run = ranks();
    EXPECT_EQ(run.exit, 1);
    EXPECT_EQ(found_of(run, "ranks"), message);
  }
}

TEST(Doctor, SaysWhenItCannotLook) {
  const Scratch scratch;
  const Ran run = holdfast({"doctor", scratch / "absent"});
  EXPECT_EQ(run.exit, 2);
  EXPECT_NE(run.last_line().find("No such file or directory"), std::string::npos) << run.err;
}

}  // namespace
}  // namespace holdfast::cli_test

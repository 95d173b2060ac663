#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/cli/command.h"

namespace holdfast::cli_test {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, Tensor> small{{"w", {"F32", {4, 4}, noise(64, 1)}}};

/// A source, and a folder with one checkpoint of it.
struct Place {
  Scratch scratch;
  std::string source = scratch / "source.safetensors";
  std::string folder = scratch / "checkpoints";
  std::string manifest = folder + "/step-1.a1/MANIFEST";
  std::string segment = folder + "/step-1.a1/segment-00000-000.safetensors";

  Place() {
    write_safetensors(source, small);
    const Ran run = holdfast({"save", source, folder});
    EXPECT_EQ(run.exit, 0) << run.err;
  }
  std::string operator/(const std::string& name) const { return scratch / name; }
};

/// The exit code, the fragment in a last line of at most 200 characters, nothing on stdout, and nothing changed in `place`.
void expect_refused(const Place& place, const std::vector<std::string>& arguments, int exit, const std::string& fragment) {
  const std::vector<std::string> before = files_below(place / "");
  const Ran run = holdfast(arguments);
  const std::string command = fmt::format("holdfast {}", fmt::join(arguments, " "));
  EXPECT_EQ(run.exit, exit) << command << "\n" << run.err;
  EXPECT_NE(run.err.find(fragment), std::string::npos) << command << "\nexpected: " << fragment << "\nfound: " << run.err;
  EXPECT_LE(run.last_line().size(), 200u) << command;
  EXPECT_EQ(run.last_line().substr(0, 9), "holdfast ") << command;
  EXPECT_EQ(run.out, "") << command;
  EXPECT_EQ(files_below(place / ""), before) << command;
}

TEST(Usage, IsExit2AndNamesWhatWasWrong) {
  const Place place;
  const std::string& folder = place.folder;
  EXPECT_EQ(holdfast({}).exit, 2);
  for (const auto& [arguments, fragment] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"save"}, "SRC"},
           {{"save", place.source}, "DST"},
           {{"load", folder, place / "x", "--ranks", "0"}, "--ranks"},
           {{"load", folder, place / "x", "--ranks", "two"}, "--ranks"},
           {{"save", place.source, folder, "--step", "-1"}, "--step"},
           {{"save", place.source, folder, "--step", "99999999999999999999"}, "--step"},
           {{"save", place.source, folder, "--block-bytes", "1"}, "--block-bytes"},
           {{"verify", folder, "--wrong"}, "--wrong"},
           {{"verify", folder, folder}, folder},
           {{"plan", place.source, "--to", "2000000"}, "--to"},
           {{"latest"}, "PATH"}}) {
    expect_refused(place, arguments, 2, fragment);
  }
}

TEST(Usage, NamesTheVerbsForAnUnknownOne) {
  const Ran run = holdfast({"no-such-verb"});
  EXPECT_EQ(run.exit, 2);
  EXPECT_NE(run.err.find("there is no verb \"no-such-verb\"; expected one of save, load, verify, latest, ls, show, plan"),
            std::string::npos)
      << run.err;
}

TEST(Usage, HelpIsExit0WithAnExampleForEachVerb) {
  for (const char* verb : {"save", "load", "verify", "latest", "ls", "show", "diff", "plan", "check-plan", "estimate", "doctor"}) {
    const Ran flag = holdfast({verb, "--help"}), word = holdfast({"help", verb});
    EXPECT_EQ(flag.exit, 0);
    EXPECT_EQ(flag.err, "");
    EXPECT_NE(flag.out.find(std::string("Example: holdfast ") + verb), std::string::npos) << flag.out;
    EXPECT_EQ(word.out, flag.out);
  }
  EXPECT_NE(holdfast({"help"}).out.find("Exit codes"), std::string::npos);
  EXPECT_EQ(holdfast({"--version"}).out.substr(0, 9), "holdfast ");
}

TEST(Usage, RunsAProgramBesideItAsAVerb) {
  const Scratch scratch;
  const std::string command = scratch / "holdfast";
  fs::copy_file(program(), command);
  write_file(scratch / "holdfast-greet", "#!/bin/sh\necho \"hello $*\"\nexit 7\n");
  ::chmod((scratch / "holdfast-greet").c_str(), 0755);
  const Ran run = holdfast({"greet", "--loud", "you"}, command);
  EXPECT_EQ(run.exit, 7);
  EXPECT_EQ(run.out, "hello --loud you\n");
  EXPECT_NE(holdfast({"help"}, command).out.find("greet"), std::string::npos);
}

TEST(BadInput, OfSaveIsRefusedBeforeAnythingIsMade) {
  const Place place;
  const std::string fresh = place / "fresh";
  const std::string whole = read_file(place.source);
  write_file(place / "cut.safetensors", whole.substr(0, whole.size() - 1));
  write_file(place / "longer.safetensors", whole + "x");
  write_file(place / "header-cut.safetensors", whole.substr(0, 20));
  write_file(place / "empty.safetensors", "");
  write_file(place / "text.txt", "no tensors here");
  write_safetensors(place / "fp4.safetensors", {{"w", {"F4", {4}, "ab"}}});
  expect_refused(place, {"save", place / "absent", fresh}, 2, "No such file or directory");
  expect_refused(place, {"save", place.folder, fresh}, 2, "it is a directory; expected a safetensors file");
  expect_refused(place, {"save", place / "text.txt", fresh}, 2, "is no safetensors file");
  expect_refused(place, {"save", place / "cut.safetensors", fresh}, 1, "its header needs");
  expect_refused(place, {"save", place / "longer.safetensors", fresh}, 1, "1 bytes after the last tensor");
  expect_refused(place, {"save", place / "header-cut.safetensors", fresh}, 1, "the file ends at byte 20");
  expect_refused(place, {"save", place / "empty.safetensors", fresh}, 1, "empty.safetensors");
  expect_refused(place, {"save", place / "fp4.safetensors", fresh}, 2, "tensor \"w\" is of dtype F4");
  expect_refused(place, {"save", place.source, place.source}, 2, "make the folder");
  expect_refused(place, {"save", place.source, place.source + "/below"}, 2, "make the folder");
}

TEST(BadInput, OfReadingVerbsIsRefused) {
  const Place place;
  fs::create_directory(place / "empty");
  fs::create_directories(place / "unfinished/step-3.a1");
  fs::copy(place.folder + "/step-1.a1", place / "renamed");
  write_file(place / "text.txt", "no tensors here");
  for (const char* verb : {"verify", "latest", "ls", "show", "plan", "estimate", "check-plan", "doctor"})
    expect_refused(place, {verb, place / "absent"}, 2, "No such file or directory");
  for (const char* verb : {"verify", "latest", "show", "plan"}) {
    expect_refused(place, {verb, place / "empty"}, 2, "there is no committed checkpoint");
    expect_refused(place, {verb, place / "unfinished"}, 2, "there is no committed checkpoint");
  }
  for (const char* verb : {"verify", "latest", "ls", "show", "plan"})
    expect_refused(place, {verb, place / "renamed"}, 2, "not named as a checkpoint");
  for (const char* verb : {"latest", "ls", "show"}) expect_refused(place, {verb, place / "text.txt"}, 2, "is a file; expected");
  expect_refused(place, {"verify", place / "text.txt"}, 2, "is no safetensors file");
  expect_refused(place, {"plan", place / "text.txt"}, 2, "neither a layout");
  expect_refused(place, {"verify", place / "unfinished/step-3.a1"}, 2, "MANIFEST");
  expect_refused(place, {"latest", place.folder + "/step-1.a1"}, 2, "expected a folder of checkpoints");
  expect_refused(place, {"load", place / "empty", place / "back"}, 2, "there is no committed checkpoint");
  expect_refused(place, {"load", place / "absent", place / "back"}, 2, "No such file or directory");
  expect_refused(place, {"load", place.folder, place / "empty"}, 2, "it is a directory; expected the name of a file");
  expect_refused(place, {"load", place.folder, place / "absent/back"}, 2, "create a file beside");
  expect_refused(place, {"load", place.folder, place / "back", "--directory", "step-9.a9"}, 2, "step-9.a9");
  expect_refused(place, {"load", place.folder, place / "back", "--directory", "../checkpoints"}, 2, "not allowed");
}

TEST(BadInput, OfPlanNamesTheTensor) {
  const Place place;
  const auto refused = [&](const std::string& layout, int exit, const std::string& fragment) {
    write_file(place / "layout.json", layout);
    expect_refused(place, {"plan", place / "layout.json"}, exit, fragment);
  };
  refused("{", 2, "it is not JSON");
  refused("{}", 2, "it has no \"tensors\"; expected a list");
  refused(R"({"tensors":[3]})", 2, "tensor 0 is 3; expected an object");
  refused(R"({"tensors":[{"name":"w","dtype":"F99","shape":[]}]})", 2, "tensor 0, \"w\": unknown dtype \"F99\"");
  refused(R"({"tensors":[{"name":"w","dtype":"F32","shape":[-1]}]})", 2, "integers from 0");
  refused(R"({"tensors":[{"name":"w","dtype":"F32","shape":[]},{"name":"w","dtype":"F32","shape":[]}]})", 2, "\"w\" was there before");
}

TEST(Damage, OfAManifestIsExit1ForEveryVerb) {
  const Place place;
  flip_bit(place.manifest, 8 * 30);
  expect_refused(place, {"latest", place.folder}, 1, "MANIFEST");
  expect_refused(place, {"show", place.folder}, 1, "MANIFEST");
  expect_refused(place, {"show", place.folder + "/step-1.a1"}, 1, "MANIFEST");
  expect_refused(place, {"plan", place.folder}, 1, "MANIFEST");
  expect_refused(place, {"load", place.folder, place / "back"}, 1, "none of 1 checkpoints is intact");
  expect_refused(place, {"load", place.folder, place / "back", "--directory", "step-1.a1"}, 1, "MANIFEST");
  for (const std::string& path : {place.folder, place.folder + "/step-1.a1"}) {
    const Ran verify = holdfast({"verify", path});
    EXPECT_EQ(verify.exit, 1);
    EXPECT_EQ(verify.out.find("step-1.a1/MANIFEST: "), 0u) << verify.out;
  }
}

TEST(Damage, OfDataNamesFileTensorBlockAndOffset) {
  const Place place;
  flip_bit(place.segment, 8 * 4096);
  const Ran run = holdfast({"verify", place.folder, "--json"});
  EXPECT_EQ(run.exit, 1);
  EXPECT_EQ(run.json()["ok"], false);
  ASSERT_EQ(run.json()["findings"].size(), 1u);
  EXPECT_EQ(run.json()["findings"][0]["file"], "step-1.a1/segment-00000-000.safetensors");
  const std::string message = run.json()["findings"][0]["message"];
  EXPECT_NE(message.find("tensor \"w\" block 0 (step-1.a1/segment-00000-000.safetensors @ 4096+64)"), std::string::npos) << message;
  EXPECT_EQ(run.last_line().find("holdfast verify: step-1.a1/segment-00000-000.safetensors: tensor \"w\" block 0"), 0u) << run.last_line();
  const Ran alone = holdfast({"verify", place.segment});
  EXPECT_EQ(alone.exit, 1);
  EXPECT_NE(alone.out.find("block 0 (@ 4096+64)"), std::string::npos) << alone.out;
  expect_refused(place, {"load", place.folder, place / "back"}, 1, "none of 1 checkpoints is intact");
  EXPECT_EQ(holdfast({"latest", place.folder}).exit, 0);
  expect_refused(place, {"latest", place.folder, "--verified"}, 1, "none of 1 checkpoints is intact");
}

TEST(Damage, OfASafetensorsFileOfAnybodyIsFoundInItsStructure) {
  for (const auto& entry : fs::directory_iterator(HOLDFAST_GOLDEN "/safetensors")) {
    const bool broken = entry.path().filename().string().starts_with("broken-");
    if (entry.path().extension() != ".safetensors" || entry.path().filename().string().starts_with("broken-sharding")) continue;
    const Ran run = holdfast({"verify", entry.path().string()});
    if (entry.path().filename() == "broken-unknown-dtype.safetensors") {
      EXPECT_EQ(run.exit, 2) << "an unknown dtype is no damage, but cannot be checked";
      continue;
    }
    EXPECT_EQ(run.exit, broken ? 1 : 0) << entry.path() << "\n" << run.out << run.err;
  }
}

TEST(Access, ThatIsDeniedIsExit2) {
  // Root may read and write everything: it runs the command as somebody else.
  const Place place;
  const bool root = ::geteuid() == 0;
  const std::string setpriv = "/usr/bin/setpriv", copy = place / "holdfast";
  if (root && !fs::exists(setpriv)) GTEST_SKIP() << "root needs " << setpriv << " to be somebody else";
  fs::copy_file(program(), copy);
  ::chmod((place / "").c_str(), 0755);
  const auto denied = [&](std::vector<std::string> words) {
    if (root) words.insert(words.begin(), {"--reuid=65534", "--regid=65534", "--clear-groups", copy});
    const Ran run = holdfast(words, root ? setpriv : copy);
    EXPECT_EQ(run.exit, 2) << run.err;
    EXPECT_NE(run.last_line().find("Permission denied"), std::string::npos) << run.err;
  };
  write_safetensors(place / "other.safetensors", small);
  ::chmod(place.source.c_str(), 0);
  denied({"save", place.source, place / "fresh"});
  ::chmod(place.folder.c_str(), 0555);
  denied({"save", place / "other.safetensors", place.folder});
  ::chmod((place / "").c_str(), 0555);
  denied({"save", place / "other.safetensors", place / "fresh"});
  denied({"load", place.folder, place / "back"});
  ::chmod((place / "").c_str(), 0755);
  ::chmod(place.folder.c_str(), 0);
  for (const char* verb : {"verify", "latest", "ls", "show", "plan"}) denied({verb, place.folder});
  ::chmod(place.folder.c_str(), 0755);
}

TEST(Quiet, LeavesOnlyTheCauseOnStderr) {
  const Place place;
  EXPECT_EQ(holdfast({"save", place.source, place.folder, "-q"}).err, "");
  const Ran run = holdfast({"verify", place / "absent", "-q", "--json"});
  EXPECT_EQ(run.exit, 2);
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_EQ(run.json()["ok"], false);
  EXPECT_EQ(run.json()["error"]["code"], "not_found");
}

/// Waits until a file appears. False after 20 s.
bool appears(const std::string& path) {
  for (int i = 0; i < 200'000 && !fs::exists(path); ++i) std::this_thread::sleep_for(std::chrono::microseconds(100));
  return fs::exists(path);
}

TEST(Kill, InTheMiddleOfASaveLeavesTheOldCheckpoint) {
  const Place place;
  const std::string big = place / "big.safetensors";
  write_safetensors(big, {{"w", {"F32", {4096, 2048}, noise(4096 * 2048 * 4, 5)}}});
  const pid_t saving = start({"save", big, place.folder, "--step", "2", "--ranks", "2"});
  ASSERT_TRUE(appears(place.folder + "/step-2.a2"));
  ::kill(saving, SIGKILL);
  int status = 0;
  ::waitpid(saving, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << "the save was over before it could be killed";
  ASSERT_FALSE(fs::exists(place.folder + "/step-2.a2/MANIFEST"));

  EXPECT_EQ(holdfast({"latest", place.folder, "--verified"}).out, "step-1.a1\n");
  EXPECT_EQ(holdfast({"verify", place.folder}).exit, 0);
  const Ran load = holdfast({"load", place.folder, place / "back"});
  EXPECT_EQ(load.exit, 0) << load.err;
  EXPECT_EQ(read_safetensors(place / "back").at("w").data, small.at("w").data);
  // The next save sweeps what the killed one left.
  EXPECT_EQ(holdfast({"save", place.source, place.folder, "--step", "3"}).exit, 0);
  EXPECT_FALSE(fs::exists(place.folder + "/step-2.a2"));
}

TEST(Interrupt, SaysSoAndLeavesTheOldCheckpoint) {
  const Place place;
  const std::string big = place / "big.safetensors";
  write_safetensors(big, {{"w", {"F32", {4096, 2048}, noise(4096 * 2048 * 4, 5)}}});
  const pid_t saving = start({"save", big, place.folder, "--step", "2"});
  ASSERT_TRUE(appears(place.folder + "/step-2.a2"));
  ::kill(saving, SIGINT);
  int status = 0;
  ::waitpid(saving, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
  EXPECT_EQ(holdfast({"latest", place.folder, "--verified"}).out, "step-1.a1\n");
}

TEST(Damage, OfAnyBitIsSeenThroughTheCommand) {
  const Scratch scratch;
  const std::string source = scratch / "source.safetensors", folder = scratch / "checkpoints";
  write_safetensors(source, {{"a", {"F32", {8, 4}, noise(128, 1)}}, {"b", {"BF16", {6, 3}, noise(36, 2)}}, {"c", {"I64", {}, noise(8, 3)}}},
                    {{"k", "v"}});
  ASSERT_EQ(holdfast({"save", source, folder, "--ranks", "2", "--block-bytes", "64"}).exit, 0);
  std::vector<std::pair<std::string, std::uint64_t>> bits;
  for (const std::string& file : files_below(folder)) {
    const std::uint64_t file_bits = fs::file_size(folder + "/" + file) * 8;
    const std::uint64_t samples = std::min<std::uint64_t>(file_bits, 40);
    for (std::uint64_t i = 0; i < samples; ++i) bits.emplace_back(file, i * file_bits / samples);
  }
  ASSERT_GE(bits.size(), 200u);
  for (const auto& [file, bit] : bits) {
    flip_bit(folder + "/" + file, bit);
    const Ran run = holdfast({"verify", folder});
    EXPECT_EQ(run.exit, 1) << file << " bit " << bit;
    EXPECT_EQ(run.out.find(file + ": "), 0u) << file << " bit " << bit << "\n" << run.out;
    flip_bit(folder + "/" + file, bit);
  }
  EXPECT_EQ(holdfast({"verify", folder}).exit, 0);
}

}  // namespace
}  // namespace holdfast::cli_test

#include "sim/save_routine.h"

#include <gtest/gtest.h>

#include <functional>

namespace holdfast::sim {
namespace {

/// Keeps a rank's state in a file of its own, written through; `at_step_2` is done first in the save that the story is about.
class Scripted : public SaveRoutine {
 public:
  using Step2 = std::function<Status(const port::Env&, Rank)>;
  explicit Scripted(Step2 at_step_2) : at_step_2_(std::move(at_step_2)) {}

  std::string name() const override { return "scripted"; }
  int world_size() const override { return 2; }
  Status save(const port::Env& env, Rank rank, Step step, ByteView state) const override {
    if (step == Step{2}) TRY(at_step_2_(env, rank));
    return replace(env, rank, state);
  }
  Result<Bytes> load(const port::Env& env, Rank rank) const override {
    const port::Deadline deadline = env.clock.after(std::chrono::seconds(1));
    const port::FileId file = TRY(env.storage.open(path(rank), deadline));
    const auto bytes = std::make_shared<Bytes>(TRY(env.storage.size(file, deadline)));
    const port::ReadPiece piece{0, *bytes, bytes};
    TRY(env.storage.read_all(file, {&piece, 1}, deadline));
    TRY(env.storage.close(file));
    return *bytes;
  }

  static std::string path(Rank rank) { return fmt::format("state-{}", rank); }
  static Status replace(const port::Env& env, Rank rank, ByteView state) {
    const port::Deadline deadline = env.clock.after(std::chrono::seconds(1));
    const std::string temporary = path(rank) + ".tmp";
    const port::FileId file = TRY(env.storage.create(temporary, deadline));
    const auto owner = std::make_shared<const Bytes>(to_bytes(state));
    const port::WritePiece piece{0, *owner, owner};
    TRY(env.storage.write_all(file, {&piece, 1}, deadline));
    TRY(env.storage.sync(file, deadline));
    TRY(env.storage.close(file));
    TRY(env.storage.rename(temporary, path(rank), deadline));
    return env.storage.sync_directory("", deadline);
  }

 private:
  Step2 at_step_2_;
};

/// The verdict without any fault, as text.
std::vector<std::string> verdict_of(Scripted::Step2 at_step_2) {
  const auto workload = make_workload(std::make_shared<Scripted>(std::move(at_step_2)));
  std::vector<std::string> texts;
  for (const Violation& violation : run_case(*workload, {}, workload->prepare()).verdict) {
    texts.push_back(violation.property + " " + violation.message);
  }
  return texts;
}

Status give_up() { return fail(ErrorCode::io_error, "it cannot"); }

TEST(SaveRoutine, IsHealthyWhenEveryRankLoadsWhatItSaved) {
  EXPECT_EQ(verdict_of([](const port::Env&, Rank) { return Status(); }), std::vector<std::string>());
  EXPECT_EQ(verdict_of([](const port::Env&, Rank) { return give_up(); }), std::vector<std::string>());
}

TEST(SaveRoutine, IsCondemnedWhenOldAndNewValuesMix) {
  EXPECT_EQ(verdict_of([](const port::Env&, Rank rank) { return rank == Rank{1} ? give_up() : Status(); }),
            std::vector<std::string>{"S1 after recovery, rank 1: it loads step 1, rank 0 step 2: old and new values mixed"});
}

TEST(SaveRoutine, IsCondemnedWhenNeitherSavesBytesLoad) {
  const auto torn = [](const port::Env& env, Rank rank) -> Status {
    if (rank == Rank{0}) return Scripted::replace(env, rank, as_bytes("torn")).and_then(give_up);
    return give_up();
  };
  EXPECT_EQ(verdict_of(torn), std::vector<std::string>{"S1 after recovery, rank 0: what it loads holds the bytes of neither save"});
}

TEST(SaveRoutine, IsCondemnedWhenNothingLoadsAnyMore) {
  const auto removes = [](const port::Env& env, Rank rank) -> Status {
    if (rank == Rank{1}) TRY(env.storage.remove(Scripted::path(rank), env.clock.after(std::chrono::seconds(1))));
    return give_up();
  };
  EXPECT_EQ(verdict_of(removes),
            std::vector<std::string>{"S3 after recovery, rank 1: no checkpoint loads: \"state-1\": no such file or directory (not_found)"});
}

TEST(SaveRoutine, IsCondemnedForALeak) {
  const auto leaks = [](const port::Env& env, Rank rank) -> Status {
    if (rank == Rank{0}) TRY(env.storage.create("leak", env.clock.after(std::chrono::seconds(1))));
    return {};
  };
  EXPECT_EQ(verdict_of(leaks), std::vector<std::string>{"L4 save: rank 0: 1 files open"});
}

TEST(SaveRoutine, IsCondemnedWhenASuccessIsForgotten) {
  // Says that it is done and saves nothing.
  class Liar : public Scripted {
   public:
    Liar() : Scripted({}) {}
    Status save(const port::Env& env, Rank rank, Step step, ByteView state) const override {
      return step == Step{2} ? Status() : replace(env, rank, state);
    }
  };
  const auto workload = make_workload(std::make_shared<Liar>());
  const Verdict verdict = run_case(*workload, {}, workload->prepare()).verdict;
  ASSERT_EQ(verdict.size(), 2u);
  EXPECT_EQ(verdict[0].property, "S2");
  EXPECT_EQ(verdict[0].message, "after recovery, rank 0: a save that reported success is gone, the old one is loaded");
}

}  // namespace
}  // namespace holdfast::sim

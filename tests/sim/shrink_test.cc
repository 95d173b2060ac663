#include "sim/shrink.h"

#include <gtest/gtest.h>

#include "sim/tsan.h"

namespace holdfast::sim {
namespace {

/// A story of one file a rank; wrong when rank 1's third storage call failed and its file was created after rank 0's.
class TwoWriters : public Workload {
 public:
  std::string name() const override { return "two writers"; }
  int world_size() const override { return 2; }
  Disk prepare() override { return {}; }
  void begin() override { order_.clear(), failed_ = false; }
  void act(const port::Env& env, Rank rank) override {
    const port::Deadline deadline = env.clock.after(std::chrono::seconds(1));
    const auto file = env.storage.create(fmt::format("file-{}", rank), deadline);
    if (!file) return;
    {
      const tsan::Inside inside;  // both ranks write it
      order_.push_back(rank);
    }
    for (int i = 0; i < 4; ++i) {
      if (!env.storage.sync(*file, deadline) && i == 1 && rank == Rank{1}) failed_ = true;
    }
    static_cast<void>(env.storage.close(*file));
  }
  void recover(const port::Env& /*env*/, Rank /*rank*/) override {}
  bool noticed() const override { return failed_; }
  Verdict judge(const Trace& /*act*/, const Trace& /*recovery*/, const Disk& /*disk*/) override {
    if (failed_ && order_.size() == 2 && order_[0] == Rank{1}) return {{VerdictClass::safety, "X1", "rank 1 was first and failed"}};
    return {};
  }

 private:
  std::vector<Rank> order_;
  bool failed_ = false;
};

Case noisy(std::uint64_t seed) {
  Case test;
  test.scenario.seed = seed;
  test.power_loss_after = true;
  test.scenario.faults = {{{Rank{0}, 2}, FaultKind::error_before, ErrorCode::io_error, {}},
                          {{Rank{1}, 2}, FaultKind::error_before, ErrorCode::io_error, {}},
                          {{Rank{1}, 4}, FaultKind::delay, ErrorCode::io_error, std::chrono::milliseconds(1)}};
  return test;
}

/// A seed under which the noisy case fails.
Case failing(Workload& workload) {
  for (std::uint64_t seed = 1; seed < 100; ++seed) {
    if (!run_case(workload, noisy(seed), Disk()).verdict.empty()) return noisy(seed);
  }
  ADD_FAILURE() << "no seed fails";
  return noisy(0);
}

TEST(Shrink, FindsTheOneFaultAndTheFewestChoices) {
  TwoWriters workload;
  const Disk empty;
  const Case test = failing(workload);
  const Shrunk shrunk = shrink(test, fails_alike(workload, empty, "X1"));
  ASSERT_TRUE(shrunk.failed_again);
  EXPECT_EQ(shrunk.faults_before, 3u);
  ASSERT_EQ(shrunk.test.scenario.faults.size(), 1u);
  EXPECT_EQ(shrunk.test.scenario.faults[0], test.scenario.faults[1]);
  EXPECT_FALSE(shrunk.test.power_loss_after);
  EXPECT_EQ(shrunk.test.scenario.persistence, PersistenceModel::strict);
  // Without any choice rank 0 comes first; one choice turns that round, and no fewer can.
  EXPECT_EQ(shrunk.decisions_after, 1u);
  EXPECT_GT(shrunk.decisions_before, 1u);
  EXPECT_FALSE(shrunk.history.empty());
}

TEST(Shrink, LeavesExactDecisionsThatReplay) {
  TwoWriters workload;
  const Disk empty;
  const Shrunk shrunk = shrink(failing(workload), fails_alike(workload, empty, "X1"));
  ASSERT_TRUE(shrunk.test.scenario.replay.has_value());
  EXPECT_FALSE(shrunk.test.scenario.replay_loosely);
  const CaseResult result = run_case(workload, shrunk.test, empty);
  EXPECT_EQ(result.act.diverged, "");
  ASSERT_EQ(result.verdict.size(), 1u);
  EXPECT_EQ(result.verdict[0].property, "X1");
}

TEST(Shrink, CountsRunsAndStopsAtTheBudget) {
  TwoWriters workload;
  const Disk empty;
  const Case test = failing(workload);
  std::uint64_t runs = 0;
  const StillFails fails = [&](const Case& candidate) {
    ++runs;
    return fails_alike(workload, empty, "X1")(candidate);
  };
  const Shrunk shrunk = shrink(test, fails, {.runs_max = 3});
  EXPECT_EQ(shrunk.runs, 3u);
  EXPECT_EQ(runs, 3u);
  EXPECT_FALSE(run_case(workload, shrunk.test, empty).verdict.empty());
}

TEST(Shrink, SaysWhenTheCaseDoesNotFailAgain) {
  TwoWriters workload;
  const Disk empty;
  const Shrunk shrunk = shrink(noisy(1), fails_alike(workload, empty, "no such property"));
  EXPECT_FALSE(shrunk.failed_again);
  EXPECT_EQ(shrunk.runs, 1u);
}

TEST(Decisions, MatchAnEditedListKindByKind) {
  Decisions loose = Decisions::loosely({{DecisionKind::schedule, 3, 2}, {DecisionKind::latency, 9, 7}, {DecisionKind::schedule, 3, 1}});
  EXPECT_EQ(loose.pick(DecisionKind::latency, 4), 3u);  // the highest there is
  EXPECT_EQ(loose.pick(DecisionKind::schedule, 3), 2u);
  EXPECT_EQ(loose.pick(DecisionKind::bit, 8), 0u);
  EXPECT_EQ(loose.pick(DecisionKind::schedule, 3), 1u);
  EXPECT_EQ(loose.pick(DecisionKind::schedule, 3), 0u);
  EXPECT_EQ(loose.divergence(), "");
  EXPECT_EQ(loose.used().size(), 5u);
}

}  // namespace
}  // namespace holdfast::sim

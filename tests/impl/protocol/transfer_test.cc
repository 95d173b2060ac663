#include "impl/protocol/transfer.h"

#include <gtest/gtest.h>

#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

/// Two numbers that rank 0 holds, and a place for them on rank 1.
struct Pair {
  std::unique_ptr<properties::World> world = *properties::ThreadsWorld::make();

  std::vector<std::string> run(const TransferOptions& options, bool wants = true) {
    std::vector<std::string> results;
    const auto rank_main = [&](const port::Env& env, Rank rank) {
      std::uint64_t numbers[2] = {7, 9};
      if (rank.value == 1) numbers[0] = numbers[1] = 0;
      StateDict from, to;
      StateDict& state = rank.value == 0 ? from : to;
      if (wants || rank.value == 0) {
        EXPECT_TRUE(state.add("w", reinterpret_cast<std::byte*>(numbers), DType::u64, {2}, ReplicatedLayout{}, rank));
      }
      EXPECT_TRUE(from.add_bytes("note", Bytes(5)));
      Session session(env);
      const auto done = transfer(session, from, to, options);
      if (!done) return to_bytes(as_bytes(to_string(done.error())));
      return to_bytes(as_bytes(fmt::format("{} {}: {} windows, {} sent, {} received", numbers[0], numbers[1], done->windows,
                                           done->sent_bytes, done->received_bytes)));
    };
    const properties::WorldRun run = world->run(2, 0, rank_main);
    EXPECT_TRUE(run.problems.empty()) << fmt::format("{}", fmt::join(run.problems, "\n"));
    for (const Bytes& result : run.results) results.emplace_back(as_text(result));
    return results;
  }
};

TEST(Transfer, MovesFromOneRankToTheOther) {
  EXPECT_EQ(Pair().run({}), (std::vector<std::string>{"7 9: 1 windows, 16 sent, 0 received", "7 9: 1 windows, 0 sent, 16 received"}));
}

TEST(Transfer, RefusesToMoveNothing) {
  const std::string refused =
      "plan failed: rank 0: plan transfer: nothing to move: no rank wants an element that does not lie there already "
      "(invalid_argument)";
  EXPECT_EQ(Pair().run({}, false), (std::vector<std::string>{refused, refused}));
}

TEST(Transfer, RefusesABudgetThatHoldsNoElement) {
  const std::string refused = "plan failed: ranks 0-1: plan transfer: a memory budget of 31 bytes; expected 32 at least (invalid_argument)";
  EXPECT_EQ(Pair().run({.memory_budget_bytes = 31}), (std::vector<std::string>{refused, refused}));
  EXPECT_EQ(Pair().run({.memory_budget_bytes = 32}).back(), "7 9: 1 windows, 0 sent, 16 received");
}

}  // namespace
}  // namespace holdfast::protocol

#include "impl/comm/comm.h"

#include <gtest/gtest.h>

#include <thread>

#include "impl/backend/host/clock.h"
#include "impl/backend/inprocess/world.h"

namespace holdfast::comm {
namespace {

/// Runs one operation of one round on each of `ranks` threads over a network of small messages; gives what each rank got.
std::vector<RoundResult<Received>> one_round(int ranks, std::size_t message_bytes_max, const std::function<std::string(Rank)>& operation,
                                             const std::function<Bytes(Rank)>& contribution, const Reduce& reduce) {
  backend::InProcessWorld world(ranks, {.message_bytes_max = message_bytes_max});
  std::vector<RoundResult<Received>> results(static_cast<std::size_t>(ranks), Received{});
  std::vector<std::thread> threads;
  for (Rank rank{0}; rank.value < ranks; ++rank.value) {
    threads.emplace_back([&, rank] {
      backend::SteadyClock clock;
      Comm comm(world.net(rank), clock, {.coordinator = Rank{0}, .fan_out = 2});
      comm.begin(operation(rank));
      results[static_cast<std::size_t>(rank.value)] =
          comm.agree(SharedBytes(contribution(rank)), reduce, comm.schedule(clock.after(std::chrono::seconds(20))));
    });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

std::string always_save(Rank) { return "save step 1"; }

TEST(Comm, CutsMessagesThatTheNetworkWouldRefuse) {
  // A tree of height 2; what goes up and comes down is many times what one message may hold.
  const auto contribution = [](Rank rank) { return Bytes(1000, std::byte(rank.value)); };
  const auto reduce = [&](std::vector<SharedBytes> all) -> Result<Answer> {
    Answer answer;
    for (std::size_t r = 0; r < all.size(); ++r) {
      if (!std::ranges::equal(all[r].view(), contribution(Rank{static_cast<std::int32_t>(r)}))) {
        return fail(ErrorCode::corrupt, "rank {} brought something else", r);
      }
      answer.by_rank.push_back(all[all.size() - 1 - r]);
    }
    answer.common = Bytes(777, std::byte{9});
    return answer;
  };
  const auto results = one_round(7, 64, always_save, contribution, reduce);
  for (int r = 0; r < 7; ++r) {
    const auto& result = results[static_cast<std::size_t>(r)];
    ASSERT_TRUE(result) << to_string(result.error().failures);
    EXPECT_EQ(to_bytes(result->own.view()), contribution(Rank{6 - r}));
    EXPECT_EQ(result->common.size(), 777u);
  }
}

TEST(Comm, ARankInAnotherOperationIsNamedWithBoth) {
  const auto operation = [](Rank rank) { return rank == Rank{2} ? std::string("load") : std::string("save step 1"); };
  const auto results = one_round(4, 1 << 20, operation, [](Rank) { return Bytes(); }, [](std::vector<SharedBytes>) { return Answer{}; });
  for (const auto& result : results) {
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error().failures),
              "rank 2: this rank is in \"load\", the coordinator, rank 0, in \"save step 1\" (invalid_argument)");
    EXPECT_TRUE(result.error().known);
  }
}

}  // namespace
}  // namespace holdfast::comm

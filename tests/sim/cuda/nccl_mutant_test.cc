// Linked with the mutant build of the NCCL back end: each planted bug must show, by bytes, by an error or by a finding.
#include "impl/core/mutate.h"
#include "tests/sim/cuda/nccl_ranks.h"

namespace holdfast::testing_cuda {
namespace {

using sim::must;

constexpr std::uint64_t seeds = 60;
constexpr int internal_error = 3;  // ncclResult_t

using RankMain = void (*)(const NcclRank&);

/// Seeds on which something is wrong.
int exposed(std::string_view mutant, RankMain rank_main, int world_size = 2) {
  mutants::activate(mutant);
  int count = 0;
  std::string example;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string wrong = run_nccl(world_size, seed, rank_main);
    count += !wrong.empty();
    if (example.empty()) example = wrong.substr(0, wrong.find('\n'));
  }
  mutants::activate("");
  std::printf("%.*s: wrong in %d of %d seeds; %s\n", static_cast<int>(mutant.size()), mutant.data(), count, static_cast<int>(seeds),
              example.c_str());
  return count;
}

void two_exchanges(const NcclRank& at) {
  for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) must(with_all(at, sequence));
}

void unequal_sizes(const NcclRank& at) {
  const bool sender = at.rank == Rank{0};
  const OnDevice memory(at.env, Bytes(sender ? 64 : 63));
  const port::Transfer transfer = memory.with(Rank{sender ? 1 : 0});
  const std::span<const port::Transfer> own(&transfer, 1), none;
  const Status done =
      at.env.data.exchange("sizes", 1, sender ? own : none, sender ? none : own, at.env.clock.after(std::chrono::seconds(5)));
  expect(!done && done.error().code == ErrorCode::invalid_argument, done);
}

/// The memory of the exchange goes as soon as it has failed.
void broken_communicator(const NcclRank& at) {
  if (at.rank == Rank{1}) sim::cuda::break_communicator(0, internal_error, at.context);
  const Status done = with_all(at, 1);
  expect(!done && done.error().code == (at.rank == Rank{1} ? ErrorCode::io_error : ErrorCode::peer_lost), done);
}

/// Ranks 0 and 1 go on without rank 2, hence with another communicator.
void changing_members(const NcclRank& at) {
  const OnDevice own(at.env, pattern(at.rank));
  std::vector<OnDevice> received;
  std::vector<port::Transfer> sends, receives;
  for (int peer = 0; peer < 3; ++peer) {
    if (Rank{peer} == at.rank) continue;
    sends.push_back(own.with(Rank{peer}));
    receives.push_back(received.emplace_back(at.env, Bytes(5000)).with(Rank{peer}));
  }
  const auto exchange = [&](std::string_view name, std::size_t peers) {
    const std::span<const port::Transfer> out(sends), in(receives);
    must(at.env.data.exchange(name, 1, out.first(peers), in.first(peers), at.env.clock.after(std::chrono::seconds(10))));
  };
  exchange("three", 2);
  if (at.rank != Rank{2}) exchange("two", 1);
}

TEST(NcclMutants, WithoutOneNothingShows) {
  EXPECT_EQ(exposed("none", changing_members, 3), 0);
  for (const RankMain rank_main : {two_exchanges, unequal_sizes, broken_communicator}) EXPECT_EQ(exposed("none", rank_main), 0);
}

TEST(NcclMutants, SizesThatAreNotComparedMeetInNccl) {
  EXPECT_EQ(exposed("nccl.sizes_not_checked", two_exchanges), 0);
  EXPECT_EQ(exposed("nccl.sizes_not_checked", unequal_sizes), static_cast<int>(seeds));
}

TEST(NcclMutants, AnAbortWithoutADrainLetsMemoryGoThatIsInUse) {
  EXPECT_EQ(exposed("nccl.abort_without_drain", two_exchanges), 0);
  EXPECT_GT(exposed("nccl.abort_without_drain", broken_communicator), static_cast<int>(seeds / 4));
}

TEST(NcclMutants, AnAsynchronousErrorThatIsNotReadIsNoError) {
  EXPECT_EQ(exposed("nccl.async_error_unread", two_exchanges), 0);
  EXPECT_GT(exposed("nccl.async_error_unread", broken_communicator), static_cast<int>(seeds / 2)) << "others are read while it launches";
}

TEST(NcclMutants, AnEndThatIsMarkedBeforeTheLaunchIsNone) {
  EXPECT_GT(exposed("nccl.end_marked_early", two_exchanges), static_cast<int>(seeds / 4));
}

TEST(NcclMutants, WhoDoesNotWaitForItsPeersTakesTheirBytesAlong) { EXPECT_GT(exposed("nccl.done_not_awaited", changing_members, 3), 0); }

}  // namespace
}  // namespace holdfast::testing_cuda

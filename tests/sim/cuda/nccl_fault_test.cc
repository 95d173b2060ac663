// What NCCL may do to an exchange: errors, silence, a communicator that never gets ready, an abort that does not return. The error names who and why, comes by
// the deadline, and memory is let go only when nothing uses it.
#include <map>

#include "tests/sim/cuda/nccl_ranks.h"

namespace holdfast::testing_cuda {
namespace {

using namespace std::chrono_literals;
using port::Transfer;
using sim::must;
using sim::cuda::PeerDeath;

constexpr std::uint64_t seeds = 40;
constexpr int system_error = 2, internal_error = 3;  // ncclResult_t

TEST(NcclFaults, AnAsynchronousErrorIsNamedByItsRankAndTheOthersHearOfIt) {
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string wrong = run_nccl(3, seed, [](const NcclRank& at) {
      must(with_all(at, 1));
      const port::TimePoint begun = at.env.clock.now();
      if (at.rank == Rank{1}) sim::cuda::break_communicator(0, internal_error, at.context);
      const Status done = with_all(at, 2);
      if (at.rank == Rank{1}) {
        expect(!done &&
                   done.error() == error(ErrorCode::io_error, "exchange \"all\" #2: a communicator on device 1: internal error (injected)"),
               done);
      } else {
        expect(!done && done.error().code == ErrorCode::peer_lost && done.error().message.find("rank 1 gave up: ") != std::string::npos,
               done);
      }
      if (at.env.clock.now() - begun > 5s) throw std::runtime_error("it took as long as a timeout");
      must(with_all(at, 3));
    });
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

/// What rank 2 does until it is killed somewhere. The others name it, long before the deadline, and go on without it.
void life_of_three(const NcclRank& at) {
  const port::TimePoint begun = at.env.clock.now();
  for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
    const Status done = with_all(at, sequence);
    const bool named = !done && done.error().message.find("rank 2") != std::string::npos;
    expect(done || (named && done.error().code == ErrorCode::peer_lost), done);
  }
  if (at.env.clock.now() - begun > 6s) throw std::runtime_error("it took as long as a timeout");
  if (at.rank == Rank{2}) return;
  const OnDevice own(at.env, pattern(at.rank)), other(at.env, Bytes(5000));
  const Rank peer{1 - at.rank.value};
  const Transfer send = own.with(peer), receive = other.with(peer);
  must(at.env.data.exchange("two", 1, {&send, 1}, {&receive, 1}, at.env.clock.after(10s)));
  if (other.read() != pattern(peer)) throw std::runtime_error("wrong bytes");
}

TEST(NcclFaults, APeerThatIsKilledAtAnyCallIsLostWhetherNcclSaysSoOrIsSilent) {
  for (const PeerDeath how : {PeerDeath::error, PeerDeath::silence}) {
    std::uint32_t ordinal = 0;
    for (bool killed = true; killed; ++ordinal) {
      std::optional<sim::Site> site = sim::Site{{2}, ordinal};
      const std::string wrong = run_nccl(3, ordinal, life_of_three, [&] { sim::cuda::set_peer_death(how); }, &site);
      ASSERT_EQ(wrong, "") << "killed at call " << ordinal;
      killed = site.has_value();
    }
    EXPECT_GT(ordinal, 30u);
  }
}

TEST(NcclFaults, ACommunicatorThatNeverGetsReadyIsATimeout) {
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string wrong = run_nccl(
        2, seed,
        [](const NcclRank& at) {
          const port::TimePoint begun = at.env.clock.now();
          const Status done = with_all(at, 1, 2s);
          expect(!done && done.error().code == ErrorCode::timeout, done);
          expect(done.error().message.find("making the communicator is not over on rank") != std::string::npos, done);
          if (at.env.clock.now() - begun > 2s + 10ms) throw std::runtime_error("it came after the deadline");
        },
        [] { sim::cuda::hold_communicators(); });
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

TEST(NcclFaults, ACommunicatorThatIsStuckIsATimeoutThatNamesItsRank) {
  constexpr int in_progress = 7;  // ncclResult_t
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string wrong = run_nccl(2, seed, [](const NcclRank& at) {
      must(with_all(at, 1));
      const port::TimePoint begun = at.env.clock.now();
      if (at.rank == Rank{1}) sim::cuda::break_communicator(0, in_progress, at.context);
      const Status done = with_all(at, 2, 2s);
      const auto says = [&](std::string_view words) { return !done && done.error().message.find(words) != std::string::npos; };
      const bool in_words = says("rank 1") || says("still waits for ranks 1 at");
      expect(in_words && !done && done.error().code == ErrorCode::timeout, done);
      if (at.env.clock.now() - begun > 2s + 10ms) throw std::runtime_error("it came after the deadline");
      must(with_all(at, 3));
    });
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

TEST(NcclFaults, ALostDeviceEndsTheExchangeAtOnce) {
  constexpr int launch_failure = 719;  // cudaErrorLaunchFailure
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string wrong = run_nccl(2, seed, [](const NcclRank& at) {
      must(with_all(at, 1));
      const OnDevice own(at.env, pattern(at.rank)), other(at.env, Bytes(5000));
      const Rank peer{1 - at.rank.value};
      const Transfer send = own.with(peer), receive = other.with(peer);
      const port::TimePoint begun = at.env.clock.now();
      if (at.rank == Rank{1}) sim::cuda::fail_operation(0, launch_failure, 1);
      const Status done = at.env.data.exchange("lost", 1, {&send, 1}, {&receive, 1}, at.env.clock.after(10s));
      expect(!done && done.error().code == (at.rank == Rank{1} ? ErrorCode::io_error : ErrorCode::peer_lost), done);
      expect(done.error().message.find("still in use") == std::string::npos, done);
      if (at.env.clock.now() - begun > 3s) throw std::runtime_error("it took as long as a timeout");
    });
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

TEST(NcclFaults, AnAbortEndsAnExchangeThatWaits) {
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const std::string wrong = run_nccl(2, seed, [](const NcclRank& at) {
      must(with_all(at, 1));
      if (at.rank == Rank{1}) return at.env.clock.sleep_until(at.env.clock.now() + 5s);
      const port::TimePoint begun = at.env.clock.now();
      auto aborting = must(port::Future<void>::run(at.env.tasks, "abort", [&env = at.env]() -> Status {
        env.clock.sleep_until(env.clock.now() + 1s);
        env.data.abort();
        return {};
      }));
      const Status done = with_all(at, 2);
      expect(!done && done.error() == error(ErrorCode::aborted, "exchange \"all\" #2: rank 0 aborted its data plane"), done);
      if (at.env.clock.now() - begun > 1200ms) throw std::runtime_error("the abort came late");
      must(aborting.get(at.env.clock.after(1s)));
    });
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
}

TEST(NcclFaults, HostMemoryIsRefusedByName) {
  const std::string wrong = run_nccl(2, 1, [](const NcclRank& at) {
    Bytes memory(8);
    const Transfer transfer{Rank{1 - at.rank.value}, memory, MemoryKind::host};
    const Status done = at.env.data.exchange("host", 1, {&transfer, 1}, {}, at.env.clock.after(1s));
    expect(
        !done && done.error() == error(ErrorCode::unsupported,
                                       "exchange \"host\" #1: rank {} has host memory in a transfer with rank {}, NCCL moves device memory",
                                       at.rank, 1 - at.rank.value),
        done);
  });
  EXPECT_EQ(wrong, "");
}

TEST(NcclFaults, TheNumbersOfANameRise) {
  const std::string wrong = run_nccl(2, 1, [](const NcclRank& at) {
    must(with_all(at, 4));
    const Status done = with_all(at, 4);
    expect(!done && done.error() == error(ErrorCode::invalid_argument,
                                          "exchange \"all\" #4: it comes after #4 on rank {}; expected a higher number", at.rank),
           done);
  });
  EXPECT_EQ(wrong, "");
}

/// Each call of NCCL of one rank fails once: an error that names it, in time, and nothing leaks.
TEST(NcclFaults, EachCallsFailureIsAnErrorAndTheNextExchangeSucceeds) {
  const auto life = [](const NcclRank& at, const std::string& call, std::uint64_t nth) {
    if (at.rank == Rank{0} && !call.empty()) sim::cuda::fail_call(call, nth, system_error, &at.context);
    for (std::uint64_t sequence = 1; sequence <= 2; ++sequence) {
      const Status done = with_all(at, sequence);
      expect(done || (done.error().code != ErrorCode::timeout && done.error().message.find(call) != std::string::npos), done);
    }
    if (at.rank == Rank{0}) (void)sim::cuda::disarm();
    must(with_all(at, 3));
  };
  ASSERT_EQ(run_nccl(2, 1, [&](const NcclRank& at) { life(at, "", 0); }), "");
  std::map<std::string, std::uint64_t> calls = sim::cuda::calls();
  std::erase_if(calls, [](const auto& call) { return !call.first.starts_with("nccl") || call.first == "ncclCommAbort"; });
  EXPECT_EQ(calls.size(), 7u);
  for (const auto& [name, count] : calls) {
    for (std::uint64_t nth = 0; nth < std::min<std::uint64_t>(count / 2, 6); ++nth) {
      EXPECT_EQ(run_nccl(2, 1, [&, call = name](const NcclRank& at) { life(at, call, nth); }), "") << name << " " << nth;
    }
  }
}

}  // namespace
}  // namespace holdfast::testing_cuda

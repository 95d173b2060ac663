// The world of processes: what comes back from a rank, and what is told of one that does not come back.
#include "properties/worlds/procs_world.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "properties/worlds/processes.h"

namespace holdfast::properties {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using Problems = std::vector<std::string>;

std::unique_ptr<World> procs(std::chrono::milliseconds run_limit = 60s) { return *ProcsWorld::make(run_limit); }

Bytes text(std::string_view words) { return to_bytes(as_bytes(words)); }

/// Tells the next rank its number; gives back what it heard from the one before.
Bytes go_round(const port::Env& env, Rank rank) {
  const int ranks = env.net.world_size();
  const port::Deadline deadline = env.clock.after(30s);
  const Status sent = env.net.send(Rank{(rank.value + 1) % ranks}, {1, 1}, text(fmt::format("from {}", rank)), deadline);
  CHECK(sent.has_value(), "{}", sent.error());
  const auto heard = env.net.receive(Rank{(rank.value + ranks - 1) % ranks}, {1, 1}, deadline);
  CHECK(heard.has_value(), "{}", heard.error());
  return to_bytes(heard->view());
}

/// Runs `fails` on rank 1 of three; the others must be none the worse for it.
Problems problems_of(World& world, const std::function<void(const port::Env&)>& fails) {
  const WorldRun run = world.run(3, 0, [&](const port::Env& env, Rank rank) {
    if (rank == Rank{1}) fails(env);
    return text("here");
  });
  for (const std::size_t other : {0u, 2u}) EXPECT_EQ(run.results[other], text("here"));
  return run.problems;
}

void expect_no_child() {
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(ProcsWorld, GivesResultsByRank) {
  const auto world = procs();
  for (const int ranks : {2, 3, 7}) {
    const WorldRun run = world->run(ranks, 0, go_round);
    EXPECT_EQ(run.problems, Problems());
    ASSERT_EQ(run.results.size(), static_cast<std::size_t>(ranks));
    for (int r = 0; r < ranks; ++r)
      EXPECT_EQ(as_text(run.results[static_cast<std::size_t>(r)]), fmt::format("from {}", (r + ranks - 1) % ranks));
  }
  const WorldRun alone = world->run(1, 0, [](const port::Env&, Rank) { return Bytes(100'000, std::byte{7}); });
  EXPECT_EQ(alone.problems, Problems());
  EXPECT_EQ(alone.results, std::vector<Bytes>{Bytes(100'000, std::byte{7})});
  expect_no_child();
}

TEST(ProcsWorld, HasRanksThatShareFilesAndNoMemory) {
  const auto world = procs();
  int written = 0;
  const auto directories = [](const port::Env& env, Rank) {
    return text(fmt::format("{}", env.storage.list("", env.clock.after(30s))->size()));
  };
  const WorldRun run = world->run(2, 0, [&](const port::Env& env, Rank rank) {
    ++written;
    CHECK(env.storage.make_directory(fmt::format("of-{}", rank), env.clock.after(30s)), "make a directory");
    return text(fmt::format("{}", written));
  });
  EXPECT_EQ(run.problems, Problems());
  EXPECT_EQ(run.results, (std::vector<Bytes>{text("1"), text("1")}));
  EXPECT_EQ(written, 0);
  EXPECT_EQ(world->run(1, 0, directories).results, std::vector<Bytes>{text("2")});
  world->reset();
  EXPECT_EQ(world->run(1, 0, directories).results, std::vector<Bytes>{text("0")});
}

TEST(ProcsWorld, CountsTheMarksOfRanks) {
  const auto hits = [] {
    const auto marks = mark_hits();
    const auto found = marks.find("test.in_a_rank");
    return found == marks.end() ? 0 : found->second;
  };
  const auto world = procs();
  const auto rank_main = [](const port::Env&, Rank rank) {
    for (int i = 0; i <= rank.value; ++i) MARK("test.in_a_rank");
    return Bytes();
  };
  EXPECT_EQ(world->run(3, 0, rank_main).problems, Problems());
  EXPECT_EQ(hits(), 6u);
  MARK("test.in_a_rank");
  EXPECT_EQ(world->run(3, 0, rank_main).problems, Problems());
  EXPECT_EQ(hits(), 13u);
}

TEST(ProcsWorld, TellsHowARankEnded) {
  const auto world = procs();
  const Problems aborted = problems_of(*world, [](const port::Env&) { CHECK(false, "on purpose"); });
  ASSERT_EQ(aborted.size(), 1u);
  EXPECT_TRUE(aborted[0].starts_with("rank 1: killed by signal 6 (Aborted); it printed:\n")) << aborted[0];
  EXPECT_NE(aborted[0].find("on purpose"), std::string::npos) << aborted[0];
  EXPECT_EQ(problems_of(*world, [](const port::Env&) { ::raise(SIGKILL); }), Problems{"rank 1: killed by signal 9 (Killed)"});
  EXPECT_EQ(problems_of(*world, [](const port::Env&) { ::_exit(7); }),
            Problems{"rank 1: ended with exit code 7 before its result was there"});
  EXPECT_EQ(problems_of(*world, [](const port::Env&) { throw std::runtime_error("thrown"); }), Problems{"rank 1: exception: thrown"});
  EXPECT_EQ(problems_of(*world, [](const port::Env&) { throw 1; }),
            Problems{"rank 1: ended by an exception; it printed:\nan exception that is no std::exception\n"});
  EXPECT_EQ(problems_of(*world, [](const port::Env& env) { static_cast<void>(env.storage.create("left open", env.clock.after(30s))); }),
            Problems{"rank 1: 1 files were left open"});
  expect_no_child();
}

TEST(ProcsWorld, KillsARankThatHangs) {
  const auto world = procs(5s);
  const Problems problems = problems_of(*world, [](const port::Env&) {
    while (true) ::pause();
  });
  EXPECT_EQ(problems, Problems{"rank 1: still ran after 5000 ms, and was killed"});
  expect_no_child();
}

TEST(ProcsWorld, LeavesNoRankBehindWhenItsProcessIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  backend::Fd read(ends[0]), held(ends[1]);  // every rank holds it, as does the process that forks them
  const auto world = procs();
  const pid_t supervisor = ::fork();
  ASSERT_GE(supervisor, 0);
  if (supervisor == 0) {
    world->run(3, 0, [&](const port::Env& env, Rank rank) {
      go_round(env, rank);
      CHECK(::write(held.get(), "x", 1) == 1, "tell that the rank runs");
      while (true) ::pause();
      return Bytes();
    });
    ::_exit(1);
  }
  held.reset();
  char byte = 0;
  for (int ranks = 0; ranks < 3; ++ranks) ASSERT_EQ(::read(read.get(), &byte, 1), 1);
  ::kill(supervisor, SIGKILL);
  ASSERT_EQ(::waitpid(supervisor, nullptr, 0), supervisor);
  pollfd all_gone{read.get(), 0, 0};
  EXPECT_EQ(::poll(&all_gone, 1, 30'000), 1);
}

TEST(ProcsWorld, KeepsOutOfTheWayOfOthers) {
  auto others = *Processes::make();
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(others.start([] {
      const auto world = procs();
      Problems problems;
      for (int turn = 0; turn < 20; ++turn) {
        for (std::string& problem : world->run(3, 0, go_round).problems) problems.push_back(std::move(problem));
      }
      return text(fmt::format("{}", fmt::join(problems, "\n")));
    }));
  }
  for (const ProcessEnd& end : others.wait(60s)) EXPECT_EQ(as_text(end.result.value_or(text(end.how))), "");
}

TEST(ProcsWorld, IsOneOfTheWorldsByName) {
  EXPECT_EQ((*make_world("procs"))->name(), "procs");
  EXPECT_EQ(make_world("proc").error().message, "world \"proc\": expected sim, threads or procs");
}

}  // namespace
}  // namespace holdfast::properties

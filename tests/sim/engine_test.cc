// What an engine must do, on both; and that both give the same run.
#include "sim/engine.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "sim/engine_thread.h"
#include "sim/run.h"
#include "sim/tsan.h"
#include "tests/sim/doors.h"

namespace holdfast::sim {
namespace {

using namespace std::chrono_literals;

/// The whole program runs again with HOLDFAST_SIM_ENGINE=thread (CMakeLists.txt).
[[maybe_unused]] const bool engine_chosen = [] {
  const char* name = std::getenv("HOLDFAST_SIM_ENGINE");
  if (!name) return false;
  set_default_engine(engine_named(name).value());
  if (default_engine() == EngineKind::thread) stay_on_one_processor();
  return true;
}();

class EngineTest : public testing::TestWithParam<EngineKind> {
 protected:
  using Code = std::function<void()>;
  /// A body that runs `code`, which must live as long.
  Engine::Fiber* start(Code& code) {
    const auto run = [](void* argument) {
      const tsan::Inside inside;
      (*static_cast<Code*>(argument))();
    };
    return engine->create(run, &code);
  }
  const tsan::Inside inside_;  // the bodies share what they write down, as ranks would not
  EngineLease engine = borrow_engine(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Both, EngineTest, testing::Values(EngineKind::fiber, EngineKind::thread),
                         [](const auto& each) { return std::string(to_string(each.param)); });

TEST_P(EngineTest, RunsBodiesInTheOrderInWhichTheyAreResumed) {
  std::string told;
  std::vector<EngineTest::Code> codes;
  for (const char name : {'a', 'b', 'c'}) {
    codes.emplace_back([&told, name, this] {
      for (int i = 0; i < 3; ++i) {
        told += name;
        engine->suspend();
      }
    });
  }
  std::vector<Engine::Fiber*> bodies;
  for (auto& code : codes) bodies.push_back(start(code));
  EXPECT_EQ(told, "");
  for (const std::size_t next : {0u, 2u, 1u, 1u, 0u, 2u, 2u, 1u, 0u, 2u, 1u, 0u}) engine->resume(bodies[next]);
  EXPECT_EQ(told, "acbbaccba");
  for (Engine::Fiber* body : bodies) {
    EXPECT_TRUE(body->ended);
    engine->recycle(body);
  }
}

TEST_P(EngineTest, KeepsEachBodysExceptionsAcrossSuspends) {
  constexpr int bodies = 4;
  std::vector<std::string> seen(bodies);
  std::vector<EngineTest::Code> codes;
  for (int b = 0; b < bodies; ++b) {
    codes.emplace_back([&, b] {
      struct SuspendsOnItsWay {
        Engine& engine;
        std::string& seen;
        ~SuspendsOnItsWay() {
          seen += fmt::format(" uncaught {}", std::uncaught_exceptions());
          engine.suspend();
          seen += fmt::format(" {}", std::uncaught_exceptions());
        }
      };
      try {
        try {
          const SuspendsOnItsWay guard{*engine, seen[static_cast<std::size_t>(b)]};
          throw b;
        } catch (int) {
          engine->suspend();
          try {
            throw std::runtime_error(fmt::format("inner {}", b));
          } catch (const std::exception& inner) {
            engine->suspend();
            seen[static_cast<std::size_t>(b)] += fmt::format(" {}", inner.what());
          }
          throw;  // the outer one, which only the exception state of this body knows
        }
      } catch (int outer) {
        seen[static_cast<std::size_t>(b)] += fmt::format(" outer {}", outer);
      }
    });
  }
  std::vector<Engine::Fiber*> started;
  for (auto& code : codes) started.push_back(start(code));
  for (int round = 0; round < 4; ++round) {
    for (std::size_t i = 0; i < started.size(); ++i) engine->resume(started[round % 2 == 0 ? i : started.size() - 1 - i]);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    EXPECT_FALSE(std::current_exception());
  }
  for (int b = 0; b < bodies; ++b) EXPECT_EQ(seen[static_cast<std::size_t>(b)], fmt::format(" uncaught 1 1 inner {0} outer {0}", b));
  for (Engine::Fiber* body : started) engine->recycle(body);
}

TEST_P(EngineTest, HoldsAThousandBodiesAndUsesThemAgain) {
  constexpr std::size_t bodies = 1000;
  std::uint64_t order = 0;
  for (int again = 0; again < 2; ++again) {
    std::vector<EngineTest::Code> codes(bodies);
    std::vector<Engine::Fiber*> started;
    for (std::size_t b = 0; b < bodies; ++b) {
      codes[b] = [&order, b, this] {
        for (std::uint64_t i = 0; i < 3; ++i) {
          order = order * 31 + b;
          engine->suspend();
        }
      };
      started.push_back(start(codes[b]));
    }
    std::uint64_t expected = order;
    for (int round = 0; round < 4; ++round) {
      for (std::size_t b = 0; b < bodies; ++b) {
        engine->resume(started[b]);
        if (round < 3) expected = expected * 31 + b;
      }
    }
    EXPECT_EQ(order, expected);
    for (Engine::Fiber* body : started) engine->recycle(body);
  }
}

TEST_P(EngineTest, StopsAtAMisuse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(engine->suspend(), "suspend outside of a body");
  EngineTest::Code nothing = [] {};
  const auto inside = [&](EngineTest::Code code) { engine->resume(start(code)); };
  EXPECT_DEATH(inside([&] { engine->resume(start(nothing)); }), "an engine is asked for a body from inside another one");
  EXPECT_DEATH(
      {
        Engine::Fiber* other = start(nothing);
        inside([&] { engine->resume(other); });
      },
      "a body is resumed from inside another one");
  EXPECT_DEATH(
      {
        Engine::Fiber* ended = start(nothing);
        engine->resume(ended);
        engine->resume(ended);
      },
      "a body that returned is resumed");
  EXPECT_DEATH(engine->recycle(start(nothing)), "a body is taken back before it returned");
  EXPECT_DEATH(inside([] { throw 1; }), "terminate");
}

TEST(ThreadEngine, GivesEachBodyAThreadOfItsOwnAndUsesItForTheNext) {
  const EngineLease engine = borrow_engine(EngineKind::thread);
  std::vector<std::thread::id> ids;
  const auto note = [](void* argument) { static_cast<std::vector<std::thread::id>*>(argument)->push_back(std::this_thread::get_id()); };
  for (int i = 0; i < 3; ++i) {
    Engine::Fiber* body = engine->create(note, &ids);
    engine->resume(body);
    engine->recycle(body);
  }
  EXPECT_NE(ids[0], std::this_thread::get_id());
  EXPECT_EQ(ids[0], ids[1]);
  EXPECT_EQ(ids[0], ids[2]);
}

TEST(ThreadEngine, RefusesToSuspendOnAnotherThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const EngineLease engine = borrow_engine(EngineKind::thread);
  const auto other_thread = [](void* argument) { std::thread([&] { static_cast<Engine*>(argument)->suspend(); }).join(); };
  EXPECT_DEATH(engine->resume(engine->create(other_thread, engine.get())), "suspend from a thread that is not the running body's");
}

TEST(Engines, AreKnownByTheirNames) {
  for (const EngineKind kind : {EngineKind::fiber, EngineKind::thread}) EXPECT_EQ(engine_named(to_string(kind)).value(), kind);
  EXPECT_EQ(engine_named("thraed").error().message, "engine \"thraed\": expected fiber or thread");
}

/// The run on each engine must be the same; gives it.
Trace on_both(Scenario scenario, const std::function<void()>& before, const RankMain& rank_main) {
  std::vector<Trace> traces;
  std::vector<std::uint64_t> disks;
  for (const EngineKind kind : {EngineKind::fiber, EngineKind::thread}) {
    scenario.engine = kind;
    Disk disk;
    before();
    traces.push_back(run(scenario, disk, rank_main));
    disks.push_back(disk.hash());
  }
  EXPECT_EQ(traces[0].event_hash, traces[1].event_hash);
  EXPECT_EQ(traces[0].decisions, traces[1].decisions);
  EXPECT_EQ(fingerprint(traces[0]), fingerprint(traces[1]));
  EXPECT_EQ(disks[0], disks[1]);
  return traces[1];
}

TEST(Engines, UnwindAKilledRankAlike) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<std::string> unwound;  // of both engines, one after the other
    std::string told;
    const auto next_engine = [&] {
      unwound.push_back(told);
      told.clear();
    };
    struct Tells {
      std::string& told;
      std::string name;
      ~Tells() {
        const tsan::Inside inside;  // it is the test that shares the text, not the tasks
        told += name + fmt::format("/{} ", std::uncaught_exceptions());
      }
    };
    const Scenario scenario{.name = "unwind", .world_size = 2, .seed = seed, .faults = {{.site = {{0}, 5}, .kind = FaultKind::kill_rank}}};
    const Trace trace = on_both(scenario, next_engine, [&](const port::Env& env, Rank rank) {
      const Tells own{told, fmt::format("rank {}", rank)};
      if (rank.value == 1) return;
      std::vector<port::TaskId> tasks;
      for (int t = 0; t < 3; ++t) {
        tasks.push_back(env.tasks
                            .spawn("task",
                                   [&told, &env, t] {
                                     const Tells guard{told, fmt::format("task {}", t)};
                                     try {
                                       throw t;
                                     } catch (int) {
                                       env.clock.sleep_until(env.clock.now() + 1s);  // in a handler the kill cannot be thrown
                                     }
                                     env.clock.sleep_until(env.clock.now() + 1s);
                                     told += "survived ";
                                   })
                            .value());
      }
      store(env, "a", "text");
      for (const port::TaskId task : tasks) must(env.tasks.join(task, env.clock.after(60s)));
    });
    next_engine();
    EXPECT_EQ(trace.ends[0].how, RankEnd::killed);
    EXPECT_EQ(trace.harness_error, "");
    EXPECT_EQ(unwound[1], unwound[2]);
    EXPECT_EQ(unwound[1].find("survived"), std::string::npos);
    EXPECT_NE(unwound[1].find("rank 0/1"), std::string::npos) << unwound[1];
  }
}

TEST(Engines, RunAThousandRanksAlike) {
  constexpr int ranks = 1000;
  const Scenario scenario{.name = "ring", .world_size = ranks, .seed = 7};
  const Trace trace = on_both(
      scenario, [] {},
      [](const port::Env& env, Rank rank) {
        const port::Deadline deadline = env.clock.after(60s);
        must(env.net.send({(rank.value + 1) % ranks}, {1, 1}, to_bytes(as_bytes("token")), deadline));
        must(env.net.receive({(rank.value + ranks - 1) % ranks}, {1, 1}, deadline));
      });
  EXPECT_TRUE(trace.all_returned());
  EXPECT_EQ(trace.events, 2000u);
}

TEST(Engines, TellTheListenerOfEveryRun) {
  std::vector<std::pair<EngineKind, std::uint64_t>> told;
  set_run_listener([&](const Scenario& scenario, const Trace& trace, const Disk& disk) {
    told.emplace_back(scenario.engine, trace.event_hash ^ disk.hash());
  });
  on_both({.name = "told"}, [] {}, [](const port::Env& env, Rank) { store(env, "a", "text"); });
  set_run_listener({});
  on_both({.name = "not told"}, [] {}, [](const port::Env& env, Rank) { store(env, "a", "text"); });
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].first, EngineKind::fiber);
  EXPECT_EQ(told[1].first, EngineKind::thread);
  EXPECT_EQ(told[0].second, told[1].second);
}

}  // namespace
}  // namespace holdfast::sim

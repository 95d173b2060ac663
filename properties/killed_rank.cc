// S1, S2: a process is killed in the middle of a save, at a step of the protocol and some time after it; or stopped there, and let go on when the others
// have given up. What it leaves behind is loaded by other processes.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "properties/gen/draw.h"
#include "properties/job.h"
#include "properties/property.h"
#include "properties/worlds/procs_world.h"

namespace holdfast::properties {
namespace {

using Wrong = std::optional<std::string>;

constexpr std::string_view committed = "committed", failed = "failed", unknown = "unknown";

/// Whom it hits, what, and when.
struct Blow {
  int signal;  ///< SIGKILL or SIGSTOP
  Rank victim;
  std::uint64_t step;  ///< of those that the victim enters, counted from 1
  std::chrono::microseconds after;
};

/// More often than by chance alone the coordinator, and while it publishes.
Blow draw_blow(int signal, const gen::DrawnCase& drawn) {
  constexpr std::uint64_t publishes = 6, steps = 8, steps_of_others = 5;
  gen::Draw draw(drawn.seed);
  const Rank victim = draw.one_in(2) ? drawn.coordinator : drawn.chosen.front();
  const bool leads = victim == drawn.coordinator;
  const std::uint64_t step = leads && draw.one_in(3) ? publishes : 1 + draw.below(leads ? steps : steps_of_others);
  return {signal, victim, step, std::chrono::microseconds(draw.below<std::int64_t>(1000))};
}

/// A rank that is stopped is not lost: the others wait for it until the deadline.
constexpr port::Duration patience = std::chrono::seconds(1), slack = std::chrono::seconds(1);
constexpr timespec stopped_for{2, 500'000'000};  ///< longer than both

/// Stops this process, and has it go on later.
void stop_for_a_while() {
  MARK("property.rank_stopped");
  if (::fork() == 0) {
    ::nanosleep(&stopped_for, nullptr);
    ::kill(::getppid(), SIGCONT);
    ::_exit(0);
  }
  ::kill(::getpid(), SIGSTOP);
}

/// Hits the process of its rank.
class Hitman final : public port::Observer {
 public:
  Hitman(const port::Env& env, const Blow& blow) : env_(env), blow_(blow) {}

  void entered(std::string_view /*step*/) override {
    if (++entered_ != blow_.step) return;
    const auto task = env_.tasks.spawn("hit", [env = env_, blow = blow_] {
      env.clock.sleep_until(env.clock.now() + blow.after);
      blow.signal == SIGSTOP ? stop_for_a_while() : static_cast<void>(::kill(::getpid(), blow.signal));
    });
    CHECK(task.has_value(), "{}", task.error());
    env_.tasks.detach(*task);
  }

 private:
  port::Env env_;
  Blow blow_;
  std::atomic<std::uint64_t> entered_ = 0;
};

/// Who dies before a rank has joined does not die in the save: the victim hears first that every rank is there.
void await_everybody(const port::Env& env, Rank rank, Rank victim) {
  const port::Deadline deadline = env.clock.after(std::chrono::seconds(60));
  const port::Tag here{9, 1};
  if (rank != victim) {
    const Status told = env.net.send(victim, here, Bytes(1), deadline);
    CHECK(told.has_value(), "{}", told.error());
    return;
  }
  for (Rank other{0}; other.value < env.net.world_size(); ++other.value) {
    if (other == rank) continue;
    const auto heard = env.net.receive(other, here, deadline);
    CHECK(heard.has_value(), "{}", heard.error());
  }
}

/// Saves step 2 on a rank, and gives what the rank is told: one of the three words, or what is wrong.
std::string told(const port::Env& env, Rank rank, const Blow& blow, const gen::DrawnCase& drawn, const gen::WholeValues& values) {
  const gen::RankState state = make_state(drawn.saved, rank, values);
  // What a save that was given up leaves behind still tells its observer. This process is one rank, once.
  static std::optional<Hitman> hitman;
  hitman.emplace(env, blow);
  await_everybody(env, rank, blow.victim);
  const bool hit = rank == blow.victim, stops = blow.signal == SIGSTOP;
  const port::Env watched{env.net, env.data, env.storage, env.device, env.clock, env.tasks, hit ? &*hitman : nullptr};
  protocol::Session session(watched, {.coordinator = drawn.coordinator});
  protocol::SaveOptions options{.step = Step{2}, .block_bytes = drawn.block_bytes};
  if (stops) options.deadline = patience;
  const port::TimePoint begin = env.clock.now();
  const auto saved = protocol::save(session, state.dict, options);
  const port::Duration took = env.clock.now() - begin;
  // Whose deadline passed while it was stopped may have a device that still reads the tensors.
  if (stops && !session.unfinished().await(env.clock.after(slack))) return "the tensors are still in use";
  if (stops && !hit && took > patience + slack) return fmt::format("save returned after {} ms", took / std::chrono::milliseconds(1));
  if (saved) return std::string(committed);
  const std::vector<Rank> blamed = saved.error().failures.ranks();
  // Who was stopped finds that its time is over, whoever it asks.
  if (!(stops && hit) && std::ranges::any_of(blamed, [&](Rank of) { return of != blow.victim; }))
    return "others than the victim are blamed: " + to_string(saved.error());
  return std::string(saved.error().outcome == Outcome::failed ? failed : unknown);
}

/// What the ranks were told, each word once.
struct Answers {
  bool committed = false, failed = false;
};

Result<Answers> save_and_hit(World& world, int signal, const gen::DrawnCase& drawn, const gen::WholeValues& values) {
  const Blow blow = draw_blow(signal, drawn);
  WorldRun run = world.run(drawn.saved.world_size, drawn.seed,
                           [&](const port::Env& env, Rank rank) { return to_bytes(as_bytes(told(env, rank, blow, drawn, values))); });
  const bool was_killed = signal == SIGKILL && std::erase(run.problems, killed(blow.victim)) != 0;
  if (!run.problems.empty()) return fail(ErrorCode::io_error, "{}", run.problems.front());
  if (was_killed) MARK("property.rank_killed");
  Answers answers;
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    const std::string_view answer = as_text(run.results[r]);
    if (was_killed && Rank{static_cast<std::int32_t>(r)} == blow.victim) continue;
    if (answer == committed) {
      answers.committed = true;
    } else if (answer == failed) {
      answers.failed = true;
    } else if (answer != unknown) {
      return fail(ErrorCode::io_error, "rank {}: {}", r, answer);
    }
  }
  if (answers.committed && answers.failed)
    return fail(ErrorCode::io_error, "one rank is told that the save is committed, another that it failed");
  return answers;
}

Wrong old_or_new_loads(World& world, int signal, const gen::DrawnCase& drawn) {
  const gen::WholeValues older = make_values(drawn.saved, drawn.seed), newer = make_values(drawn.saved, drawn.seed + 1);
  const JobOptions first{.seed = drawn.seed, .coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes};
  const JobOptions loading{.seed = drawn.seed + 1, .coordinator = drawn.load_coordinator};
  world.reset();
  if (auto wrong = not_saved(save_job(world, drawn.saved, older, first))) return "first save: " + *wrong;
  const Result<Answers> answers = save_and_hit(world, signal, drawn, newer);
  if (!answers) return answers.error().message;
  const LoadReport found = load_job(world, drawn.loaded, newer, loading);
  const bool is_new = found.directory.starts_with("step-2.");
  if (auto wrong = not_loaded(is_new ? found : load_job(world, drawn.loaded, older, loading))) return "load: " + *wrong;
  if (answers->committed && !is_new) return fmt::format("a rank was told that step 2 is saved, and {} is loaded", found.directory);
  if (answers->failed && is_new) return "a rank was told that the save of step 2 failed, and it is loaded";
  if (is_new && !answers->committed) MARK("property.killed_after_commit");
  if (!is_new) MARK("property.killed_before_commit");
  JobOptions next = first;
  next.step = Step{3};
  if (auto wrong = not_saved(save_job(world, drawn.saved, older, next))) return "next save: " + *wrong;
  if (auto wrong = not_loaded(load_job(world, drawn.loaded, older, loading))) return "load after the next save: " + *wrong;
  return std::nullopt;
}

}  // namespace

std::vector<Property> killed_rank_properties() {
  const auto check = [](int signal) {
    return [signal](World& world, gen::DrawOptions options) {
      if (signal == SIGSTOP) options.cases = std::max<std::uint64_t>(1, options.cases / 5);  // each waits for seconds
      return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return old_or_new_loads(world, signal, drawn); });
    };
  };
  constexpr std::string_view why = "kills or stops ranks, which must be processes for that";
  return {{"killed-rank",
           "S1 S2 S3 S5 A1 L1 L2",
           "When a rank's process is killed during a save, other processes load the old checkpoint or the new one, whole, as the survivors "
           "were told, "
           "and the next save succeeds.",
           {"procs"},
           check(SIGKILL),
           {"property.rank_killed", "property.killed_before_commit", "property.killed_after_commit"},
           why},
          {"stopped-rank",
           "S1 S2 S3 S5 A1 L1 L2",
           "When a rank's process is stopped during a save, the others return by their deadline and blame it alone; it goes on after that, "
           "and what is "
           "loaded then is the old checkpoint or the new one, whole, as the ranks were told.",
           {"procs"},
           check(SIGSTOP),
           {"property.rank_stopped", "property.killed_before_commit"},
           why}};
}

}  // namespace holdfast::properties

// S1, S3 of an attempt that two give up at once, while somebody else makes the mark that they link, and power fails at any moment.
#include "impl/protocol/give_up.h"

#include <set>

#include "impl/core/mark.h"
#include "impl/protocol/files.h"
#include "impl/protocol/save.h"
#include "impl/protocol/survey.h"
#include "properties/gen/state_spec.h"
#include "properties/property.h"
#include "sim/run.h"
#include "sim/tsan.h"

namespace holdfast::properties {
namespace {

constexpr std::string_view attempt = "step-7.a7";

enum class Mark : std::uint8_t { there, missing, damaged };
enum class Act : std::uint8_t { gives_up, makes_mark };

const char* to_string(Mark mark) { return std::array{"there", "missing", "damaged"}[static_cast<std::size_t>(mark)]; }

/// What two do at once, and how the storage is before.
struct Pair {
  Mark mark;
  Act first, second;
};
constexpr std::array pairs = {Pair{Mark::there, Act::gives_up, Act::gives_up},       Pair{Mark::missing, Act::gives_up, Act::gives_up},
                              Pair{Mark::missing, Act::gives_up, Act::makes_mark},   Pair{Mark::missing, Act::makes_mark, Act::gives_up},
                              Pair{Mark::missing, Act::makes_mark, Act::makes_mark}, Pair{Mark::damaged, Act::gives_up, Act::gives_up},
                              Pair{Mark::damaged, Act::gives_up, Act::makes_mark},   Pair{Mark::damaged, Act::makes_mark, Act::gives_up}};

/// Rank 0 stops before its call `at`; rank 1 begins then, and stops before its call `until`, when rank 0 goes on; from its call `to` on both do.
struct Turns {
  std::uint32_t at = 0, until = 0, to = 0;
};

bool is_record(const Result<Bytes>& file) { return file && as_text(*file) == protocol::given_up_record; }

/// Looks at every crash state from before each call that changes something.
class Watcher : public sim::Interceptor {
 public:
  using Seen = std::set<std::pair<std::uint64_t, int>>;
  /// A state in `seen`, with what was told before it, is not looked at again.
  Watcher(const sim::Disk& disk, Seen& seen) : disk_(disk), seen_(seen) {}

  void before(const sim::SiteRecord& site) override {
    static const std::set<std::string_view> changing = {"storage.create", "storage.write",  "storage.sync",          "storage.rename",
                                                        "storage.link",   "storage.remove", "storage.sync_directory"};
    if (changing.contains(site.op)) look();
  }
  const std::string& wrong() const { return wrong_; }

 protected:
  void look() {
    constexpr std::size_t enumerated_max = 8;
    for (std::size_t m = 0; m < sim::persistence_models && wrong_.empty(); ++m) {
      const auto model = static_cast<sim::PersistenceModel>(m);
      for (const sim::Disk& state : disk_.crash_states(model, enumerated_max)) {
        if (!seen_.emplace(state.hash(), told()).second) continue;
        wrong_ = wrong_with(state);
        if (wrong_.empty()) continue;
        wrong_ += fmt::format(", after a crash under {}", sim::to_string(model));
        return;
      }
    }
  }

 private:
  virtual int told() const { return 0; }
  virtual std::string wrong_with(const sim::Disk& state) const = 0;

  const sim::Disk& disk_;
  Seen& seen_;
  std::string wrong_;
};

class PairWatcher final : public Watcher {
 public:
  PairWatcher(const sim::Disk& disk, Mark before, Seen& seen) : Watcher(disk, seen), before_(before) {}

  void tell(Act act) {
    const sim::tsan::Inside inside;  // the watcher sees all ranks
    (act == Act::gives_up ? told_given_up_ : told_marked_) = true;
    look();
  }

 private:
  int told() const override { return 2 * told_given_up_ + told_marked_; }
  std::string wrong_with(const sim::Disk& state) const override {
    const Result<Bytes> record = state.read_file(protocol::join(attempt, protocol::manifest_name));
    if (!record && told_given_up_) return "an attempt of which somebody was told that it is given up can be committed";
    if (record && !is_record(record)) return fmt::format("MANIFEST is there and holds \"{}\"", as_text(*record));
    if (record) MARK("given_up.crashed_after");
    const Result<Bytes> mark = state.read_file(protocol::given_up_mark);
    if (is_record(mark) || before_ == Mark::damaged) return "";
    if (mark) return fmt::format("the mark is there and holds \"{}\"", as_text(*mark));
    if (told_marked_ || before_ == Mark::there) return "the mark is gone";
    return "";
  }

  Mark before_;
  bool told_given_up_ = false, told_marked_ = false;
};

class SaveWatcher final : public Watcher {
 public:
  using Watcher::Watcher;

 private:
  std::string wrong_with(const sim::Disk& state) const override {
    if (is_record(state.read_file(protocol::given_up_mark))) return "";
    for (const std::string& path : state.paths()) {
      if (!path.starts_with("step-")) continue;
      if (!path.substr(path.rfind('/') + 1).starts_with(protocol::given_up_file_prefix))
        return fmt::format("\"{}\" is there, and no mark", path);
      MARK("given_up.crashed_while_marking");
    }
    return "";
  }
};

class Story {
 public:
  explicit Story(const Pair& pair) : pair_(pair) {
    prepared_.write_file(fmt::format("{}/segment-00000-000.safetensors", attempt), as_bytes("half"));
    for (const char* own : {"step-8.a8", "step-9.a9"}) prepared_.write_file(fmt::format("{}/segment-00000-000.safetensors", own), {});
    if (pair.mark == Mark::there) prepared_.write_file(protocol::given_up_mark, as_bytes(protocol::given_up_record));
    if (pair.mark == Mark::damaged) prepared_.write_file(protocol::given_up_mark, as_bytes("holdfast: this"));
  }

  /// What is wrong, or nothing. Without turns one goes after the other.
  std::string tell(std::optional<Turns> turns) {
    sim::Disk disk = prepared_;
    PairWatcher watcher(disk, pair_.mark, seen_);
    sim::Scenario scenario;
    scenario.world_size = 2;
    scenario.random_latency = false;
    scenario.interceptor = &watcher;
    if (turns) {
      scenario.stops = {{{Rank{0}, turns->at}, {Rank{1}, turns->until}},
                        {{Rank{1}, 0}, {Rank{0}, turns->at}},
                        {{Rank{1}, turns->until}, {Rank{0}, turns->to}}};
    }
    std::array<Status, 2> ends;
    const sim::Trace trace = sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
      const auto r = static_cast<std::size_t>(rank.value);
      const Act act = r == 0 ? pair_.first : pair_.second;
      ends[r] = does(act, env, rank);
      if (ends[r]) watcher.tell(act);
    });
    calls = trace.calls_by_rank;
    if (!watcher.wrong().empty()) return watcher.wrong();
    if (!trace.all_returned()) return "somebody did not return";
    for (const Status& end : ends) {
      if (!end) return fmt::format("without a fault: {}", end.error());
    }
    return "";
  }

  std::vector<std::uint32_t> calls;  ///< by rank, of the last story

 private:
  static Status does(Act act, const port::Env& env, Rank rank) {
    const port::Deadline deadline = env.clock.after(std::chrono::seconds(20));
    if (act == Act::makes_mark) {
      TRY(protocol::keep_mark(env.storage, rank == Rank{0} ? "step-8.a8" : "step-9.a9", deadline));
      return env.storage.sync_directory("", deadline);  // as a save does
    }
    const bool given_up = TRY(protocol::give_up(env.storage, std::string(attempt), deadline));
    return given_up ? Status() : Status(fail(ErrorCode::corrupt, "it counts as committed"));
  }

  Pair pair_;
  sim::Disk prepared_;
  Watcher::Seen seen_;
};

gen::Outcome exhaust(World& /*world*/, const gen::DrawOptions& /*options*/) {
  gen::Outcome outcome;
  for (const Pair& pair : pairs) {
    Story story(pair);
    const auto holds = [&](std::optional<Turns> turns) {
      outcome.failure = story.tell(turns);
      if (outcome.failure.empty()) return ++outcome.cases != 0;
      const auto name = [](Act act) { return act == Act::gives_up ? "gives up" : "makes the mark"; };
      outcome.counterexample =
          fmt::format("the mark is {}; rank 0 {}, rank 1 {}", to_string(pair.mark), name(pair.first), name(pair.second));
      if (turns) {
        outcome.counterexample += fmt::format("; rank 0 stops before call {}, rank 1 goes up to call {}, then rank 0 up to call {}",
                                              turns->at, turns->until, turns->to);
      }
      return false;
    };
    if (!holds(std::nullopt)) return outcome;
    const std::vector<std::uint32_t> calls = story.calls;
    for (std::uint32_t at = 0; at < calls[0]; ++at) {
      for (std::uint32_t until = 1; until < calls[1] + 2; ++until) {
        for (std::uint32_t to = at + 1; to < calls[0] + 2; ++to) {
          if (!holds(Turns{at, until, to})) return outcome;
        }
      }
    }
  }
  MARK("property.every_turn_of_two_who_give_up");
  return outcome;
}

/// The first save of a folder, under any schedule.
gen::Outcome first_saves(World& /*world*/, const gen::DrawOptions& options) {
  gen::StateSpec spec;
  spec.world_size = 2;
  spec.tensors = {{"weight", DType::bf16, {4, 2}, ChunkLayout{0, {Rank{0}, Rank{1}}}, 0}};
  const gen::WholeValues values = make_values(spec, 1);
  gen::Outcome outcome;
  Watcher::Seen seen;
  for (; outcome.cases < options.cases; ++outcome.cases) {
    sim::Disk disk;
    SaveWatcher watcher(disk, seen);
    sim::Scenario scenario;
    scenario.world_size = spec.world_size;
    scenario.seed = options.seed + outcome.cases;
    scenario.interceptor = &watcher;
    std::string failed;
    sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
      const gen::RankState state = make_state(spec, rank, values);
      protocol::Session session(env);
      const auto saved = protocol::save(session, state.dict, {.step = Step{1}, .block_bytes = 16});
      if (!saved) failed = to_string(saved.error());
    });
    outcome.failure = watcher.wrong().empty() ? failed : watcher.wrong();
    if (outcome.failure.empty()) continue;
    outcome.counterexample = fmt::format("schedule seed {}", scenario.seed);
    return outcome;
  }
  return outcome;
}

}  // namespace

std::vector<Property> give_up_properties() {
  return {
      {"give-up-exhaustive",
       "S1 S3",
       "Whoever gives up an attempt at once, in whatever turns, and whenever power fails: its commit name is free, or holds the whole "
       "record, for good "
       "once anybody was told.",
       {"sim"},
       exhaust,
       {"property.every_turn_of_two_who_give_up", "given_up.crashed_after", "give_up.without_the_mark", "give_up.another_writes",
        "give_up.mark_made"}},
      {"give-up-mark",
       "S3",
       "Whenever power fails in the first save of a folder, nothing of its attempt is there before the mark by which it can be given up.",
       {"sim"},
       first_saves,
       {"give_up.mark_made", "given_up.crashed_while_marking"}}};
}

}  // namespace holdfast::properties

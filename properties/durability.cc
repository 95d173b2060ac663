// S2 at every moment: what some rank was told is committed is there after every crash from then on, under every persistence model.
#include <map>
#include <set>

#include "impl/core/mark.h"
#include "impl/protocol/recover.h"
#include "properties/property.h"
#include "properties/workload/save_workload.h"
#include "sim/campaign.h"
#include "sim/tsan.h"

namespace holdfast::properties {
namespace {

constexpr std::array saved_steps = {Step{20}, Step{10}, Step{30}};  // the second goes back; each names its save
constexpr int saves = static_cast<int>(saved_steps.size());
constexpr int none = -1;

/// The storage at one moment after a save was acknowledged.
struct Moment {
  sim::Disk disk;
  int acknowledged = none;  ///< the latest save of which some rank had been told
  bool saving = false;      ///< a later one had begun
};

/// Keeps the storage as it is at each acknowledgement and before each later call that changes it.
class Watcher : public sim::Interceptor {
 public:
  explicit Watcher(const sim::Disk& disk) : disk_(disk) {}
  void before(const sim::SiteRecord& site) override {
    static const std::set<std::string_view> changing = {
        "storage.make_directory", "storage.create", "storage.write",  "storage.truncate",         "storage.sync",
        "storage.rename",         "storage.link",   "storage.remove", "storage.remove_directory", "storage.sync_directory"};
    if (acknowledged_ != none && changing.contains(site.op)) keep();
  }
  void began(int save) { begun_ = std::max(begun_, save); }
  void acknowledge(int save) {
    const sim::tsan::Inside inside;  // the watcher sees all ranks
    acknowledged_ = std::max(acknowledged_, save);
    keep();
  }
  void keep() {
    if (acknowledged_ != none) moments_.push_back({disk_, acknowledged_, begun_ > acknowledged_});
  }
  const std::vector<Moment>& moments() const { return moments_; }

 private:
  const sim::Disk& disk_;
  int acknowledged_ = none, begun_ = none;
  std::vector<Moment> moments_;
};

gen::StateSpec on_one_rank(gen::StateSpec spec) {
  spec.world_size = 1;
  for (gen::TensorSpec& tensor : spec.tensors) tensor.layout = ReplicatedLayout{};
  return spec;
}

struct Counts {
  std::uint64_t states = 0;  ///< crash states of all moments and models
  std::uint64_t loaded = 0;  ///< different ones, each loaded
};

class Story {
 public:
  Story(const gen::DrawnCase& drawn, Counts& counts) : drawn_(drawn), reader_(on_one_rank(drawn.saved)), counts_(counts) {
    for (std::uint64_t version = 0; version < saves; ++version) values_.push_back(make_values(drawn.saved, drawn.seed + version));
  }

  std::optional<std::string> check() {
    const sim::Scenario scenario = draw_scenario();
    sim::Disk disk;
    Watcher watcher(disk);
    const sim::Trace trace = tell(scenario, disk, watcher);
    watcher.keep();
    if (!trace.fired.empty() && !watcher.moments().empty()) MARK("durable.acknowledged_beside_a_fault");
    std::set<std::pair<std::uint64_t, int>> seen;
    sim::Decisions draws(drawn_.seed ^ 0x9e3779b97f4a7c15u);
    for (const Moment& moment : watcher.moments()) {
      for (std::size_t m = 0; m < sim::persistence_models; ++m) {
        const auto model = static_cast<sim::PersistenceModel>(m);
        for (const sim::Disk& state : crash_states(moment.disk, model, draws)) {
          ++counts_.states;
          if (!seen.emplace(state.hash(), moment.acknowledged).second) continue;
          ++counts_.loaded;
          if (auto wrong = not_there(moment, state))
            return fmt::format("{}, crash under {}: {}", describe(scenario), to_string(model), *wrong);
        }
      }
    }
    return std::nullopt;
  }

 private:
  static std::string describe(const sim::Scenario& scenario) {
    std::string text = fmt::format("seed {}", scenario.seed);
    for (const sim::Fault& fault : scenario.faults)
      text += fmt::format(", {} at door call {} of rank {}", to_string(fault.kind), fault.site.ordinal, fault.site.rank);
    return text;
  }

  sim::Trace tell(const sim::Scenario& scenario, sim::Disk& disk, Watcher& watcher) {
    states_.assign(static_cast<std::size_t>(drawn_.saved.world_size), {});
    for (auto& states : states_) states = std::vector<gen::RankState>(saves);
    sim::Scenario watched = scenario;
    watched.interceptor = &watcher;
    return sim::run(watched, disk, [&](const port::Env& env, Rank rank) { save_all(env, rank, watcher); });
  }

  void save_all(const port::Env& env, Rank rank, Watcher& watcher) {
    protocol::Session session(env, {.coordinator = drawn_.coordinator});
    for (int save = 0; save < saves; ++save) {
      const auto s = static_cast<std::size_t>(save);
      {
        const sim::tsan::Inside inside;
        watcher.began(save);
      }
      // Kept until the story is over: after a timeout in the snapshot the device may still read the tensors.
      gen::RankState& state = states_[static_cast<std::size_t>(rank.value)][s];
      state = make_state(drawn_.saved, rank, values_[s]);
      const auto saved = protocol::save(session, state.dict,
                                        {.step = saved_steps[s],
                                         .deadline = std::chrono::seconds(20),
                                         .block_bytes = drawn_.block_bytes,
                                         .retention = {.keep_last = 1 + drawn_.seed % 2}});
      if (!saved) return;
      watcher.acknowledge(save);
    }
  }

  /// Three of four stories may have faults; none flips a bit, which would be damage and no crash.
  sim::Scenario draw_scenario() {
    sim::Scenario plain;
    plain.world_size = drawn_.saved.world_size;
    plain.random_latency = false;
    plain.record_events = true;
    sim::Disk disk;
    Watcher watcher(disk);
    const sim::Trace trace = tell(plain, disk, watcher);
    std::vector<sim::SiteInStep> sites, publishing;
    for (std::size_t i = 0; i < trace.sites.size(); ++i) {
      sites.push_back({trace.sites[i], trace.record[i].step});
      if (trace.record[i].step == "6 publish" && trace.sites[i].op != std::string_view("storage.close")) publishing.push_back(sites.back());
    }
    using enum sim::FaultKind;
    sim::Scenario scenario =
        sim::random_case(sites, drawn_.seed, 0, {error_before, error_after, delay, hang, kill_rank, power_loss}).scenario;
    scenario.world_size = drawn_.saved.world_size;
    if (drawn_.seed % 2 == 0) scenario.faults.clear();
    // An error while the commit record is written must never become a success.
    if (drawn_.seed % 4 == 0 && !publishing.empty())
      scenario.faults = {{.site = publishing[drawn_.seed / 4 % publishing.size()].site.site, .kind = error_before}};
    return scenario;
  }

  /// All of a few pending operations' states; of many a few at random, from every family of a crash.
  static std::vector<sim::Disk> crash_states(const sim::Disk& disk, sim::PersistenceModel model, sim::Decisions& draws) {
    constexpr std::size_t enumerated_max = 5;
    constexpr int drawn = 4;
    if (disk.pending_operations() <= enumerated_max) return disk.crash_states(model, enumerated_max);
    std::vector<sim::Disk> states(drawn, disk);
    for (sim::Disk& state : states) state.crash(model, draws);
    return states;
  }

  std::optional<std::string> not_there(const Moment& moment, sim::Disk disk) const {
    std::optional<std::string> wrong;
    const bool recovers = disk.hash() % 2 == 0;  // as a job would; without it, as a reader
    sim::Scenario scenario;
    scenario.random_latency = false;
    const sim::Trace trace = sim::run(scenario, disk, [&](const port::Env& env, Rank rank) {
      protocol::Session session(env);
      if (recovers) {
        if (const auto recovered = protocol::recover(session); !recovered) {
          wrong = "recover: " + to_string(recovered.error());
          return;
        }
      }
      wrong = load_and_compare(session, rank, moment);
    });
    if (!trace.all_returned()) return "the loader did not return";
    return wrong;
  }

  std::optional<std::string> load_and_compare(protocol::Session& session, Rank rank, const Moment& moment) const {
    const std::string told = fmt::format("step {} was committed", saved_steps[static_cast<std::size_t>(moment.acknowledged)]);
    gen::RankState state = make_destination(reader_, rank);
    const auto loaded = protocol::load(session, state.dict, {});
    if (!loaded) return fmt::format("{}, and nothing loads: {}", told, to_string(loaded.error()));
    const auto id = plan::parse_directory_name(loaded->directory);
    const auto step = std::ranges::find(saved_steps, id ? id->step : Step{});
    const int save = static_cast<int>(step - saved_steps.begin());
    if (save == saves || save < moment.acknowledged) return fmt::format("{}, and {} is loaded", told, loaded->directory);
    if (const auto differs = difference(state, reader_, rank, values_[static_cast<std::size_t>(save)]))
      return fmt::format("{} does not hold what was saved: {}", loaded->directory, *differs);
    if (save > moment.acknowledged) MARK("durable.newer_than_acknowledged");
    if (save == moment.acknowledged && moment.saving) MARK("durable.crash_during_a_later_save");
    return std::nullopt;
  }

  const gen::DrawnCase& drawn_;
  gen::StateSpec reader_;
  Counts& counts_;
  std::vector<gen::WholeValues> values_;
  std::vector<std::vector<gen::RankState>> states_;  // what is saved, by rank and save
};

gen::Outcome check(World& /*world*/, const gen::DrawOptions& options) {
  Counts counts;
  gen::Outcome outcome = gen::for_all(options, [&](const gen::DrawnCase& drawn) { return Story(drawn, counts).check(); });
  outcome.counted = fmt::format("{} crash states, the {} different ones loaded", counts.states, counts.loaded);
  return outcome;
}

}  // namespace

std::vector<Property> durability_properties() {
  return {{"durable-after-committed",
           "S2",
           "From the moment a save has returned committed on any rank, it or a newer one loads after every crash, bit for bit.",
           {"sim"},
           check,
           {"durable.newer_than_acknowledged", "durable.crash_during_a_later_save", "durable.acknowledged_beside_a_fault"}}};
}

}  // namespace holdfast::properties

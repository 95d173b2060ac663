// S9: a job that goes back to an earlier step goes on from there. What is newest, and what retention spares, is a matter of sequence.
#include <algorithm>

#include "impl/core/mark.h"
#include "impl/format/hint.h"
#include "impl/protocol/files.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "impl/protocol/survey.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

// Saved in this order, each loaded before the next. The last one is another attempt at the first one's step.
constexpr std::array saved_steps = {Step{1000}, Step{900}, Step{1000}};

class Rewinding {
 public:
  Rewinding(World& world, const gen::DrawnCase& drawn) : world_(world), drawn_(drawn) {
    for (std::uint64_t s = 0; s < saved_steps.size(); ++s) values_.push_back(make_values(drawn.saved, drawn.seed + s));
  }

  Wrong check() {
    world_.reset();
    auto wrong = on_ranks(world_, drawn_.saved.world_size, drawn_.seed, drawn_.coordinator,
                          [&](protocol::Session& session, Rank rank) { return live(session, rank); });
    if (wrong) return wrong;
    MARK("rewind.went_back_and_on");
    return std::nullopt;
  }

 private:
  Wrong live(protocol::Session& session, Rank rank) const {
    const port::Env& env = session.env();
    std::vector<std::string> directories;
    for (std::size_t s = 0; s < saved_steps.size(); ++s) {
      const auto saved = save(session, rank, s);
      if (!saved) return fmt::format("save {}: {}", s, to_string(saved.error()));
      directories.push_back(saved->directory);
      if (rank == drawn_.coordinator) {
        if (auto wrong = unlike(env.storage, directories, env.clock.after(std::chrono::seconds(20)))) return wrong;
      }
      if (auto wrong = loads_another(session, rank, s, saved->directory)) return wrong;
    }
    return std::nullopt;
  }

  protocol::Checkpointed<protocol::Saved> save(protocol::Session& session, Rank rank, std::size_t s) const {
    gen::RankState state = make_state(drawn_.saved, rank, values_[s]);
    auto on_device = move_to_device(world_, state, session.env());
    return protocol::save(session, state.dict,
                          {.step = saved_steps[s], .block_bytes = drawn_.block_bytes, .retention = {.keep_last = 1 + drawn_.seed % 2}});
  }

  Wrong loads_another(protocol::Session& session, Rank rank, std::size_t s, const std::string& expected) const {
    gen::RankState state = make_destination(drawn_.saved, rank);
    auto on_device = move_to_device(world_, state, session.env());
    const auto loaded = protocol::load(session, state.dict, {});
    if (!loaded) return fmt::format("load after {}: {}", expected, to_string(loaded.error()));
    if (on_device) on_device->download();
    if (loaded->directory != expected) return fmt::format("{} was saved last, and {} is loaded", expected, loaded->directory);
    return difference(state, drawn_.saved, rank, values_[s]);
  }

  /// After a save the hint names it, and it and the one before are left: the newer ones, or the last verified one.
  static Wrong unlike(port::Storage& storage, const std::vector<std::string>& directories, port::Deadline deadline) {
    const auto bytes = protocol::read_file(storage, protocol::hint_name, 4096, deadline);
    const auto hint = bytes ? format::decode_hint(bytes->view()) : fail(bytes.error());
    if (!hint) return fmt::format("the hint after {}: {}", directories.back(), hint.error());
    if (*hint != directories.back()) return fmt::format("{} was saved last, and the hint names {}", directories.back(), *hint);
    const auto found = protocol::survey(storage, deadline);
    if (!found) return fmt::format("survey after {}: {}", directories.back(), found.error());
    std::vector<std::string> left;
    for (const protocol::CommittedAttempt& attempt : found->committed) left.push_back(attempt.directory);
    std::vector<std::string> expected(directories.rbegin(),
                                      directories.rbegin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(2, directories.size())));
    if (left != expected)
      return fmt::format("{} are left after {}; expected {}", fmt::join(left, ", "), directories.back(), fmt::join(expected, ", "));
    return std::nullopt;
  }

  World& world_;
  const gen::DrawnCase& drawn_;
  std::vector<gen::WholeValues> values_;
};

gen::Outcome check(World& world, const gen::DrawOptions& options) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return Rewinding(world, drawn).check(); });
}

}  // namespace

std::vector<Property> rewind_properties() {
  return {{"rewind",
           "S1 S9",
           "A job that saves step 1000, goes back and saves 900, then 1000 again, loads each as the newest, and retention goes by age.",
           in_every_world(),
           check,
           {"rewind.went_back_and_on"}}};
}

}  // namespace holdfast::properties

// S4: a bit of the newest checkpoint flips while nobody looks. It is loaded as it was saved, or an older one is; never something else.
#include <algorithm>

#include "impl/core/mark.h"
#include "impl/protocol/files.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"
#include "properties/stored_files.h"

namespace holdfast::properties {
namespace {

Status flip_a_bit(port::Storage& storage, const std::string& directory, Draw draw, port::Deadline deadline) {
  const std::vector<std::string> paths = TRY(stored_files(storage, directory, deadline));
  const std::string& path = paths[draw.below(paths.size())];
  const std::uint64_t bytes = TRY(protocol::read_file(storage, path, stored_file_bytes_max, deadline)).size();
  if (bytes == 0) return {};
  // The headers are as likely to be hit as the data, which is longer.
  const std::uint64_t within = draw.one_in(2) ? bytes : std::min<std::uint64_t>(bytes, 512);
  const std::uint64_t bit = draw.below(std::uint64_t{8});
  return flip_stored_bit(storage, path, 8 * (bytes - 1 - draw.below(within)) + bit, deadline);
}

/// The drawn state and, in some cases, a tensor that the checkpoint before the newest does not hold yet.
gen::StateSpec grown(const gen::DrawnCase& drawn) {
  gen::StateSpec spec = drawn.saved;
  if (drawn.seed % 3 == 0) spec.tensors.push_back({"added.later", DType::u8, {96}, ReplicatedLayout{}, 0});
  return spec;
}

Wrong saves_twice(protocol::Session& session, Rank rank, World& world, const gen::DrawnCase& drawn) {
  std::string newest;
  for (const std::int64_t version : {1, 2}) {
    const gen::StateSpec spec = version == 1 ? drawn.saved : grown(drawn);
    gen::RankState state = make_state(spec, rank, make_values(spec, static_cast<std::uint64_t>(version)));
    auto on_device = move_to_device(world, state, session.env());
    const auto saved = protocol::save(session, state.dict, {.step = Step{version}, .block_bytes = drawn.block_bytes});
    if (!saved) return "save: " + to_string(saved.error());
    newest = saved->directory;
  }
  if (rank != drawn.coordinator) return std::nullopt;
  const port::Env& env = session.env();
  const Status flipped = flip_a_bit(env.storage, newest, Draw(drawn.seed), env.clock.after(std::chrono::seconds(60)));
  return flipped ? Wrong() : fmt::format("flip a bit: {}", flipped.error());
}

Wrong loads_what_was_saved(protocol::Session& session, Rank rank, World& world, const gen::DrawnCase& drawn) {
  const gen::StateSpec newest = grown(drawn);
  gen::RankState state = make_destination(newest, rank);
  const std::vector<Bytes> before = state.memory;
  auto on_device = move_to_device(world, state, session.env());
  const bool streamed = Draw(drawn.seed).one_in(2);
  const auto mode = streamed ? protocol::LoadMode::streamed : protocol::LoadMode::all_or_nothing;
  const auto loaded = protocol::load(session, state.dict, {.plan = {.strict = false}, .reading = {mode, drawn.block_bytes}});
  if (on_device) on_device->download();
  if (!loaded) {
    // The one before could not replace what a streamed load may have left of the newest.
    const std::string told = to_string(loaded.error());
    if (!streamed || newest == drawn.saved || told.find("\"added.later\" may hold values of") == told.npos) return "load: " + told;
    MARK("bit_rot.could_not_fall_back");
    return std::nullopt;
  }
  const bool is_newest = loaded->skipped.empty();
  if (!is_newest) MARK("bit_rot.fell_back");
  if (!is_newest && streamed) MARK("bit_rot.fell_back_streamed");
  if (!is_newest && newest != drawn.saved && state.memory.back() != before.back())
    return loaded->directory + ": a tensor that it does not hold has other values than before";
  const gen::StateSpec& spec = is_newest ? newest : drawn.saved;
  const auto differs = difference(state, spec, rank, make_values(spec, is_newest ? 2 : 1));
  return differs ? Wrong(fmt::format("{}: {}", loaded->directory, *differs)) : Wrong();
}

Wrong check(World& world, const gen::DrawnCase& drawn) {
  world.reset();
  const auto in_job = [&](const auto& body) {
    return on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator,
                    [&](protocol::Session& session, Rank rank) { return body(session, rank, world, drawn); });
  };
  if (auto wrong = in_job(saves_twice)) return wrong;
  return in_job(loads_what_was_saved);
}

}  // namespace

std::vector<Property> bit_rot_properties() {
  const auto property = [](World& world, const gen::DrawOptions& options) {
    return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return check(world, drawn); });
  };
  return {{"bit-rot",
           "S4 S5",
           "With a flipped bit anywhere in the newest checkpoint, every rank loads it as it was saved, or every rank the one before and "
           "nothing of the newest.",
           in_every_world(),
           property,
           {"bit_rot.fell_back", "bit_rot.fell_back_streamed", "bit_rot.could_not_fall_back", "load.would_leave_values"}}};
}

}  // namespace holdfast::properties

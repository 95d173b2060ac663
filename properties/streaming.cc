// A state larger than the staging memory: saved and loaded in parts, whole, and with no more memory than was allowed.
#include "impl/core/mark.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/verify.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration patience = std::chrono::seconds(60);
constexpr std::uint64_t page = 4096;

/// The drawn job with a tensor besides that fills many pages, cut by rows in the saving job, by columns in the loading one.
gen::DrawnCase enlarged(gen::DrawnCase drawn) {
  const DType dtype = drawn.seed % 2 == 0 ? DType::f32 : DType::u8;
  for (gen::StateSpec* spec : {&drawn.saved, &drawn.loaded}) {
    ChunkLayout cut{spec == &drawn.saved ? 0 : 1, {}};
    for (int r = 0; r < spec->world_size; ++r) cut.placements.push_back(Rank{r});
    cut.placements.push_back(Rank{0});  // two boxes on one rank: two segments
    spec->tensors.push_back({"large", dtype, {160, 211}, cut, static_cast<std::int64_t>(drawn.seed % 3)});
  }
  return drawn;
}

std::uint64_t budget_of(const gen::DrawnCase& drawn) { return page * (1 + drawn.seed % 7); }

Result<std::string> save(const port::Env& env, protocol::Session& session, const gen::DrawnCase& drawn, gen::RankState& state) {
  const protocol::SaveOptions options{.step = Step{1}, .block_bytes = drawn.block_bytes, .staging_budget_bytes = budget_of(drawn)};
  const auto error = [](const CheckpointError& failed) { return fail(ErrorCode::io_error, "save: {}", to_string(failed)); };
  if (drawn.seed % 3 != 0) {
    const auto saved = protocol::save(session, state.dict, options);
    if (!saved) return error(saved.error());
    return saved->directory;
  }
  auto pending = protocol::async_save(session, state.dict, options);
  if (!pending) return error(pending.error());
  for (Bytes& memory : state.memory) std::ranges::fill(memory, std::byte{0xEE});  // the trainer goes on
  const auto outcome = pending->wait(env.clock.after(patience));
  if (!outcome) return fail(ErrorCode::timeout, "the save did not end");
  if (!*outcome) return error(outcome->error());
  return (*outcome)->directory;
}

std::optional<std::string> saves_within_budget(World& world, const port::Env& env, Rank rank, const gen::DrawnCase& drawn) {
  gen::RankState state = make_state(drawn.saved, rank, make_values(drawn.saved, drawn.seed));
  auto on_device = move_to_device(world, state, env);
  protocol::Session session(env, {.coordinator = drawn.coordinator});
  const Result<std::string> directory = save(env, session, drawn, state);
  if (!directory) return fmt::format("{}", directory.error());
  if (session.staging()->peak_bytes() > budget_of(drawn))
    return fmt::format("{} bytes of staging were held, the budget is {}", session.staging()->peak_bytes(), budget_of(drawn));
  if (rank != session.comm().coordinator()) return std::nullopt;
  const auto report = protocol::verify_attempt(env.storage, *directory, [&] { return env.clock.after(patience); });
  if (!report) return fmt::format("verify: {}", report.error());
  if (!report->findings.empty()) return fmt::format("verify: {}: {}", report->findings[0].file, report->findings[0].message);
  return std::nullopt;
}

/// What a window takes at least: a block, or those that share elements, and the pages that they may touch.
std::uint64_t smallest_window(const gen::DrawnCase& drawn) {
  const std::uint64_t blocks = drawn.block_bytes % 16 == 0 ? 1 : 16;
  return (blocks * drawn.block_bytes / page + 2) * page;
}

protocol::ReadingOptions reading_of(const gen::DrawnCase& drawn) {
  const std::uint64_t budget = std::max(page * (2 + drawn.seed % 9), smallest_window(drawn));
  return {drawn.seed % 4 == 0 ? protocol::LoadMode::all_or_nothing : protocol::LoadMode::streamed, page * (1 + drawn.seed % 3), budget};
}

std::optional<std::string> loads_in_parts(World& world, const port::Env& env, Rank rank, const gen::DrawnCase& drawn) {
  gen::RankState state = make_destination(drawn.loaded, rank);
  auto on_device = move_to_device(world, state, env);
  protocol::Session session(env, {.coordinator = drawn.load_coordinator});
  const protocol::ReadingOptions reading = reading_of(drawn);
  const auto loaded =
      protocol::load(session, state.dict,
                     {.reading = reading,
                      .staging_keep_bytes = 0,
                      .planner = std::make_shared<protocol::DefaultLoadPlanner>(plan::LoadPlanOptions{}, drawn.seed % 2 == 0 ? 0 : page)});
  if (!loaded) return "load: " + to_string(loaded.error());
  if (session.staging()->held_bytes() != 0) return fmt::format("{} bytes of staging are still held", session.staging()->held_bytes());
  const std::uint64_t peak = session.staging()->peak_bytes();
  if (reading.mode == protocol::LoadMode::streamed && peak > reading.staging_budget_bytes)
    return fmt::format("{} bytes of staging were held, the budget is {}", peak, reading.staging_budget_bytes);
  if (on_device) on_device->download();
  return difference(state, drawn.loaded, rank, make_values(drawn.saved, drawn.seed));
}

std::optional<std::string> streams(World& world, const gen::DrawnCase& small) {
  const gen::DrawnCase drawn = enlarged(small);
  world.reset();
  auto wrong = on_ranks(world, drawn.saved.world_size, drawn.seed,
                        [&](const port::Env& env, Rank rank) { return saves_within_budget(world, env, rank, drawn); });
  if (wrong) return wrong;
  return on_ranks(world, drawn.loaded.world_size, drawn.seed + 1,
                  [&](const port::Env& env, Rank rank) { return loads_in_parts(world, env, rank, drawn); });
}

}  // namespace

std::vector<Property> streaming_properties() {
  return {{"streaming",
           "S4 S6 S7",
           "A state larger than the staging budget is saved whole within it, verifies, and loads under any other layouts, streamed within "
           "a budget, too.",
           in_every_world(),
           [](World& world, const gen::DrawOptions& options) {
             return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return streams(world, drawn); });
           },
           {"segment_write.streamed", "segment_write.writers", "staging.tensor_in_parts", "staging_pool.waited", "staging_pool.reused",
            "segment_load.read_ahead", "segment_load.item_in_parts", "segment_load.streamed"}}};
}

}  // namespace holdfast::properties

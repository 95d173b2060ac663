#include "properties/job.h"

#include "impl/protocol/segment_reader.h"
#include "impl/protocol/segment_writer.h"
#include "properties/device_state.h"

namespace holdfast::properties {
namespace {

template <typename Report>
std::optional<std::string> first_trouble(const Report& report) {
  if (!report.problems.empty()) return report.problems.front();
  for (std::size_t r = 0; r < report.errors.size(); ++r) {
    if (report.errors[r]) return fmt::format("rank {}: {}", r, to_string(*report.errors[r]));
  }
  return std::nullopt;
}

}  // namespace

SaveReport save_job(World& world, const gen::StateSpec& spec, const gen::WholeValues& values, const JobOptions& options) {
  SaveReport report;
  report.errors.resize(static_cast<std::size_t>(spec.world_size));
  std::vector<std::string> directories(report.errors.size());
  report.problems = world.run(spec.world_size, options.seed, [&](const port::Env& env, Rank rank) {
    const auto r = static_cast<std::size_t>(rank.value);
    gen::RankState state = make_state(spec, rank, values);
    auto on_device = move_to_device(world, state, env);
    protocol::Session session(env, {.coordinator = options.coordinator, .no_dist = options.no_dist});
    std::shared_ptr<protocol::SegmentWriter> ordinary;
    std::shared_ptr<protocol::StorageWriter> wrapped;
    if (options.writer) {
      ordinary = std::make_shared<protocol::SegmentWriter>(env, session.staging(),
                                                           protocol::SegmentWriterOptions{options.step, options.block_bytes, {}});
      wrapped = options.writer(env, rank, ordinary);
    }
    const auto saved = protocol::save(session, state.dict, {.step = options.step, .block_bytes = options.block_bytes, .writer = wrapped});
    if (!saved) report.errors[r] = saved.error();
    if (saved) directories[r] = wrapped ? ordinary->ticket().directory : saved->directory;
  });
  for (const std::string& directory : directories) {
    if (!directory.empty()) report.directory = directory;
  }
  return report;
}

LoadReport load_job(World& world, const gen::StateSpec& spec, const gen::WholeValues& values, const JobOptions& options) {
  LoadReport report;
  report.errors.resize(static_cast<std::size_t>(spec.world_size));
  report.differences.resize(report.errors.size());
  std::vector<std::string> directories(report.errors.size());
  report.problems = world.run(spec.world_size, options.seed, [&](const port::Env& env, Rank rank) {
    const auto r = static_cast<std::size_t>(rank.value);
    gen::RankState state = make_destination(spec, rank);
    auto on_device = move_to_device(world, state, env);
    protocol::Session session(env, {.coordinator = options.coordinator, .no_dist = options.no_dist});
    std::shared_ptr<protocol::StorageReader> wrapped;
    if (options.reader)
      wrapped = options.reader(env, rank, std::make_shared<protocol::SegmentReader>(env, session.staging(), options.directory));
    const auto loaded = protocol::load(session, state.dict, {.reader = wrapped});
    if (!loaded) report.errors[r] = loaded.error();
    if (loaded) directories[r] = loaded->directory;
    if (on_device) on_device->download();
    report.differences[r] = loaded ? difference(state, spec, rank, values) : touched(state, spec, rank);
  });
  for (const std::string& directory : directories) {
    if (!directory.empty()) report.directory = directory;
  }
  return report;
}

std::optional<std::string> not_saved(const SaveReport& report) { return first_trouble(report); }

std::optional<std::string> not_loaded(const LoadReport& report) {
  if (auto trouble = first_trouble(report)) return trouble;
  for (const auto& difference : report.differences) {
    if (difference) return difference;
  }
  return std::nullopt;
}

}  // namespace holdfast::properties

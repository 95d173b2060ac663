#include "properties/job.h"

#include "impl/core/check.h"
#include "impl/core/encoding.h"
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

/// How one rank's part of a save or load ended.
struct RankEnded {
  std::optional<CheckpointError> error;
  std::string directory;                  ///< of a success
  std::optional<std::string> difference;  ///< of a load
};

template <typename T>
RankEnded ended(const protocol::Checkpointed<T>& outcome) {
  if (!outcome) return {outcome.error(), "", {}};
  return {{}, outcome->directory, {}};
}

Bytes encode(const RankEnded& rank) {
  Encoder out;
  out.u8(rank.error ? 1 : 0);
  if (rank.error) {
    out.text(rank.error->step);
    out.u8(static_cast<std::uint8_t>(rank.error->outcome));
    rank.error->failures.encode(out);
    out.varint(rank.error->lost.size());
    for (const Rank lost : rank.error->lost) out.signed_varint(lost.value);
  }
  out.text(rank.directory);
  out.u8(rank.difference ? 1 : 0);
  if (rank.difference) out.text(*rank.difference);
  return out.take();
}

Result<RankEnded> decode(ByteView bytes) {
  Decoder in(bytes, "how a rank ended");
  RankEnded rank;
  if (TRY(in.u8()) != 0) {
    CheckpointError& error = rank.error.emplace();
    error.step = TRY(in.text());
    error.outcome = static_cast<Outcome>(TRY(in.u8()));
    error.failures = TRY(FailureMap::decode(in));
    for (std::size_t left = TRY(in.count(1)); left > 0; --left)
      error.lost.push_back(Rank{static_cast<std::int32_t>(TRY(in.signed_varint()))});
  }
  rank.directory = TRY(in.text());
  if (TRY(in.u8()) != 0) rank.difference = TRY(in.text());
  TRY(in.finish());
  return rank;
}

/// By rank; of one that did not come back, which is among the problems, nothing.
std::vector<RankEnded> all_ended(const WorldRun& run) {
  std::vector<RankEnded> all;
  for (const Bytes& result : run.results) {
    const auto rank = result.empty() ? RankEnded() : decode(result);
    CHECK(rank.has_value(), "{}", rank.error());
    all.push_back(*rank);
  }
  return all;
}

}  // namespace

SaveReport save_job(World& world, const gen::StateSpec& spec, const gen::WholeValues& values, const JobOptions& options) {
  WorldRun run = world.run(spec.world_size, options.seed, [&](const port::Env& env, Rank rank) {
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
    RankEnded rank_ended = ended(saved);
    if (saved && wrapped) rank_ended.directory = ordinary->ticket().directory;
    return encode(rank_ended);
  });
  SaveReport report;
  for (RankEnded& rank : all_ended(run)) {
    if (!rank.directory.empty()) report.directory = rank.directory;
    report.errors.push_back(std::move(rank.error));
  }
  report.problems = std::move(run.problems);
  return report;
}

LoadReport load_job(World& world, const gen::StateSpec& spec, const gen::WholeValues& values, const JobOptions& options) {
  WorldRun run = world.run(spec.world_size, options.seed, [&](const port::Env& env, Rank rank) {
    gen::RankState state = make_destination(spec, rank);
    auto on_device = move_to_device(world, state, env);
    protocol::Session session(env, {.coordinator = options.coordinator, .no_dist = options.no_dist});
    std::shared_ptr<protocol::StorageReader> wrapped;
    if (options.reader)
      wrapped = options.reader(env, rank, std::make_shared<protocol::SegmentReader>(env, session.staging(), options.directory));
    const auto loaded = protocol::load(session, state.dict, {.reader = wrapped});
    RankEnded rank_ended = ended(loaded);
    if (on_device) on_device->download();
    rank_ended.difference = loaded ? difference(state, spec, rank, values) : touched(state, spec, rank);
    return encode(rank_ended);
  });
  LoadReport report;
  for (RankEnded& rank : all_ended(run)) {
    if (!rank.directory.empty()) report.directory = rank.directory;
    report.errors.push_back(std::move(rank.error));
    report.differences.push_back(std::move(rank.difference));
  }
  report.problems = std::move(run.problems);
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

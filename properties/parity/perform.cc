#include "properties/parity/perform.h"

#include <algorithm>

#include "impl/format/hint.h"
#include "impl/protocol/files.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/segment_reader.h"
#include "impl/protocol/segment_writer.h"
#include "impl/protocol/survey.h"
#include "impl/protocol/verify.h"
#include "properties/device_state.h"
#include "properties/doubles.h"
#include "properties/stored_files.h"

namespace holdfast::properties::parity {
namespace {

using Json = nlohmann::json;

constexpr port::Duration patience = std::chrono::seconds(60);
constexpr std::byte let_go{0x5C};

std::string text(const Json& json) { return json.dump(-1, ' ', true, Json::error_handler_t::replace); }

Json json_of(const Error& error) { return {{"code", to_string(error.code)}, {"message", error.message}}; }

Json json_of(const CheckpointError& error) {
  Json ranks = Json::object(), lost = Json::array();
  for (const Rank rank : error.failures.ranks()) ranks[fmt::format("{}", rank)] = json_of(*error.failures.find(rank));
  for (const Rank rank : error.lost) lost.push_back(rank.value);
  return {{"step", error.step}, {"outcome", to_string(error.outcome)}, {"ranks", std::move(ranks)}, {"lost", std::move(lost)}};
}

template <typename T>
Json told(Result<T> value) {
  return value ? Json(*std::move(value)) : Json{{"error", json_of(value.error())}};
}

/// Of the whole tensors and values: what any job holds of them in all.
Json digests_of(const gen::StateSpec& state, gen::WholeValues& values) {
  Json digests = Json::object();
  for (const gen::TensorSpec& tensor : state.tensors) {
    const StridedBlock block = packed_block(values.tensors.at(tensor.name).data(), tensor.shape, size_bytes(tensor.dtype));
    digests[tensor.name] = to_string(tensor_digest(block, whole(tensor.shape), tensor.shape, tensor.dtype));
  }
  for (const gen::ValueSpec& value : state.values) digests[value.name] = to_string(block_digest(values.values.at(value.name)));
  return digests;
}

/// One rank's part of them: a list of [name, box, lane, lane], or of [name, digest] for a byte value.
Json held_by(const gen::RankState& state) {
  Json held = Json::array();
  for (const auto& [name, entry] : state.dict.entries()) {
    if (const auto* value = std::get_if<BytesEntry>(&entry)) {
      held.push_back({name, to_string(block_digest(value->value))});
      continue;
    }
    const auto& tensor = std::get<TensorEntry>(entry);
    for (const LocalShard& shard : tensor.shards) {
      const TensorDigest digest = tensor_digest(shard.memory, shard.box, tensor.shape, tensor.dtype);
      held.push_back({name, to_string(shard.box), digest.lanes[0], digest.lanes[1]});
    }
  }
  return held;
}

/// What the ranks of a job hold in all. A box that several ranks hold counts once, and they must agree.
class Held {
 public:
  explicit Held(const gen::StateSpec& state) {
    for (const gen::TensorSpec& tensor : state.tensors) sums_[tensor.name] = {};
  }

  void add(const Json& held, std::size_t rank) {
    for (const Json& part : held) {
      const auto [known, first] = parts_.emplace(std::pair(part[0].get<std::string>(), part[1].get<std::string>()), part);
      if (part.size() == 2) {
        add_value(part, rank);
      } else if (first) {
        sums_[known->first.first] += TensorDigest{{part[2].get<std::uint64_t>(), part[3].get<std::uint64_t>()}};
      } else if (known->second != part) {
        conflicts_.push_back(
            fmt::format("rank {} holds other bytes of \"{}\" {} than a rank before it", rank, known->first.first, known->first.second));
      }
    }
  }

  void tell(Json& act) && {
    Json digests = std::move(values_);
    for (const auto& [name, sum] : sums_) digests[name] = to_string(sum);
    act["digests"] = std::move(digests);
    if (!conflicts_.empty()) act["conflicts"] = std::move(conflicts_);
  }

 private:
  void add_value(const Json& part, std::size_t rank) {
    const auto name = part[0].get<std::string>();
    if (!values_.contains(name)) values_[name] = part[1];
    if (values_[name] != part[1]) conflicts_.push_back(fmt::format("rank {} holds another value \"{}\" than a rank before it", rank, name));
  }

  std::map<std::pair<std::string, std::string>, Json> parts_;
  std::map<std::string, TensorDigest> sums_;
  Json values_ = Json::object();
  std::vector<std::string> conflicts_;
};

/// An asynchronous save, whose tensors go away as soon as it lets them.
protocol::Checkpointed<protocol::Saved> save_beside(protocol::Session& session, gen::RankState& state,
                                                    std::optional<DeviceState>& on_device, const protocol::SaveOptions& options) {
  auto pending = protocol::async_save(session, state.dict, options);
  if (!pending) return tl::unexpected(std::move(pending).error());
  on_device.reset();
  for (Bytes& memory : state.memory) std::ranges::fill(memory, let_go);
  if (auto outcome = pending->wait(session.env().clock.after(patience))) return *std::move(outcome);
  return tl::unexpected(CheckpointError{"pending", Outcome::unknown, {}, {}});
}

Json attempts(const std::vector<plan::AttemptId>& ids) {
  Json names = Json::array();
  for (const plan::AttemptId id : ids) names.push_back(plan::directory_name(id));
  return names;
}

Result<Json> survey_of(port::Storage& storage, port::Deadline deadline) {
  const protocol::Survey found = TRY(protocol::survey(storage, deadline));
  Json committed = Json::array(), damaged = Json::object();
  for (const protocol::CommittedAttempt& attempt : found.committed)
    committed.push_back({{"directory", attempt.directory}, {"sequence", attempt.committed.sequence}});
  for (const protocol::DamagedAttempt& attempt : found.damaged) damaged[attempt.directory] = json_of(attempt.error);
  Json json = {{"newest", found.committed.empty() ? "none" : found.committed.front().directory},
               {"committed", std::move(committed)},
               {"damaged", std::move(damaged)},
               {"uncommitted", attempts(found.uncommitted)}};
  const auto hint = protocol::read_file(storage, protocol::hint_name, 4096, deadline);
  const bool none = !hint && hint.error().code == ErrorCode::not_found;
  json["hint"] = none ? Json("none") : told(format::decode_hint(TRY(hint).view()));
  return json;
}

Result<Json> findings_of(const port::Env& env) {
  const auto deadline = [&] { return env.clock.after(patience); };
  const protocol::VerifyReport report = TRY(protocol::verify_all(env.storage, deadline));
  Json findings = Json::array();
  for (const protocol::Finding& finding : report.findings) findings.push_back({{"file", finding.file}, {"message", finding.message}});
  return Json{{"findings", std::move(findings)}, {"files", report.files}, {"bytes", report.bytes}, {"tensors", report.tensors}};
}

Result<Json> damage_of(const port::Env& env, const DamageAct& act, const std::string& directory) {
  const port::Deadline deadline = env.clock.after(patience);
  std::string path = act.file;
  if (path.empty()) {
    const std::vector<std::string> paths = TRY(stored_files(env.storage, directory, deadline));
    if (paths.empty()) return fail(ErrorCode::not_found, "there is no file to damage in \"{}\"", directory);
    path = paths[act.number % paths.size()];
  }
  const auto stored = protocol::read_file(env.storage, path, stored_file_bytes_max, deadline);
  if (!stored && stored.error().code == ErrorCode::not_found)  // in our words: each storage has its own
    return fail(ErrorCode::not_found, "there is no file \"{}\" to damage", path);
  const std::uint64_t bytes = TRY(stored).size();
  if (bytes == 0) return fail(ErrorCode::not_found, "\"{}\" has no byte to damage", path);
  const std::uint64_t bit = act.bit % (8 * bytes);
  TRY(flip_stored_bit(env.storage, path, bit, deadline));
  return Json{{"damaged", path}, {"bit", bit}};
}

Result<Json> files_of(const port::Env& env) {
  const port::Deadline deadline = env.clock.after(patience);
  Json files = Json::object();
  for (const std::string& path : TRY(stored_files(env.storage, "", deadline))) {
    const SharedBytes bytes = TRY(protocol::read_file(env.storage, path, stored_file_bytes_max, deadline));
    files[path] = {{"bytes", bytes.size()}, {"digest", to_string(block_digest(bytes.view()))}};
  }
  return files;
}

class Stage {
 public:
  Stage(const Scenario& scenario, World& world) : scenario_(scenario), world_(world) { world_.reset(); }

  Json perform(const Act& act) {
    Json json = std::visit([&](const auto& of_kind) { return play(of_kind); }, act);
    json["act"] = to_string(act);
    Json stored = on_ranks(1, [](const port::Env& env, Rank) { return told(files_of(env)); });
    json["files"] = std::move(stored["ranks"][0]);
    for (Json& problem : stored["problems"]) json["problems"].push_back(std::move(problem));
    return json;
  }

 private:
  /// What each rank tells, and the world's complaints. Null of a rank that did not come back.
  Json on_ranks(int ranks, const std::function<Json(const port::Env&, Rank)>& body) {
    const WorldRun run = world_.run(ranks, scenario_.seed + runs_++,
                                    [&](const port::Env& env, Rank rank) { return to_bytes(as_bytes(text(body(env, rank)))); });
    Json all = Json::array();
    for (const Bytes& result : run.results) all.push_back(result.empty() ? Json() : Json::parse(as_text(result), nullptr, false));
    return {{"ranks", std::move(all)}, {"problems", run.problems}};
  }

  const Job& job(const std::string& name) const { return scenario_.jobs.at(name); }

  Json play(const SaveAct& act) {
    const Job& saving = job(act.job);
    gen::WholeValues values = make_values(saving.state, act.version);
    Json json = on_ranks(saving.state.world_size, [&](const port::Env& env, Rank rank) { return save(env, rank, act, saving, values); });
    for (const Json& rank : json["ranks"]) {
      if (rank.is_object() && rank.contains("committed")) last_ = rank["committed"].get<std::string>();
    }
    json["digests"] = digests_of(saving.state, values);
    return json;
  }

  Json save(const port::Env& env, Rank rank, const SaveAct& act, const Job& saving, const gen::WholeValues& values) const {
    gen::RankState state = make_state(saving.state, rank, values);
    auto on_device = move_to_device(world_, state, env);
    protocol::Session session(env, {.coordinator = saving.coordinator});
    protocol::SaveOptions options{.step = act.step, .block_bytes = scenario_.block_bytes};
    std::shared_ptr<protocol::SegmentWriter> inner;
    if (act.fails) {
      inner = std::make_shared<protocol::SegmentWriter>(env, session.staging(),
                                                        protocol::SegmentWriterOptions{act.step, scenario_.block_bytes, {}});
      options.writer = std::make_shared<FaultyWriter>(inner, FaultyRank{rank, {*act.fails}, &env.tasks});
    }
    const auto saved = act.async ? save_beside(session, state, on_device, options) : protocol::save(session, state.dict, options);
    if (!saved) return {{"failed", json_of(saved.error())}};
    return {
        {"committed", inner ? inner->ticket().directory : saved->directory}, {"sequence", saved->sequence}, {"warnings", saved->warnings}};
  }

  Json play(const LoadAct& act) {
    const Job& loading = job(act.job);
    Json json = on_ranks(loading.state.world_size, [&](const port::Env& env, Rank rank) { return load(env, rank, act, loading); });
    Held held(loading.state);
    bool whole = true;
    for (std::size_t rank = 0; rank < json["ranks"].size(); ++rank) {
      Json& told = json["ranks"][rank];
      if (!told.is_object() || !told.contains("held")) {
        whole = false;
        continue;
      }
      held.add(told["held"], rank);
      told.erase("held");
    }
    if (whole) std::move(held).tell(json);
    return json;
  }

  Json load(const port::Env& env, Rank rank, const LoadAct& act, const Job& loading) const {
    gen::RankState state = make_destination(loading.state, rank);
    auto on_device = move_to_device(world_, state, env);
    protocol::Session session(env, {.coordinator = loading.coordinator});
    protocol::LoadOptions options{.reading = {act.mode, scenario_.block_bytes}};
    if (act.fails) {
      auto inner = std::make_shared<protocol::SegmentReader>(env, session.staging(), last_, options.reading);
      options.reader = std::make_shared<FaultyReader>(std::move(inner), FaultyRank{rank, {*act.fails}, &env.tasks});
    }
    const auto loaded = protocol::load(session, state.dict, options);
    if (on_device) on_device->download();
    Json json;
    if (loaded) {
      json = {{"loaded", act.fails ? last_ : loaded->directory}, {"skipped", loaded->skipped}};
    } else {
      json = {{"failed", json_of(loaded.error())}};
    }
    // A streamed load that fails leaves as much as it had moved by then: time decides.
    if (loaded || act.mode == protocol::LoadMode::all_or_nothing) json["held"] = held_by(state);
    return json;
  }

  Json play(const DamageAct& act) {
    return on_ranks(1, [&](const port::Env& env, Rank) { return told(damage_of(env, act, last_)); });
  }

  Json play(const LatestAct& /*act*/) {
    return on_ranks(1, [](const port::Env& env, Rank) { return told(survey_of(env.storage, env.clock.after(patience))); });
  }

  Json play(const VerifyAct& /*act*/) {
    return on_ranks(1, [](const port::Env& env, Rank) { return told(findings_of(env)); });
  }

  const Scenario& scenario_;
  World& world_;
  std::string last_;  ///< directory of the checkpoint that was committed last
  std::uint64_t runs_ = 0;
};

}  // namespace

Json perform(const Scenario& scenario, World& world) {
  Stage stage(scenario, world);
  Json acts = Json::array();
  for (const Act& act : scenario.acts) acts.push_back(stage.perform(act));
  return {{"scenario", to_json(scenario)}, {"acts", std::move(acts)}};
}

}  // namespace holdfast::properties::parity

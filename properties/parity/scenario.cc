#include "properties/parity/scenario.h"

#include <algorithm>

#include "impl/spec/json.h"
#include "properties/gen/layout_file.h"
#include "properties/parity/layout_json.h"

namespace holdfast::properties::parity {
namespace {

using Json = nlohmann::json;
using spec::JsonAt;

constexpr std::string_view format_name = "holdfast.parity.scenario";
constexpr std::int64_t value_bytes_max = 1 << 20;
constexpr std::int64_t row_gap_max = 1 << 10;
constexpr std::int64_t seed_max = std::int64_t{1} << 62;

/// Memory that is named to see whether a layout fits, and never touched.
std::byte* nowhere() { return reinterpret_cast<std::byte*>(std::uintptr_t{4096}); }

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

// Writing.

Json dims_json(const Dims& dims) { return std::vector<std::int64_t>(dims.begin(), dims.end()); }

Json job_json(const Job& job) {
  Json layouts = Json::object();
  for (const gen::TensorSpec& tensor : job.state.tensors) {
    Json& layout = layouts[tensor.name] = to_json(tensor.layout);
    if (tensor.row_gap > 0) layout["row_gap"] = tensor.row_gap;
  }
  return {{"ranks", job.state.world_size}, {"coordinator", job.coordinator.value}, {"layouts", std::move(layouts)}};
}

void add_fault(Json& act, const std::optional<model::InjectedFault>& fault) {
  if (!fault) return;
  std::vector<std::int64_t> ranks;
  for (const Rank rank : fault->ranks) ranks.push_back(rank.value);
  act["fails"] = {{"hook", model::to_string(fault->hook)}, {"ranks", ranks}};
}

Json json_of(const SaveAct& save) {
  Json json = {{"act", save.async ? "async_save" : "save"}, {"job", save.job}, {"step", save.step.value}, {"version", save.version}};
  add_fault(json, save.fails);
  return json;
}

Json json_of(const LoadAct& load) {
  Json json = {{"act", "load"}, {"job", load.job}};
  if (load.mode == protocol::LoadMode::streamed) json["streamed"] = true;
  add_fault(json, load.fails);
  return json;
}

Json json_of(const DamageAct& damage) {
  Json json = {{"act", "damage"}, {"bit", damage.bit}};
  if (damage.file.empty()) {
    json["number"] = damage.number;
  } else {
    json["file"] = damage.file;
  }
  return json;
}

Json json_of(const LatestAct& /*act*/) { return {{"act", "latest"}}; }
Json json_of(const VerifyAct& /*act*/) { return {{"act", "verify"}}; }

// Reading.

/// The members of an object, each named "<where>: <what> "name"".
Result<std::vector<std::pair<std::string, JsonAt>>> members(const JsonAt& json, const char* key, std::string_view what) {
  if (!json.has(key) || !json.json()[key].is_object()) return json.wrong(key, "an object");
  std::vector<std::pair<std::string, JsonAt>> all;
  for (const auto& [name, value] : json.json()[key].items())
    all.emplace_back(name, JsonAt(value, fmt::format("{}: {} \"{}\"", json.where(), what, name)));
  return all;
}

Result<gen::TensorSpec> tensor_of(const std::string& name, const JsonAt& json) {
  TRY(check_members(json, {"dtype", "shape"}));
  const std::vector<std::int64_t> shape = TRY(bounded_numbers(json, "shape", 0));
  gen::TensorSpec tensor{name, TRY(json.dtype("dtype")), Dims(shape.begin(), shape.end()), ReplicatedLayout{}, 0};
  const auto elements = checked_volume({tensor.shape.data(), tensor.shape.size()});
  if (!elements || static_cast<std::uint64_t>(*elements) > job_bytes_max)
    return json.wrong("shape", fmt::format("at most {} elements", job_bytes_max));
  return tensor;
}

/// Tensors and values, as every job holds them.
Result<gen::StateSpec> state_of(const JsonAt& scenario) {
  gen::StateSpec state;
  for (const auto& [name, tensor] : TRY(members(scenario, "tensors", "tensor"))) state.tensors.push_back(TRY(tensor_of(name, tensor)));
  const JsonAt values = TRY(scenario.at("values")).named(scenario.where() + ": values");
  for (const auto& [name, unused] : TRY(members(scenario, "values", "value")))
    state.values.push_back({name, static_cast<std::uint32_t>(TRY(number_between(values, name.c_str(), 0, value_bytes_max)))});
  if (logical_bytes(state) > job_bytes_max)
    return fail(ErrorCode::invalid_argument, "{}: its tensors and values have {} bytes; expected at most {}", scenario.where(),
                logical_bytes(state), job_bytes_max);
  return state;
}

/// Errors: invalid_argument where a rank cannot hold its part.
Status check_fits(const gen::StateSpec& state, const std::string& where) {
  for (Rank rank; rank.value < state.world_size; ++rank.value) {
    StateDict dict;
    for (const gen::TensorSpec& tensor : state.tensors) {
      if (const auto* rule = std::get_if<MeshLayout>(&tensor.layout)) {
        const Status fits = check(*rule, tensor.shape, state.world_size);
        if (!fits) return fail(within(fits.error(), "{}: tensor \"{}\"", where, tensor.name));
      }
      const Status added = dict.add(tensor.name, nowhere(), tensor.dtype, tensor.shape, tensor.layout, rank);
      if (!added) return fail(within(added.error(), "{}: rank {}", where, rank));
    }
    for (const gen::ValueSpec& value : state.values) {
      if (const Status added = dict.add_bytes(value.name, {}); !added) return fail(within(added.error(), "{}", where));
    }
  }
  return {};
}

Result<Job> job_of(const JsonAt& json, const gen::StateSpec& state) {
  TRY(check_members(json, {"ranks", "coordinator", "layouts"}));
  Job job{{}, state};
  job.state.world_size = static_cast<int>(TRY(number_between(json, "ranks", 1, ranks_max)));
  job.coordinator = Rank{static_cast<std::int32_t>(TRY(number_between(json, "coordinator", 0, job.state.world_size - 1)))};
  const auto layouts = TRY(members(json, "layouts", "layout of"));
  for (const auto& [name, layout] : layouts) {
    const auto tensor = std::ranges::find(job.state.tensors, name, &gen::TensorSpec::name);
    if (tensor == job.state.tensors.end()) return fail(ErrorCode::invalid_argument, "{}: there is no such tensor", layout.where());
    Json bare = layout.json();
    if (layout.has("row_gap")) {
      tensor->row_gap = TRY(number_between(layout, "row_gap", 0, row_gap_max));
      bare.erase("row_gap");
    }
    tensor->layout = TRY(layout_from_json(JsonAt(bare, layout.where()), job.state.world_size));
  }
  if (layouts.size() != state.tensors.size())
    return json.wrong("layouts", fmt::format("a layout for each of the {} tensors", state.tensors.size()));
  TRY(check_fits(job.state, json.where()));
  return job;
}

Result<model::InjectedFault> fault_of(const JsonAt& json, model::Operation operation, int ranks) {
  TRY(check_members(json, {"hook", "ranks"}));
  const std::string name = TRY(json.text("hook"));
  const auto hooks = model::hooks_of(operation);
  const auto hook = std::ranges::find_if(hooks, [&](model::Hook known) { return model::to_string(known) == name; });
  if (hook == hooks.end()) {
    std::vector<std::string_view> known;
    for (const model::Hook each : hooks) known.push_back(model::to_string(each));
    return json.wrong("hook", fmt::format("{}", fmt::join(known, ", ")));
  }
  model::InjectedFault fault{*hook, {}};
  for (const std::int64_t rank : TRY(bounded_numbers(json, "ranks", 0))) {
    if (rank >= ranks) return json.wrong("ranks", fmt::format("ranks below {}", ranks));
    fault.ranks.push_back(Rank{static_cast<std::int32_t>(rank)});
  }
  return fault;
}

class ActReader {
 public:
  ActReader(const JsonAt& json, const std::map<std::string, Job>& jobs) : json_(json), jobs_(jobs) {}

  Result<Act> read() const {
    const std::string kind = TRY(json_.text("act"));
    if (kind == "save" || kind == "async_save") return save(kind == "async_save");
    if (kind == "load") return load();
    if (kind == "damage") return damage();
    if (kind != "latest" && kind != "verify") return json_.wrong("act", "save, async_save, load, damage, latest or verify");
    TRY(check_members(json_, {"act"}));
    return kind == "latest" ? Act(LatestAct{}) : Act(VerifyAct{});
  }

 private:
  Result<Act> save(bool async) const {
    TRY(check_members(json_, {"act", "job", "step", "version", "fails"}));
    return SaveAct{.job = TRY(job()),
                   .step = Step{TRY(json_.number("step", 0))},
                   .version = static_cast<std::uint64_t>(TRY(json_.number("version", 0))),
                   .async = async,
                   .fails = TRY(fails(model::Operation::save))};
  }

  Result<Act> load() const {
    TRY(check_members(json_, {"act", "job", "streamed", "fails"}));
    LoadAct load{.job = TRY(job()), .fails = TRY(fails(model::Operation::load))};
    if (!json_.has("streamed")) return load;
    if (!json_.json()["streamed"].is_boolean()) return json_.wrong("streamed", "true or false");
    if (json_.json()["streamed"].get<bool>()) load.mode = protocol::LoadMode::streamed;
    return load;
  }

  Result<Act> damage() const {
    TRY(check_members(json_, {"act", "file", "number", "bit"}));
    if (json_.has("file") == json_.has("number")) return json_.wrong("file", "either that or \"number\"");
    DamageAct damage{.bit = static_cast<std::uint64_t>(TRY(json_.number("bit", 0)))};
    if (json_.has("number")) {
      damage.number = static_cast<std::uint64_t>(TRY(json_.number("number", 0)));
      return damage;
    }
    damage.file = TRY(json_.text("file"));
    if (damage.file.empty() || damage.file.starts_with('/') || damage.file.find("..") != std::string::npos)
      return json_.wrong("file", "a path below the folder of checkpoints");
    return damage;
  }

  Result<std::string> job() const {
    std::string name = TRY(json_.text("job"));
    if (jobs_.contains(name)) return name;
    std::vector<std::string> known;
    for (const auto& [job, unused] : jobs_) known.push_back(job);
    return json_.wrong("job", fmt::format("one of the jobs: {}", fmt::join(known, ", ")));
  }

  Result<std::optional<model::InjectedFault>> fails(model::Operation operation) const {
    if (!json_.has("fails")) return std::nullopt;
    const int ranks = jobs_.at(TRY(job())).state.world_size;
    return TRY(fault_of(TRY(json_.at("fails")).named(json_.where() + ": fails"), operation, ranks));
  }

  const JsonAt& json_;
  const std::map<std::string, Job>& jobs_;
};

std::string while_failing(const std::optional<model::InjectedFault>& fault) {
  return fault ? fmt::format(", while {} fails on {}", model::to_string(fault->hook),
                             fault->ranks.empty() ? "no rank" : rank_text(fault->ranks))
               : "";
}

}  // namespace

std::string to_string(const Act& act) {
  return std::visit(
      Overloaded{[](const SaveAct& save) {
                   return fmt::format("{} step {} of {}, version {}{}", save.async ? "async_save" : "save", save.step, save.job,
                                      save.version, while_failing(save.fails));
                 },
                 [](const LoadAct& load) {
                   return fmt::format("load into {}{}{}", load.job, load.mode == protocol::LoadMode::streamed ? ", streamed" : "",
                                      while_failing(load.fails));
                 },
                 [](const DamageAct& damage) {
                   return damage.file.empty() ? fmt::format("flip bit {} of file {} of the last checkpoint", damage.bit, damage.number)
                                              : fmt::format("flip bit {} of {}", damage.bit, damage.file);
                 },
                 [](const LatestAct&) { return std::string("latest"); }, [](const VerifyAct&) { return std::string("verify"); }},
      act);
}

Json to_json(const Scenario& scenario) {
  Json tensors = Json::object(), values = Json::object(), jobs = Json::object(), acts = Json::array();
  for (const auto& [name, job] : scenario.jobs) {
    jobs[name] = job_json(job);
    for (const gen::TensorSpec& tensor : job.state.tensors)
      tensors[tensor.name] = {{"dtype", to_string(tensor.dtype)}, {"shape", dims_json(tensor.shape)}};
    for (const gen::ValueSpec& value : job.state.values) values[value.name] = value.bytes;
  }
  for (const Act& act : scenario.acts) acts.push_back(std::visit([](const auto& of_kind) { return json_of(of_kind); }, act));
  return {{"format", format_name},
          {"version", scenario_version},
          {"name", scenario.name},
          {"seed", scenario.seed},
          {"block_bytes", scenario.block_bytes},
          {"tensors", std::move(tensors)},
          {"values", std::move(values)},
          {"jobs", std::move(jobs)},
          {"acts", std::move(acts)}};
}

Result<Scenario> scenario_from_json(const Json& json, const std::string& where) {
  const JsonAt at(json, where);
  if (TRY(at.text("format")) != format_name) return at.wrong("format", fmt::format("\"{}\"", format_name));
  if (const std::int64_t version = TRY(at.number("version", 1)); version != scenario_version)
    return fail(ErrorCode::unsupported, "{}: it is of version {}; expected {}", where, version, scenario_version);
  TRY(check_members(at, {"format", "version", "name", "about", "seed", "block_bytes", "tensors", "values", "jobs", "acts"}));
  Scenario scenario;
  scenario.name = TRY(at.text("name"));
  scenario.seed = static_cast<std::uint64_t>(TRY(number_between(at, "seed", 0, seed_max)));
  scenario.block_bytes = static_cast<std::uint32_t>(TRY(number_between(at, "block_bytes", 1, number_max)));
  const gen::StateSpec state = TRY(state_of(at));
  for (const auto& [name, job] : TRY(members(at, "jobs", "job"))) scenario.jobs.emplace(name, TRY(job_of(job, state)));
  if (scenario.jobs.empty()) return at.wrong("jobs", "one job at least");
  for (const JsonAt& act : TRY(at.list("acts", "act"))) scenario.acts.push_back(TRY(ActReader(act, scenario.jobs).read()));
  return scenario;
}

Result<Scenario> read_scenario(const std::string& path) {
  const std::string where = fmt::format("scenario \"{}\"", path);
  return scenario_from_json(TRY(spec::parse_json(TRY(gen::read_text_file(path)), where)), where);
}

}  // namespace holdfast::properties::parity

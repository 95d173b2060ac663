#include "sim/main/job.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "impl/core/mutate.h"
#include "properties/gen/layout_file.h"
#include "properties/museum/museum.h"
#include "properties/mutants/mutants.h"
#include "properties/workload/save_workload.h"
#include "sim/main/subprocess.h"

namespace holdfast::sim::program {
namespace {

namespace gen = properties::gen;
namespace museum = properties::museum;

constexpr std::string_view museum_prefix = "museum-", fixed_suffix = "-fixed", safetensors_suffix = ".safetensors";

/// Replicated, cut, cut unevenly with a rank named twice, and a byte value: small enough for thousands of runs a second.
gen::StateSpec small_state(int ranks) {
  gen::StateSpec spec;
  spec.world_size = ranks;
  ChunkLayout even, twice;
  for (int r = 0; r < ranks; ++r) even.placements.push_back(Rank{r});
  twice.placements = even.placements;
  twice.placements.push_back(Rank{0});
  spec.tensors = {{"bias", DType::f32, {3}, ReplicatedLayout{}, 0},
                  {"twice", DType::u8, {2 * ranks + 1}, twice, 0},
                  {"weight", DType::bf16, {2 * ranks, 2}, even, 0}};
  spec.values = {{"trainer", 9}};
  return spec;
}

struct MuseumName {
  const museum::Exhibit* exhibit = nullptr;
  bool fixed = false;
};

std::optional<MuseumName> museum_name(std::string_view workload) {
  if (!workload.starts_with(museum_prefix)) return std::nullopt;
  MuseumName name;
  workload.remove_prefix(museum_prefix.size());
  name.fixed = workload.ends_with(fixed_suffix);
  if (name.fixed) workload.remove_suffix(fixed_suffix.size());
  int number = 0;
  const auto [end, failed] = std::from_chars(workload.data(), workload.data() + workload.size(), number);
  if (failed != std::errc() || end != workload.data() + workload.size()) return std::nullopt;
  name.exhibit = museum::find_exhibit(number);
  if (!name.exhibit) return std::nullopt;
  return name;
}

Status check_mutant(const std::string& mutant) {
  if (mutant.empty()) return {};
  if (!has_mutants())
    return fail(ErrorCode::invalid_argument, "mutant \"{}\": this build holds no planted bugs; holdfast-sim-mutants does", mutant);
  std::string known;
  for (const properties::Mutant& each : properties::mutants()) {
    if (std::ranges::find(each.worlds, "sim") == each.worlds.end()) continue;
    if (each.id == mutant) return {};
    known += fmt::format("{}{}", known.empty() ? "" : ", ", each.id);
  }
  return fail(ErrorCode::invalid_argument, "mutant \"{}\": there is none of that name; there are {}", mutant, known);
}

Json to_json(const gen::StateSpec& spec) {
  Json tensors = Json::array(), values = Json::array();
  for (const gen::TensorSpec& tensor : spec.tensors) {
    Json row{{"name", tensor.name},
             {"dtype", to_string(tensor.dtype)},
             {"shape", std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end())}};
    if (const auto* chunks = std::get_if<ChunkLayout>(&tensor.layout)) {
      row["dim"] = chunks->dim;
      for (const Rank rank : chunks->placements) row["placements"].push_back(rank.value);
    }
    tensors.push_back(std::move(row));
  }
  for (const gen::ValueSpec& value : spec.values) values.push_back({{"name", value.name}, {"bytes", value.bytes}});
  return {{"ranks", spec.world_size}, {"tensors", std::move(tensors)}, {"values", std::move(values)}};
}

gen::StateSpec spec_from_json(const Json& json) {
  gen::StateSpec spec;
  spec.world_size = json.at("ranks").get<int>();
  for (const Json& row : json.at("tensors")) {
    gen::TensorSpec tensor;
    tensor.name = row.at("name").get<std::string>();
    tensor.dtype = dtype_from_string(row.at("dtype").get<std::string>()).value_or(DType::u8);
    for (const Json& extent : row.at("shape")) tensor.shape.push_back(extent.get<std::int64_t>());
    tensor.layout = ReplicatedLayout{};
    if (row.contains("placements")) {
      ChunkLayout chunks{row.at("dim").get<int>(), {}};
      for (const Json& rank : row.at("placements")) chunks.placements.push_back(Rank{rank.get<std::int32_t>()});
      tensor.layout = chunks;
    }
    spec.tensors.push_back(std::move(tensor));
  }
  for (const Json& value : json.at("values"))
    spec.values.push_back({value.at("name").get<std::string>(), value.at("bytes").get<std::uint32_t>()});
  return spec;
}

}  // namespace

std::string default_layout() {
  namespace fs = std::filesystem;
  const fs::path name = "llama-3.1-8b.json";
  const fs::path installed = (fs::path(folder_of_this_program()) / HOLDFAST_INSTALLED_SPECS / name).lexically_normal();
  std::error_code absent;
  return fs::exists(installed, absent) ? installed.string() : (HOLDFAST_SPECS / name).string();
}

std::string build_id() { return HOLDFAST_BUILD; }

Result<Job> make_job(const JobRequest& request) {
  TRY(check_mutant(request.mutant));
#ifdef HOLDFAST_MUTANTS
  mutants::activate(request.mutant);
#endif
  Job job{request.workload, request.layout, request.mutant, request.save_again, {}, {}};
  if (museum_name(request.workload)) return job;
  if (request.workload != "save") {
    std::string known = "save";
    for (const museum::Exhibit& exhibit : museum::exhibits())
      known += fmt::format(", {0}{1}, {0}{1}{2}", museum_prefix, exhibit.number, fixed_suffix);
    return fail(ErrorCode::invalid_argument, "workload \"{}\": there is none of that name; there are {}", request.workload, known);
  }
  if (request.ranks < 1) return fail(ErrorCode::invalid_argument, "{} ranks; expected at least 1", request.ranks);
  if (request.layout.empty()) {
    job.spec = small_state(request.ranks);
  } else if (request.layout.ends_with(safetensors_suffix)) {
    gen::FileState state = TRY(gen::read_safetensors_state(request.layout, request.ranks));
    job.spec = std::move(state.spec);
    job.values = std::move(state.values);
  } else {
    job.spec = TRY(gen::read_layout_file(request.layout, request.ranks));
  }
  return job;
}

std::unique_ptr<Workload> make_workload(const Job& job) {
  if (const auto name = museum_name(job.workload)) return name->fixed ? name->exhibit->fixed() : name->exhibit->faulty();
  properties::SaveWorkloadOptions options;
  options.save_again = job.save_again;
  options.values = job.values;
  // Small states need small blocks for a segment to have several.
  if (logical_bytes(job.spec) < 4096) options.block_bytes = 16;
  return std::make_unique<properties::SaveWorkload>(job.spec, std::move(options));
}

std::vector<FaultKind> kinds_of(const Job& job) {
  return museum_name(job.workload) ? museum::campaign_options(0).kinds : std::vector<FaultKind>();
}

Json to_json(const Job& job) {
  Json json{{"workload", job.workload}, {"layout", job.layout}, {"mutant", job.mutant}, {"save_again", job.save_again}};
  if (job.workload == "save") json["state"] = to_json(job.spec);
  return json;
}

Result<Job> job_from_json(const Json& json) try {
  JobRequest request{json.at("workload").get<std::string>(), json.at("layout").get<std::string>(), json.at("mutant").get<std::string>(), 1,
                     json.at("save_again").get<bool>()};
  if (request.workload != "save") return make_job(request);
  gen::StateSpec spec = spec_from_json(json.at("state"));
  request.ranks = spec.world_size;
  if (!request.layout.ends_with(safetensors_suffix)) request.layout.clear();
  Job job = TRY(make_job(request));
  if (job.values && job.spec != spec) {
    return fail(ErrorCode::corrupt, "replay: \"{}\" no longer holds the tensors of the failing run", request.layout);
  }
  job.layout = json.at("layout").get<std::string>();
  job.spec = std::move(spec);
  return job;
} catch (const Json::exception& wrong) {
  return fail(ErrorCode::corrupt, "the job in the failure file: {}", wrong.what());
}

}  // namespace holdfast::sim::program

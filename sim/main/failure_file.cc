#include "sim/main/failure_file.h"

#include "properties/gen/layout_file.h"
#include "reports/publish.h"
#include "sim/testing/story.h"

namespace holdfast::sim::program {
namespace {

constexpr std::string_view format_name = "holdfast.failure";
constexpr int format_version = 1;
constexpr std::size_t line_bytes_max = 200;

template <typename Enum>
Result<Enum> named(const Json& name, std::size_t first, std::size_t count, std::string_view what) {
  for (std::size_t i = first; i < first + count; ++i) {
    const auto value = static_cast<Enum>(i);
    if (name.is_string() && to_string(value) == name.get<std::string>()) return value;
  }
  return fail(ErrorCode::corrupt, "a failure file's {}: found {}", what, name.dump());
}

constexpr std::size_t error_codes = 13, verdict_classes = 6;

std::string hex(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::uint64_t from_hex(const Json& text) { return std::stoull(text.get<std::string>(), nullptr, 16); }

Json to_json(const Case& test) {
  Json faults = Json::array(), decisions = Json::array();
  for (const Fault& fault : test.scenario.faults) {
    faults.push_back({{"rank", fault.site.rank.value},
                      {"door_call", fault.site.ordinal},
                      {"kind", to_string(fault.kind)},
                      {"error", to_string(fault.error)},
                      {"delay_ns", fault.delay.count()}});
  }
  if (test.scenario.replay) {
    for (const Decision& decision : *test.scenario.replay)
      decisions.push_back({static_cast<int>(decision.kind), decision.n, decision.pick});
  }
  return {{"seed", hex(test.scenario.seed)},
          {"persistence", to_string(test.scenario.persistence)},
          {"random_latency", test.scenario.random_latency},
          {"power_loss_after", test.power_loss_after},
          {"faults", std::move(faults)},
          {"decisions", std::move(decisions)}};
}

Result<Case> case_from_json(const Json& json) {
  Case test;
  test.scenario.seed = from_hex(json.at("seed"));
  test.scenario.persistence = TRY(named<PersistenceModel>(json.at("persistence"), 0, persistence_models, "persistence model"));
  test.scenario.random_latency = json.at("random_latency").get<bool>();
  test.power_loss_after = json.at("power_loss_after").get<bool>();
  for (const Json& row : json.at("faults")) {
    Fault fault;
    fault.site = {Rank{row.at("rank").get<std::int32_t>()}, row.at("door_call").get<std::uint32_t>()};
    fault.kind = TRY(named<FaultKind>(row.at("kind"), 0, fault_kinds, "fault"));
    fault.error = TRY(named<ErrorCode>(row.at("error"), 1, error_codes, "error"));
    fault.delay = port::Duration(row.at("delay_ns").get<std::int64_t>());
    test.scenario.faults.push_back(fault);
  }
  test.scenario.replay.emplace();
  for (const Json& row : json.at("decisions")) {
    const auto kind = row.at(0).get<std::uint8_t>();
    if (kind >= decision_kinds) return fail(ErrorCode::corrupt, "a failure file's decision: found the kind {}", kind);
    test.scenario.replay->push_back({static_cast<DecisionKind>(kind), row.at(1).get<std::uint32_t>(), row.at(2).get<std::uint32_t>()});
  }
  return test;
}

Result<FailureFile> from_json(const Json& json) try {
  FailureFile failure;
  failure.build = json.at("build").get<std::string>();
  failure.job = TRY(job_from_json(json.at("job")));
  failure.seed = from_hex(json.at("seed"));
  failure.index = json.at("index").get<std::uint64_t>();
  failure.test = TRY(case_from_json(json.at("case")));
  const Json& signature = json.at("signature");
  failure.signature = {TRY(named<VerdictClass>(signature.at("class"), 0, verdict_classes, "class")),
                       signature.at("property").get<std::string>(), signature.at("message").get<std::string>()};
  failure.event_hash = from_hex(json.at("event_hash"));
  failure.hash = from_hex(json.at("hash"));
  const Json& shrunk = json.at("shrunk");
  failure.faults_before = shrunk.at("faults_before").get<std::size_t>();
  failure.decisions_before = shrunk.at("decisions_before").get<std::size_t>();
  failure.decisions_after = shrunk.at("decisions_after").get<std::size_t>();
  failure.shrink_runs = shrunk.at("runs").get<std::uint64_t>();
  failure.shrink_history = shrunk.at("history").get<std::vector<std::string>>();
  return failure;
} catch (const Json::exception& wrong) {
  return fail(ErrorCode::corrupt, "{}", wrong.what());
} catch (const std::logic_error& wrong) {  // of stoull
  return fail(ErrorCode::corrupt, "a number in hexadecimal: {}", wrong.what());
}

Result<Json> read_json(const std::string& path) {
  const std::string text = TRY(properties::gen::read_text_file(path));
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("format", "") != format_name) {
    return fail(ErrorCode::corrupt, "read \"{}\": found {}; expected a failure file of holdfast-sim", path,
                json.is_discarded() ? "no JSON" : "other JSON");
  }
  if (!json.contains("version") || json["version"] != format_version) {
    return fail(ErrorCode::unsupported, "read \"{}\": it is of version {}; this build reads version {}", path,
                json.contains("version") ? json["version"].dump() : "unknown", format_version);
  }
  return json;
}

}  // namespace

Result<std::string> planted_bug_of(const std::string& path) {
  const Json json = TRY(read_json(path));
  const Json job = json.value("job", Json::object());
  return job.is_object() && job.contains("mutant") && job["mutant"].is_string() ? job["mutant"].get<std::string>() : "";
}

Result<FailureFile> read_failure_file(const std::string& path) {
  const Json json = TRY(read_json(path));
  auto failure = from_json(json);
  if (!failure) return fail(within(std::move(failure).error(), "read \"{}\"", path));
  return failure;
}

Status write_failure_file(const std::string& path, const FailureFile& failure) {
  const Json json{{"format", format_name},
                  {"version", format_version},
                  {"build", failure.build},
                  {"job", to_json(failure.job)},
                  {"seed", hex(failure.seed)},
                  {"index", failure.index},
                  {"case", to_json(failure.test)},
                  {"signature",
                   {{"class", to_string(failure.signature.verdict_class)},
                    {"property", failure.signature.property},
                    {"message", failure.signature.message}}},
                  {"event_hash", hex(failure.event_hash)},
                  {"hash", hex(failure.hash)},
                  {"shrunk",
                   {{"faults_before", failure.faults_before},
                    {"faults_after", failure.test.scenario.faults.size()},
                    {"decisions_before", failure.decisions_before},
                    {"decisions_after", failure.decisions_after},
                    {"runs", failure.shrink_runs},
                    {"history", failure.shrink_history}}}};
  return reports::write_text_file(path, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string describe(const Job& job) {
  std::string text = job.workload;
  if (job.workload == "save") text += fmt::format(", {} ranks, {} tensors", job.spec.world_size, job.spec.tensors.size());
  if (!job.mutant.empty()) text += ", mutant " + job.mutant;
  return text;
}

std::string failure_line(const FailureFile& failure, const std::string& path) {
  const std::string tail = fmt::format(" | holdfast sim replay {}", path);
  std::string head = fmt::format("FAIL class={} prop={} workload={} seed={} case={} {}", to_string(failure.signature.verdict_class),
                                 failure.signature.property, failure.job.workload, failure.seed, failure.index, describe(failure.test));
  if (head.size() + tail.size() > line_bytes_max && tail.size() < line_bytes_max) head.resize(line_bytes_max - tail.size());
  return head + tail;
}

FailureFile shrunk_failure(const Job& job, std::uint64_t seed, const Failure& failure) {
  const auto workload = make_workload(job);
  const Disk prepared = workload->prepare();
  FailureFile file{
      build_id(), job, seed, failure.index, failure.test, failure.verdict.front(), 0, 0, failure.test.scenario.faults.size(), 0, 0, 0, {}};
  const Shrunk shrunk = shrink(failure.test, fails_alike(*workload, prepared, file.signature.property));
  file.decisions_before = shrunk.decisions_before;
  file.decisions_after = shrunk.decisions_after;
  file.shrink_runs = shrunk.runs;
  file.shrink_history = shrunk.history;
  if (!shrunk.failed_again) {
    file.signature = {
        VerdictClass::determinism, "D1",
        fmt::format("the case failed once ({}: {}) and passes when it is run again", file.signature.property, file.signature.message)};
    file.test.scenario.replay = failure.decisions;
  } else {
    file.test = shrunk.test;
  }
  const CaseResult result = run_case(*workload, file.test, prepared);
  for (const Violation& violation : result.verdict) {
    if (violation.property == file.signature.property) {
      file.signature = violation;
      break;
    }
  }
  file.event_hash = result.act.event_hash;
  file.hash = result.hash;
  return file;
}

}  // namespace holdfast::sim::program

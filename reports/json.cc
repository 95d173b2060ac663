#include "reports/json.h"

#include <nlohmann/json.hpp>

#include "reports/text.h"

using nlohmann::json;

namespace holdfast {

static void to_json(json& out, const TraceEvent& event) {
  out = json{{"begin_ns", event.begin_ns}, {"end_ns", event.end_ns}, {"rank", event.rank.value}, {"task", event.task},
             {"step", event.step},         {"op", event.op},         {"object", event.object},   {"bytes", event.bytes},
             {"result", event.result},     {"fault", event.fault}};
}

static void from_json(const json& in, TraceEvent& event) {
  event.begin_ns = in.value("begin_ns", event.begin_ns);
  event.end_ns = in.value("end_ns", event.end_ns);
  event.rank.value = in.value("rank", event.rank.value);
  event.task = in.value("task", event.task);
  event.step = in.value("step", event.step);
  event.op = in.value("op", event.op);
  event.object = in.value("object", event.object);
  event.bytes = in.value("bytes", event.bytes);
  event.result = in.value("result", event.result);
  event.fault = in.value("fault", event.fault);
}

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(TraceRecord, name, seed, world_size, event_hash, events)

}  // namespace holdfast

namespace holdfast::reports {

NLOHMANN_JSON_SERIALIZE_ENUM(ReportVerdict, {{ReportVerdict::none, "none"}, {ReportVerdict::good, "good"}, {ReportVerdict::bad, "bad"}})
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportPicture, title, caption, svg)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportTable, title, columns, rows)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportAct, title, verdict, text, pictures, tables)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportCounts, runs, events, door_calls, faults_enumerated, faults_fired,
                                                faults_consequential, faults_detected)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(CoverageCell, fired, violations, possible)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportCoverage, fault_kinds, steps, cells)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportFailure, verdict_class, property, message, seed, replay_command, decisions_before,
                                                decisions_after, pictures)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(ReportMark, name, hits)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE_WITH_DEFAULT(CampaignReport, name, seed, command, started, duration_s, machine, counts, acts, coverage,
                                                failures, marks)

namespace {

constexpr int version = 1;
constexpr std::string_view report_format = "holdfast.report";
constexpr std::string_view trace_format = "holdfast.trace";

template <typename T>
std::string write(const T& value, std::string_view format, int indent) {
  json document = value;
  document["format"] = format;
  document["version"] = version;
  return document.dump(indent, ' ', false, json::error_handler_t::replace) + "\n";
}

template <typename T>
Result<T> read(std::string_view text, std::string_view format) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return fail(ErrorCode::corrupt, "read {}: {} bytes that are no JSON", format, text.size());
  // The library throws for a value of the wrong type.
  try {
    const std::string found = document.is_object() ? document.value("format", "") : std::string();
    if (found != format)
      return fail(ErrorCode::invalid_argument, "read {}: the format is \"{}\", expected \"{}\"", format, clip(found, 60), format);
    const int found_version = document.value("version", 0);
    if (found_version < 1 || found_version > version) {
      return fail(ErrorCode::unsupported, "read {}: version {}, this program reads 1 to {}", format, found_version, version);
    }
    return document.get<T>();
  } catch (const json::exception& wrong) {
    return fail(ErrorCode::corrupt, "read {}: {}", format, clip(wrong.what(), 300));
  }
}

}  // namespace

std::string to_json(const CampaignReport& report) { return write(report, report_format, 1); }
std::string to_json(const TraceRecord& trace) { return write(trace, trace_format, -1); }
Result<CampaignReport> report_from_json(std::string_view text) { return read<CampaignReport>(text, report_format); }
Result<TraceRecord> trace_from_json(std::string_view text) { return read<TraceRecord>(text, trace_format); }

}  // namespace holdfast::reports

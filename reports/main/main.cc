// holdfast-report: turns the JSON of a campaign or a trace into something to look at. `holdfast report` runs it.
//
// Exit codes: 0 written, or the report's verdict is good (check); 1 the file is corrupt, or the verdict is bad (check); 2 no answer.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "reports/dot.h"
#include "reports/html.h"
#include "reports/json.h"
#include "reports/junit.h"
#include "reports/markdown.h"
#include "reports/perfetto.h"
#include "reports/space_time.h"

namespace holdfast::reports {
namespace {

struct Request {
  std::vector<std::string> inputs;
  std::string output = "-";
  int ranks_a_node = 8;
  std::size_t lanes = 16;
};

Result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorCode::not_found, "open \"{}\": {}", path, std::strerror(errno));
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) return fail(ErrorCode::io_error, "read \"{}\": {}", path, std::strerror(errno));
  return text;
}

Status write_output(const std::string& path, const std::string& text) {
  std::FILE* const out = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
  if (!out) return fail(ErrorCode::io_error, "create \"{}\": {}", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), out) == text.size();
  const bool closed = path == "-" ? std::fflush(out) == 0 : std::fclose(out) == 0;
  if (!written || !closed) return fail(ErrorCode::io_error, "write {} bytes to \"{}\": {}", text.size(), path, std::strerror(errno));
  return {};
}

/// The reports of all inputs, as one.
Result<CampaignReport> read_reports(const Request& request) {
  std::vector<CampaignReport> parts;
  for (const std::string& path : request.inputs) {
    auto report = report_from_json(TRY(read_file(path)));
    if (!report) return fail(within(report.error(), "\"{}\"", path));
    parts.push_back(*std::move(report));
  }
  return merged(parts);
}

Result<TraceRecord> read_trace(const Request& request) {
  auto trace = trace_from_json(TRY(read_file(request.inputs[0])));
  if (!trace) return fail(within(trace.error(), "\"{}\"", request.inputs[0]));
  return trace;
}

Result<int> make(const std::string& verb, const Request& request) {
  std::string text;
  if (verb == "html") text = html_report(TRY(read_reports(request)));
  if (verb == "markdown") text = markdown_summary(TRY(read_reports(request)));
  if (verb == "merge") text = to_json(TRY(read_reports(request)));
  if (verb == "junit") {
    const CampaignReport report = TRY(read_reports(request));
    text = junit_xml(report.name, junit_cases(report));
  }
  if (verb == "space-time") text = space_time_svg(TRY(read_trace(request)), {.lanes_max = request.lanes});
  if (verb == "perfetto") text = perfetto_json(TRY(read_trace(request)), request.ranks_a_node);
  if (verb == "dot") text = TRY(render_svg(TRY(read_file(request.inputs[0]))));
  if (verb == "check") {
    const CampaignReport report = TRY(read_reports(request));
    TRY(write_output(request.output, last_line(report) + "\n"));
    const ReportVerdict verdict = verdict_of(report);
    return verdict == ReportVerdict::good ? 0 : verdict == ReportVerdict::bad ? 1 : 2;
  }
  TRY(write_output(request.output, text));
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app{"Turns the JSON of a campaign or a trace into something to look at"};
  app.name("holdfast-report");
  app.require_subcommand(1);
  Request request;
  const auto verb = [&](const std::string& name, const std::string& about, const std::string& input, bool several) {
    CLI::App* const sub = app.add_subcommand(name, about);
    auto* const option =
        sub->add_option(input, request.inputs, several ? "one or more; several are parts of one campaign" : "")->required();
    if (!several) option->expected(1);
    sub->add_option("-o,--output", request.output, "file to write; - is standard output");
    return sub;
  };
  verb("html", "one page that needs no other file and no network", "REPORT", true);
  verb("markdown", "a GitHub step summary", "REPORT", true);
  verb("junit", "JUnit XML", "REPORT", true);
  verb("merge", "the parts of a campaign as one report", "REPORT", true);
  verb("check", "print the verdict; exit 0 good, 1 bad, 2 none", "REPORT", true);
  verb("space-time", "SVG: what happened when, on which rank", "TRACE", false)
      ->add_option("--lanes", request.lanes, "ranks with a lane of their own");
  verb("perfetto", "JSON for ui.perfetto.dev", "TRACE", false)
      ->add_option("--ranks-per-node", request.ranks_a_node)
      ->check(CLI::Range(1, 1 << 20));
  verb("dot", "draw DOT text as SVG with Graphviz", "DOT", false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& stopped) {
    return app.exit(stopped) == 0 ? 0 : 2;
  }
  const auto done = make(app.get_subcommands()[0]->get_name(), request);
  if (done) return *done;
  fmt::print(stderr, "holdfast-report: {}\n", done.error());
  return done.error().code == ErrorCode::corrupt ? 1 : 2;
}

}  // namespace
}  // namespace holdfast::reports

int main(int argc, char** argv) { return holdfast::reports::run(argc, argv); }

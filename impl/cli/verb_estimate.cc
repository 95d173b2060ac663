#include "impl/cli/plan_options.h"
#include "impl/cli/verbs.h"

namespace holdfast::cli {
namespace {

struct Arguments {
  PlanArguments plan;
  Rates rates;
};

Result<Report> estimate(const Arguments& arguments, const Console& console) {
  const std::unique_ptr<Planned> planned = TRY(make_plan(arguments.plan, console));
  Report report;
  report.text = header_text(*planned, arguments.rates);
  const Json save = save_json(*planned, arguments.rates);
  report.json["source"] = arguments.plan.source;
  for (const char* key : {"name", "bytes", "ranks", "files", "chunks", "written_bytes", "staging_bytes_max", "seconds", "findings"}) {
    report.json[key] = save[key];
  }
  if (planned->loading) {
    const Json load = load_json(*planned, arguments.rates);
    for (const char* key : {"ranks", "needed_bytes", "read_bytes", "files", "staging_bytes_max", "seconds", "findings"}) {
      report.json["load"][key] = load[key];
    }
  }
  report.json["assumed"] = {{"write_gbps", arguments.rates.write_gbps}, {"read_gbps", arguments.rates.read_gbps}};
  if (arguments.rates.storage_gbps > 0) report.json["assumed"]["storage_gbps"] = arguments.rates.storage_gbps;
  report.cause = cause_of(*planned);
  return report;
}

}  // namespace

void add_estimate(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb =
      add_verb(app, command, "estimate", "Say what a save, and with --to a load, will cost: bytes, files, seconds, staging memory.",
               "Example: holdfast estimate layout.json --ranks 64 --write-gbps 2\n\n"
               "Seconds are bytes over the rates given: the rank with most bytes, or all of them on their storage, whichever is\n"
               "longer. Nothing is run and nothing is written.",
               [arguments](const Console& console) { return estimate(*arguments, console); });
  add_plan_options(*verb, arguments->plan);
  add_rate_options(*verb, arguments->rates);
}

}  // namespace holdfast::cli

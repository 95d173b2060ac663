// holdfast-sim: puts saves under faults in the simulator. holdfast-sim-mutants is the same program with planted bugs to activate.
#include <CLI/CLI.hpp>

#include "sim/main/verbs.h"

namespace {

using namespace holdfast::sim::program;

struct Arguments {
  Console console;
  RunArguments run;
  ReplayArguments replay;
  CampaignArguments campaign;
  std::uint64_t run_seconds = 0;
  std::uint64_t campaign_seconds = 8 * 60;
  std::string engine = "fiber";
};

void add_common(CLI::App& verb, Arguments& all) {
  verb.add_flag("--json", all.console.json, "Print the result as one JSON object");
  verb.add_flag("-q,--quiet", all.console.quiet, "No progress and no notes on stderr");
  verb.add_option("--engine", all.engine, "What runs the ranks: fiber, or thread (slow; the results are the same)")->capture_default_str();
}

CLI::AsNumberWithUnit seconds() { return CLI::AsNumberWithUnit(std::map<std::string, std::uint64_t>{{"s", 1}, {"m", 60}, {"h", 3600}}); }

void add_run(CLI::App& app, Arguments& all, const std::string& name, const std::string& about, bool random) {
  CLI::App* verb = app.add_subcommand(name, about);
  add_common(*verb, all);
  verb->add_option("--workload", all.run.job.workload, "save, museum-N (a public bug) or museum-N-fixed")->capture_default_str();
  verb->add_option("--layout", all.run.job.layout,
                   "State to save: a model's layout file, or a .safetensors file with its real bytes (default: three small tensors)");
  verb->add_option("--ranks", all.run.job.ranks, "Ranks of the job")->capture_default_str()->check(CLI::Range(1, 4096));
  verb->add_option("--seed", all.run.seed, "Of everything that is drawn: decimal, 0x-hex or a commit id")->capture_default_str();
  if (random) verb->add_option("--cases", all.run.cases, "Cases to run")->capture_default_str()->check(CLI::Range(1, 1'000'000'000));
  verb->add_option("--jobs", all.run.jobs, "Threads (default: one a core)")->check(CLI::Range(1, 1024));
  verb->add_option("--time", all.run_seconds, "Stop after this time: 90s, 8m, 1h")->transform(seconds());
  verb->add_option("--kinds", all.run.kinds, "Only these faults: error_before, error_after, delay, hang, kill_rank, power_loss, bit_flip")
      ->delimiter(',');
  verb->add_option("--mutant", all.run.job.mutant, "Activate a planted bug (only in holdfast-sim-mutants)");
  verb->add_flag("!--no-save-again", all.run.job.save_again, "Leave out the save after recovery");
  verb->add_option("--out", all.run.out, "Where a failure is written (default: runs/WORKLOAD-SEED.json)");
}

void declare(CLI::App& app, Arguments& all) {
  app.require_subcommand(1);
  add_run(app, all, "run", "Random faults, schedules and crashes; ends at the first failure", true);
  add_run(app, all, "exhaust", "Every kind of fault at every door call, one at a time", false);

  CLI::App* replay = app.add_subcommand("replay", "Run a failure again from its file, and tell what happens");
  add_common(*replay, all);
  replay->add_option("FILE", all.replay.file, "A failure file")->required();
  replay->add_option("--trace", all.replay.trace, "Write the trace there, for holdfast report space-time");

  CLI::App* campaign =
      app.add_subcommand("campaign", "Catch two known bugs, then put the save of a real model's layout under faults; ends with a report");
  add_common(*campaign, all);
  campaign->add_option("--ranks", all.campaign.ranks, "Ranks of the job")->capture_default_str()->check(CLI::Range(1, 4096));
  campaign->add_option("--seeds", all.campaign.seeds, "Random cases")->capture_default_str()->check(CLI::Range(1, 1'000'000'000));
  campaign->add_option("--seed", all.campaign.seed, "Of everything that is drawn: decimal, 0x-hex or a commit id")->capture_default_str();
  campaign->add_option("--input", all.campaign.input,
                       "A .safetensors file with its real tensors, or another layout file (default: " + default_layout() + ")");
  campaign->add_option("--out", all.campaign.out, "Folder of the report")->capture_default_str();
  campaign->add_option("--jobs", all.campaign.jobs, "Threads (default: one a core)")->check(CLI::Range(1, 1024));
  campaign->add_option("--time", all.campaign_seconds, "Stop after this time: 90s, 8m, 1h (default 8m)")->transform(seconds());
  app.footer("\nExit codes: 0 nothing wrong; 1 a violation; 2 no verdict (usage, cannot open, diverged, nothing checked).");
}

Exit dispatch(const CLI::App& app, Arguments& all) {
  all.console.verb = app.get_subcommands()[0]->get_name();
  all.run.time = std::chrono::seconds(all.run_seconds);
  all.campaign.time = std::chrono::seconds(all.campaign_seconds);
  const auto engine = holdfast::sim::engine_named(all.engine);
  if (!engine) return all.console.give_up(engine.error());
  holdfast::sim::set_default_engine(*engine);
  if (all.console.verb == "run") return run_verb(all.run, all.console);
  if (all.console.verb == "exhaust") return exhaust_verb(all.run, all.console);
  if (all.console.verb == "replay") return replay_verb(all.replay, all.console);
  return campaign_verb(all.campaign, all.console);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Runs the real save and load over simulated ranks, network and disk, with faults and crashes.", "holdfast sim");
  Arguments all;
  declare(app, all);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::no_verdict);
  }
  return static_cast<int>(dispatch(app, all));
}

// holdfast-validate: runs the catalogue of properties in a world. The mutant build also proves that the properties can fail.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>

#include "impl/core/mutate.h"
#include "properties/main/arguments.h"
#include "properties/main/kill_mutants.h"
#include "properties/main/run_catalogue.h"
#include "properties/main/worlds.h"
#include "properties/mutants/mutants.h"
#include "sim/engine_thread.h"

namespace {

using namespace holdfast;
using namespace holdfast::properties;

/// Errors: invalid_argument for choices that do not go together.
Status choose_engine(const Arguments& arguments) {
  if (arguments.engine.empty() && !arguments.compare_engines) return {};
  if (arguments.world == "threads" || arguments.world == "procs") {
    return fail(ErrorCode::invalid_argument, "world {} runs no simulator; expected --world sim or simgpu with a choice of engine",
                arguments.world);
  }
  if (arguments.compare_engines && (arguments.mutants || !arguments.engine.empty()))
    return fail(ErrorCode::invalid_argument, "--compare-engines runs on both engines; expected neither --engine nor --mutants with it");
  if (!arguments.engine.empty()) sim::set_default_engine(TRY(sim::engine_named(arguments.engine)));
  if (arguments.compare_engines || sim::default_engine() == sim::EngineKind::thread) sim::stay_on_one_processor();
  return {};
}

WorldRequest request_of(const Arguments& arguments) {
  return {arguments.world, arguments.processes, arguments.folder, arguments.share_gpus,
          fmt::format("--property \"{}\" --cases {} --ranks {} --seed {}{}", arguments.property, arguments.draw.cases,
                      arguments.draw.ranks_max, arguments.draw.seed, arguments.preflight_only ? " --preflight" : "") +
              (arguments.parity.asked()
                   ? fmt::format(" --parity \"{}\" --parity-seed {}", arguments.parity.scenario, arguments.parity.seed.value_or(0))
                   : "")};
}

/// What an outcome is called: the world, and what else it was.
std::string title_of_world(const Arguments& arguments) {
  return arguments.world + (arguments.engine.empty() ? "" : " on engine " + arguments.engine) +
         (arguments.mutant.empty() ? "" : " with the mutant " + arguments.mutant);
}

Exit run(Arguments arguments) {
  if (arguments.list) {
    list_properties();
    return Exit::good;
  }
  if (!arguments.parity.compare.empty()) return static_cast<Exit>(compare_parity(arguments.parity, arguments.json));
  if (const Status chosen = choose_engine(arguments); !chosen) {
    fmt::print(stderr, "holdfast-validate: {}\n", chosen.error());
    return Exit::no_verdict;
  }
  auto world = world_named(request_of(arguments));
  if (!world) {
    fmt::print(stderr, "holdfast-validate: {}\n", world.error());
    return Exit::no_verdict;
  }
  arguments.draw.ranks_max = ranks_of(**world, arguments);
  if (!(*world)->tells()) {  // to one terminal, and one file, once
    arguments.publication = {};
    if (!std::freopen("/dev/null", "w", stdout)) return Exit::no_verdict;
  }
#ifdef HOLDFAST_MUTANTS
  if (arguments.mutants) return kill_mutants(**world, arguments);
  const auto& known = properties::mutants();
  if (!arguments.mutant.empty() && std::ranges::find(known, arguments.mutant, &Mutant::id) == known.end()) {
    fmt::print(stderr, "holdfast-validate: mutant \"{}\": there is none of that name; --mutants shows them\n", arguments.mutant);
    return Exit::no_verdict;
  }
  holdfast::mutants::activate(arguments.mutant);
#else
  if (arguments.mutants || !arguments.mutant.empty()) {
    fmt::print(stderr, "holdfast-validate: this build holds no mutants; holdfast-validate-mutants does\n");
    return Exit::no_verdict;
  }
#endif
  if (arguments.parity.asked())
    return static_cast<Exit>(perform_parity(**world, title_of_world(arguments), arguments.parity, arguments.draw, arguments.json));
  return run_catalogue(**world, arguments);
}

void add_parity_options(CLI::App& app, Arguments& arguments) {
  ParityArguments& parity = arguments.parity;
  const std::string group = "Parity";
  CLI::Option* const scenario =
      app.add_option("--parity", parity.scenario, "perform this scenario (properties/parity/README.md) and print its outcome");
  CLI::Option* const seed = app.add_option("--parity-seed", parity.seed, "perform as many scenarios as --cases says, drawn from this seed");
  CLI::Option* const compare =
      app.add_option("--compare-parity", parity.compare, "say where these outcomes, of --parity with --json, differ")->expected(2, 64);
  CLI::Option* const html = app.add_option("--html", parity.html, "with --compare-parity: write the comparison as a page there");
  scenario->group(group)->excludes(seed, compare);
  seed->group(group)->excludes(compare);
  compare->group(group);
  html->group(group)->needs(compare);
  for (const char* other : {"--property", "--compare-engines", "--list", "--mutants", "--junit", "--summary"}) {
    for (CLI::Option* const option : {scenario, seed, compare}) option->excludes(app.get_option(other));
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Runs Holdfast's catalogue of properties in a world.\nExample: holdfast-validate --world sim --cases 1000",
               "holdfast-validate"};
  Arguments arguments;
  app.add_option("--world", arguments.world,
                 "sim (simulated); threads, procs (real ones, with files); launched (the processes of torchrun, srun or mpirun); simgpu "
                 "(CUDA back end on "
                 "a simulated CUDA runtime); cuda1 (launched, on GPUs that ranks may share); "
                 "nccl (likewise, a GPU a rank, with NCCL between them)")
      ->capture_default_str();
  app.add_option("--property", arguments.property, "only this one (--list shows them)");
  app.add_option("--cases", arguments.draw.cases, "cases a property")->capture_default_str()->check(CLI::Range(1, 100'000'000));
  app.add_option("--ranks", arguments.draw.ranks_max, "ranks of a drawn job, at most")->capture_default_str()->check(CLI::Range(1, 64));
  app.add_option("--seed", arguments.draw.seed, "of everything that is drawn, decimal or 0x-hex")
      ->envname("HOLDFAST_SEED")
      ->capture_default_str();
  app.add_option("--engine", arguments.engine, "what runs simulated ranks: fiber (default), or thread (slow; the results are the same)");
  app.add_flag("--compare-engines", arguments.compare_engines,
               "check on both engines, and compare every run with the same one on the other");
  app.add_option("--processes", arguments.processes, "launched, cuda1: start so many on this host, without a launcher")
      ->check(CLI::Range(1, 64));
  app.add_option("--folder", arguments.folder,
                 "launched, cuda1, nccl: where to save, seen by all ranks; default: where temporary files go");
  app.add_flag("--share-gpus", arguments.share_gpus,
               "nccl: several ranks may use one GPU, as if each were a host of its own (NCCL over sockets; NVIDIA does not support it)");
  app.add_flag("--preflight", arguments.preflight_only,
               "only try ranks, storage and devices, which worlds of a launcher do before the properties");
  app.add_flag("--list", arguments.list, "show the properties and end");
  app.add_flag("--json", arguments.json, "one object on stdout");
  CLI::Option* const mutants = app.add_flag("--mutants", arguments.mutants, "in the mutant build: every planted bug must be caught");
  app.add_option("--mutant", arguments.mutant, "in the mutant build: with this planted bug")->excludes(mutants);
  app.add_option("--junit", arguments.publication.junit, "write JUnit XML there, a test case a property")->excludes(mutants);
  app.add_option("--summary", arguments.publication.summary,
                 "write a summary in Markdown there; it is also appended to the file that GITHUB_STEP_SUMMARY names, if any")
      ->excludes(mutants);
  add_parity_options(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::no_verdict);
  }
  if (arguments.parity.compare.empty()) run_program_of(arguments.world, argv);
  return static_cast<int>(run(arguments));
}

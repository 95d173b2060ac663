#include <fmt/core.h>

#include "impl/backend/tcp/rendezvous.h"
#include "impl/cli/machine.h"
#include "impl/cli/verbs.h"
#include "impl/format/manifest.h"

namespace holdfast::cli {
namespace {

std::string version_text() {
  return fmt::format("holdfast {}, manifests of version {}, {} {}, fmt {}.{}.{}", HOLDFAST_VERSION, format::manifest_version,
#ifdef __clang__
                     "clang", __clang_version__,
#else
                     "g++", __VERSION__,
#endif
                     FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
}

Check check_launcher() {
  const auto found = backend::rendezvous(backend::process_environment());
  if (!found) return {"ranks", Health::bad, found.error().message};
  std::string text = fmt::format("world={} rank={} via={}", found->world_size, found->rank, found->via);
  if (found->world_size > 1) text += fmt::format(" rank0={}:{}", found->master_address, found->port);
  return {"ranks", Health::good, text};
}

const char* mark_of(Health health) { return health == Health::good ? " " : health == Health::warning ? "W" : "E"; }
const char* name_of(Health health) { return health == Health::good ? "good" : health == Health::warning ? "warning" : "bad"; }

Result<Report> doctor(const std::string& folder) {
  std::vector<Check> checks{{"version", Health::good, version_text()}, check_processor(), check_launcher()};
  for (Check& check : check_cuda()) checks.push_back(std::move(check));
  for (Check& check : TRY(check_folder(folder))) checks.push_back(std::move(check));
  Report report;
  Json list = Json::array();
  for (const Check& check : checks) {
    report.text += fmt::format("{} {:<20} {}\n", mark_of(check.health), check.name, one_line(check.found, std::string::npos));
    list.push_back({{"name", check.name}, {"health", name_of(check.health)}, {"found", check.found}});
    if (check.health == Health::bad && report.cause.empty()) report.cause = fmt::format("{}: {}", check.name, check.found);
  }
  report.json = {{"folder", folder}, {"checks", list}};
  return report;
}

}  // namespace

void add_doctor(CLI::App& app, Command& command) {
  const auto folder = std::make_shared<std::string>(".");
  CLI::App* verb =
      add_verb(app, command, "doctor", "Look at this machine, and at what a folder's file system really does.",
               "Example: holdfast doctor checkpoints\n\n"
               "W: slower or weaker than it could be, said why. E: saves must not be trusted here. Writes a few small files into\n"
               "the folder and removes them. Exit 1: an E.",
               [folder](const Console&) { return doctor(*folder); });
  verb->add_option("FOLDER", *folder, "The folder that checkpoints are to lie in")->capture_default_str();
}

}  // namespace holdfast::cli

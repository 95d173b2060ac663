#include <algorithm>

#include "impl/cli/folder.h"
#include "impl/cli/verbs.h"
#include "impl/plan/summary.h"

namespace holdfast::cli {
namespace {

std::string row(std::string_view name, std::string_view step, std::string_view sequence, std::string_view state, std::string_view ranks,
                std::string_view tensors, std::string_view bytes, std::string_view note) {
  std::string line =
      fmt::format("{:<18} {:>10} {:>8}  {:<11} {:>6} {:>8} {:>10}  {}", name, step, sequence, state, ranks, tensors, bytes, note);
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

Result<Report> ls(const std::string& path, const Console& console) {
  const Location location = TRY(locate(path));
  if (location.kind == PathKind::attempt) return fail(ErrorCode::invalid_argument, "\"{}\" is one checkpoint; see: holdfast show", path);
  Progress progress(console, 0);
  OpenFolder folder = TRY(OpenFolder::open(location, progress));
  const Survey found = TRY(folder.checkpoints().list());

  Report report;
  Json attempts = Json::array();
  report.text = row("name", "step", "sequence", "state", "ranks", "tensors", "bytes", "");
  for (const protocol::CommittedAttempt& attempt : found.committed) {
    const bool newest = &attempt == &found.committed.front();
    const format::Manifest manifest = TRY(folder.checkpoints().manifest(attempt.directory));
    const std::uint64_t bytes = stored(manifest).bytes;
    report.text += row(attempt.directory, fmt::format("{}", manifest.step), fmt::format("{}", manifest.sequence), "committed",
                       fmt::format("{}", manifest.world_size), fmt::format("{}", manifest.tensors.size()), plan::bytes_text(bytes),
                       newest ? "newest" : "");
    attempts.push_back({{"directory", attempt.directory},
                        {"step", manifest.step.value},
                        {"attempt", manifest.attempt},
                        {"sequence", manifest.sequence},
                        {"state", "committed"},
                        {"ranks", manifest.world_size},
                        {"tensors", manifest.tensors.size()},
                        {"bytes", bytes},
                        {"newest", newest}});
  }
  for (const protocol::DamagedAttempt& attempt : found.damaged) {
    report.text += row(attempt.directory, fmt::format("{}", attempt.id.step), "-", "damaged", "-", "-", "-", attempt.error.message);
    attempts.push_back({{"directory", attempt.directory},
                        {"step", attempt.id.step.value},
                        {"attempt", attempt.id.attempt},
                        {"state", "damaged"},
                        {"error", to_json(attempt.error)},
                        {"newest", false}});
  }
  for (const plan::AttemptId id : found.uncommitted) {
    const std::string name = plan::directory_name(id);
    report.text += row(name, fmt::format("{}", id.step), "-", "uncommitted", "-", "-", "-", "");
    attempts.push_back(
        {{"directory", name}, {"step", id.step.value}, {"attempt", id.attempt}, {"state", "uncommitted"}, {"newest", false}});
  }
  report.json = {{"folder", location.folder}, {"attempts", attempts}};
  if (found.all.empty()) console.note("\"{}\" holds no checkpoint", path);
  if (!found.damaged.empty()) report.cause = fmt::format("{} is damaged: {}", found.damaged[0].directory, found.damaged[0].error.message);
  return report;
}

}  // namespace

void add_ls(CLI::App& app, Command& command) {
  const auto path = std::make_shared<std::string>();
  CLI::App* verb = add_verb(app, command, "ls", "List the checkpoints of a folder, newest first.", "Example: holdfast ls checkpoints",
                            [path](const Console& console) { return ls(*path, console); });
  verb->add_option("PATH", *path, "A folder of checkpoints")->required();
}

}  // namespace holdfast::cli

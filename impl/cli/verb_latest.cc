#include <optional>

#include "impl/cli/folder.h"
#include "impl/cli/verbs.h"

namespace holdfast::cli {
namespace {

struct Arguments {
  std::string path;
  bool verified = false;
};

/// What is wrong with a checkpoint; none when every bit is right.
Result<std::optional<std::string>> fault_of(Checkpoints& checkpoints, const std::string& directory) {
  const VerifyReport report = TRY(checkpoints.verify(directory));
  if (report.findings.empty()) return std::nullopt;
  return std::optional(fmt::format("{}: {}", report.findings[0].file, report.findings[0].message));
}

Result<Report> latest(const Arguments& arguments, const Console& console) {
  const Location location = TRY(locate(arguments.path));
  if (location.kind == PathKind::attempt) {
    return fail(ErrorCode::invalid_argument, "\"{}\" is one checkpoint; expected a folder of checkpoints", arguments.path);
  }
  Progress progress(console, 0);
  OpenFolder folder = TRY(OpenFolder::open(location, progress));
  const Survey found = TRY(folder.checkpoints().list());
  std::vector<std::string> skipped;
  const auto skip = [&](const std::string& directory, const std::string& reason) {
    skipped.push_back(fmt::format("{}: {}", directory, reason));
    console.note("passed over {}", skipped.back());
  };
  for (const protocol::DamagedAttempt& attempt : found.damaged) skip(attempt.directory, attempt.error.message);
  for (const protocol::CommittedAttempt& attempt : found.committed) {
    const std::optional<std::string> fault = arguments.verified ? TRY(fault_of(folder.checkpoints(), attempt.directory)) : std::nullopt;
    if (fault) {
      skip(attempt.directory, *fault);
      continue;
    }
    Report report;
    report.text = attempt.directory + "\n";
    report.json = {{"directory", attempt.directory},          {"path", location.folder + "/" + attempt.directory},
                   {"step", attempt.committed.id.step.value}, {"sequence", attempt.committed.sequence},
                   {"verified", arguments.verified},          {"skipped", skipped}};
    return report;
  }
  if (skipped.empty()) return fail(ErrorCode::not_found, "\"{}\": there is no committed checkpoint", arguments.path);
  return fail(ErrorCode::corrupt, "\"{}\": none of {} checkpoints is intact; the newest: {}", arguments.path, skipped.size(),
              skipped.front());
}

}  // namespace

void add_latest(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = add_verb(app, command, "latest", "Print the directory of the newest committed checkpoint.",
                            "Example: holdfast latest checkpoints --verified\n\n"
                            "Exit 1: there are checkpoints, none intact. Exit 2: there is none.",
                            [arguments](const Console& console) { return latest(*arguments, console); });
  verb->add_option("PATH", arguments->path, "A folder of checkpoints")->required();
  verb->add_flag("--verified", arguments->verified, "Read every byte of it, and pass over damaged ones");
}

}  // namespace holdfast::cli

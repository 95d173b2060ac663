// holdfast: the command. Its own verbs are declared in verbs.h; any other verb is a program beside it (external.h).
#include <algorithm>
#include <exception>
#include <new>

#include "impl/cli/external.h"
#include "impl/cli/signals.h"
#include "impl/cli/verbs.h"

namespace holdfast::cli {

CLI::App* add_verb(CLI::App& app, Command& command, const std::string& name, const std::string& description, const std::string& example,
                   Verb run) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->footer("\n" + example);
  verb->add_flag("--json", command.console.json, "Print the result as one JSON object");
  verb->add_flag("-q,--quiet", command.console.quiet, "No progress and no notes on stderr, only the cause of a failure");
  verb->callback([&command, name, run = std::move(run)] {
    command.console.verb = name;
    command.run = run;
  });
  return verb;
}

namespace {

std::string beside() {
  const std::vector<std::string> verbs = external_verbs();
  return verbs.empty() ? "" : fmt::format("\nPrograms beside this one, as verbs: {}.", fmt::join(verbs, ", "));
}

void declare(CLI::App& app, Command& command) {
  app.name("holdfast");
  app.set_version_flag("--version", "holdfast " HOLDFAST_VERSION);
  app.require_subcommand(1);
  for (const auto add :
       {add_save, add_load, add_verify, add_latest, add_ls, add_show, add_plan, add_diff, add_check_plan, add_estimate, add_doctor})
    add(app, command);
  app.footer("\nholdfast VERB --help says more, with an example." + beside() +
             "\nExit codes: 0 a good verdict; 1 a bad one (damage, a difference); 2 none (usage, cannot open, nothing to check)."
             "\nResults go to stdout, progress and log to stderr; the last line of a failure is its cause.");
}

bool is_own(const CLI::App& app, const std::string& word) {
  return std::ranges::any_of(app.get_subcommands({}), [&](const CLI::App* verb) { return verb->get_name() == word; });
}

std::string verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  std::ranges::copy(external_verbs(), std::back_inserter(names));
  return fmt::format("{}", fmt::join(names, ", "));
}

/// `holdfast help` and `holdfast help VERB` are --help in other words.
std::vector<std::string> without_help_verb(std::vector<std::string> words) {
  if (words.empty() || words[0] != "help") return words;
  words.erase(words.begin());
  words.resize(std::min<std::size_t>(words.size(), 1));
  words.emplace_back("--help");
  return words;
}

Exit run_verb(const Command& command) {
  try {
    return command.console.finish(command.run(command.console));
  } catch (const std::bad_alloc&) {
    return command.console.finish(fail(ErrorCode::out_of_memory, "out of memory; nothing older was touched"));
  } catch (const std::exception& exception) {
    return command.console.finish(fail(ErrorCode::io_error, "{}", exception.what()));
  }
}

Exit run(std::vector<std::string> words) {
  CLI::App app("Saves and restores sharded checkpoints; a crash at any moment costs none.");
  Command command;
  declare(app, command);
  words = without_help_verb(std::move(words));
  if (!words.empty() && !words[0].starts_with('-') && !is_own(app, words[0])) {
    const std::string why = run_external(words[0], {words.begin() + 1, words.end()});
    return command.console.misused(fmt::format("{}; expected one of {}", why, verb_names(app)));
  }
  try {
    std::ranges::reverse(words);  // CLI11 takes them from the back
    app.parse(words);
  } catch (const CLI::Success& asked) {
    return app.exit(asked) == 0 ? Exit::good : Exit::no_verdict;
  } catch (const CLI::ParseError& error) {
    if (!app.get_subcommands().empty()) command.console.verb = app.get_subcommands()[0]->get_name();
    return command.console.misused(error.what());
  }
  return run_verb(command);
}

}  // namespace
}  // namespace holdfast::cli

int main(int argc, char** argv) {
  holdfast::cli::handle_signals();
  return static_cast<int>(holdfast::cli::run({argv + 1, argv + argc}));
}

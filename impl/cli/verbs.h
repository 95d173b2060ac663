// The command's own verbs. Each add_ function declares one, with its flags and help.
#pragma once

#include <CLI/CLI.hpp>

#include "impl/cli/report.h"

namespace holdfast::cli {

/// What the command line asked for.
struct Command {
  Console console;
  Verb run;
};

/// A verb with the flags that all share (--json, -q); `run` is what it does. `example` stands at the end of its help.
CLI::App* add_verb(CLI::App& app, Command& command, const std::string& name, const std::string& description, const std::string& example,
                   Verb run);

void add_save(CLI::App& app, Command& command);
void add_load(CLI::App& app, Command& command);
void add_verify(CLI::App& app, Command& command);
void add_latest(CLI::App& app, Command& command);
void add_ls(CLI::App& app, Command& command);
void add_show(CLI::App& app, Command& command);
void add_plan(CLI::App& app, Command& command);
void add_check_plan(CLI::App& app, Command& command);
void add_estimate(CLI::App& app, Command& command);
void add_diff(CLI::App& app, Command& command);
void add_doctor(CLI::App& app, Command& command);

/// Ranks that a save or load may run as threads.
inline constexpr int local_ranks_max = 256;

}  // namespace holdfast::cli

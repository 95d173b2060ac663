// What a verb gives back, and how the command says it: result to stdout, log to stderr, the cause of a failure as the last line.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "impl/core/error.h"

namespace holdfast::cli {

using Json = nlohmann::ordered_json;

/// The exit codes of every verb.
enum class Exit : int { good = 0, bad = 1, no_verdict = 2 };
/// Damage is a bad verdict; whatever else went wrong is none.
Exit exit_of(const Error& error);

struct Report {
  std::string text;   ///< for people; ends in a newline unless empty
  Json json;          ///< an object: what --json prints, beside the version and the verb
  std::string cause;  ///< of a bad verdict, one line; empty: a good one
};

/// The stderr of one command. `quiet` silences all but the cause.
struct Console {
  std::string verb;
  bool json = false;
  bool quiet = false;

  template <typename... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) const {
    if (!quiet) write_line(fmt::format(format, std::forward<Args>(args)...));
  }

  /// Prints what a verb returned. Returns the exit code: no_verdict also when stdout does not take the result.
  Exit finish(const Result<Report>& result) const;
  /// Prints a command line that cannot be understood. Always no_verdict.
  Exit misused(const std::string& what) const;

 private:
  static void write_line(const std::string& line);
  void write_cause(const std::string& cause) const;
};

using Verb = std::function<Result<Report>(const Console&)>;

/// One line without control characters, at most `bytes_max` bytes, cut between characters.
std::string one_line(std::string_view text, std::size_t bytes_max);

/// "1 rank", "4 ranks".
std::string count_text(std::size_t count, std::string_view what);

Json to_json(const Error& error);  ///< code and message

}  // namespace holdfast::cli

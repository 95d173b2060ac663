#include "impl/cli/report.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace holdfast::cli {
namespace {

constexpr int json_version = 1;
constexpr std::size_t cause_bytes_max = 200;

bool may_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return (!no_colour || !*no_colour) && ::isatty(STDERR_FILENO);
}

/// False when stdout does not take it: a full disk, say.
bool write_result(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  return (std::fflush(stdout) == 0) && written;
}

}  // namespace

Exit exit_of(const Error& error) { return error.code == ErrorCode::corrupt ? Exit::bad : Exit::no_verdict; }

Json to_json(const Error& error) { return {{"code", to_string(error.code)}, {"message", error.message}}; }

std::string count_text(std::size_t count, std::string_view what) { return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s"); }

std::string one_line(std::string_view text, std::size_t bytes_max) {
  std::string line(text);
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (line.size() <= bytes_max) return line;
  constexpr std::string_view dots = "...";
  std::size_t end = bytes_max - dots.size();
  while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
  return line.substr(0, end).append(dots);
}

void Console::write_line(const std::string& line) { fmt::print(stderr, "{}\n", one_line(line, std::string::npos)); }

void Console::write_cause(const std::string& cause) const {
  const std::string whole = fmt::format("holdfast {}: {}", verb, cause);
  const std::string line = one_line(whole, cause_bytes_max);
  if (line.size() < whole.size()) write_line(whole);  // the full text stands above its short form
  const std::string_view red = may_colour() ? "\x1b[31m" : "", plain = may_colour() ? "\x1b[0m" : "";
  fmt::print(stderr, "{}{}{}\n", red, line, plain);
}

Exit Console::finish(const Result<Report>& result) const {
  Json object{{"holdfast", json_version}, {"verb", verb}, {"ok", result && result->cause.empty()}};
  object.update(result ? result->json : Json{{"error", to_json(result.error())}});
  const std::string text = json ? object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : result ? result->text : "";
  if (!write_result(text)) {
    write_cause("write the result to stdout: it was not taken");
    return Exit::no_verdict;
  }
  if (!result) {
    write_cause(result.error().message);
    return exit_of(result.error());
  }
  if (!result->cause.empty()) write_cause(result->cause);
  return result->cause.empty() ? Exit::good : Exit::bad;
}

Exit Console::misused(const std::string& what) const {
  const std::string name = verb.empty() ? "holdfast" : "holdfast " + verb;
  fmt::print(stderr, "{}\n", one_line(fmt::format("{}: {}; see {} --help", name, what, name), cause_bytes_max));
  return Exit::no_verdict;
}

}  // namespace holdfast::cli

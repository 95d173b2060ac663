#include "sim/main/console.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace holdfast::sim::program {
namespace {

constexpr int json_version = 1;
constexpr auto bar_interval = std::chrono::milliseconds(200);
constexpr auto line_interval = std::chrono::seconds(10);
constexpr std::size_t bar_width = 30;

}  // namespace

void Console::note(const std::string& line) const {
  if (!quiet) fmt::print(stderr, "{}\n", line);
}

Exit Console::finish(Exit exit, const Json& object, const std::string& last_line) const {
  if (json) {
    Json whole{{"holdfast", json_version}, {"verb", "sim " + verb}, {"ok", exit == Exit::good}};
    whole.update(object);
    fmt::print("{}\n", whole.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  fmt::print(json ? stderr : stdout, "{}\n", last_line);
  if (std::fflush(stdout) != 0) return Exit::no_verdict;
  return exit;
}

Exit Console::give_up(const Error& error) const {
  if (json) {
    const Json object{{"holdfast", json_version},
                      {"verb", "sim " + verb},
                      {"ok", false},
                      {"error", {{"code", to_string(error.code)}, {"message", error.message}}}};
    fmt::print("{}\n", object.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  fmt::print(stderr, "holdfast sim {}: {}\n", verb, error.message);
  return Exit::no_verdict;
}

Progress::Progress(const Console& console, std::string what, std::uint64_t total)
    : console_(console), what_(std::move(what)), total_(total), terminal_(::isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()),
      next_(start_ + (terminal_ ? std::chrono::steady_clock::duration(bar_interval) : line_interval)) {}

Progress::~Progress() {
  if (drawn_ && terminal_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::tick(std::uint64_t done, std::uint64_t failed) {
  const auto now = std::chrono::steady_clock::now();
  if (console_.quiet || now < next_) return;
  next_ = now + (terminal_ ? std::chrono::steady_clock::duration(bar_interval) : line_interval);
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = static_cast<double>(done) / seconds;
  std::string text = fmt::format("{}: {}", what_, done);
  if (total_ != 0) {
    text += fmt::format(" of {} cases", total_);
    if (done != 0) text += fmt::format(", {:.0f} s left", static_cast<double>(total_ - std::min(done, total_)) / rate);
  } else {
    text += " cases";
  }
  text += fmt::format(", {:.0f}/s, {} failed", rate, failed);
  if (!terminal_) {
    fmt::print(stderr, "{}\n", text);
    return;
  }
  const std::size_t full = total_ == 0 ? 0 : static_cast<std::size_t>(bar_width * std::min(done, total_) / total_);
  fmt::print(stderr, "\r\x1b[K[{}{}] {}", std::string(full, '#'), std::string(bar_width - full, '.'), text);
}

}  // namespace holdfast::sim::program

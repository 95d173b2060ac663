#include "impl/cli/progress.h"

#include <unistd.h>

#include <algorithm>

#include "impl/plan/summary.h"

namespace holdfast::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto first_bar = 500ms;
constexpr auto next_bar = 100ms;
constexpr auto next_line = 10s;
constexpr std::string_view wipe = "\r\x1b[K";

}  // namespace

std::string rate_text(std::uint64_t bytes, double seconds) {
  return plan::bytes_text(static_cast<std::uint64_t>(static_cast<double>(bytes) / std::max(seconds, 1e-6))) + "/s";
}

Progress::Progress(const Console& console, std::uint64_t total_bytes)
    : verb_(console.verb), silent_(console.quiet), terminal_(::isatty(STDERR_FILENO)), total_(total_bytes),
      start_(std::chrono::steady_clock::now()) {
  next_ = start_;
  next_ += terminal_ ? Time::duration(first_bar) : Time::duration(next_line);
}

Progress::~Progress() {
  if (drawn_) fmt::print(stderr, "{}", wipe);
}

void Progress::add(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  done_ += bytes;
  draw_if_due();
}

void Progress::entered(std::string_view step) {
  const std::lock_guard lock(mutex_);
  step_ = step;
  draw_if_due();
}

std::uint64_t Progress::bytes() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

double Progress::seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

void Progress::draw_if_due() {
  const Time now = std::chrono::steady_clock::now();
  if (silent_ || now < next_) return;
  if (terminal_) {
    fmt::print(stderr, "{}{}", wipe, line());
    std::fflush(stderr);
    drawn_ = true;
  } else {
    fmt::print(stderr, "{}\n", line());
  }
  next_ = now;
  next_ += terminal_ ? Time::duration(next_bar) : Time::duration(next_line);
}

std::string Progress::line() const {
  const double elapsed = seconds();
  const std::string what = step_.empty() ? verb_ : fmt::format("{} ({})", verb_, step_);
  if (total_ == 0) return fmt::format("{}: {}, {}", what, plan::bytes_text(done_), rate_text(done_, elapsed));
  const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
  std::string text = fmt::format("{}: {:3.0f}% {} of {}, {}", what, 100 * share, plan::bytes_text(done_), plan::bytes_text(total_),
                                 rate_text(done_, elapsed));
  if (share > 0) text += fmt::format(", {:.0f} s left", elapsed * (1 - share) / share);
  if (!terminal_) return text;
  constexpr std::size_t width = 24;
  const auto filled = static_cast<std::size_t>(share * width);
  return fmt::format("[{:#<{}}{:.<{}}] {}", "", filled, "", width - filled, text);
}

}  // namespace holdfast::cli

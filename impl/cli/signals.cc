#include "impl/cli/signals.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <string_view>

namespace holdfast::cli {
namespace {

// Handlers may only use what is async-signal-safe: a plain buffer, guarded by a flag.
char doomed[PATH_MAX] = "";
std::atomic<bool> is_doomed{false};

void say(std::string_view text) { (void)!::write(STDERR_FILENO, text.data(), text.size()); }

void interrupted(int signal) {
  if (is_doomed) ::unlink(doomed);
  say("\nholdfast: interrupted; nothing older was touched, and what was being written counts only if `holdfast latest` names it\n");
  ::raise(signal);  // the handler was installed for one time: now it ends the process
}

void lost_mapping(int) {
  if (is_doomed) ::unlink(doomed);
  say("\nholdfast: a file shrank or could not be read while it was in use (SIGBUS); nothing older was touched\n");
  ::_exit(2);
}

void install(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(signal, &action, nullptr);
}

}  // namespace

void handle_signals() {
  install(SIGINT, interrupted);
  install(SIGTERM, interrupted);
  install(SIGBUS, lost_mapping);
}

void remove_on_interrupt(const std::string& path) {
  is_doomed = false;
  if (path.empty() || path.size() >= sizeof doomed) return;
  *std::ranges::copy(path, doomed).out = '\0';
  is_doomed = true;
}

}  // namespace holdfast::cli

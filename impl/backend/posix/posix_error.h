// errno as an Error.
#pragma once

#include <cerrno>
#include <string>

#include "impl/core/error.h"

namespace holdfast::backend {

/// The system's text for an errno, in English whatever the locale.
std::string errno_text(int number);
/// The error for `number` (an errno) met while doing `what`: "what: the system's text".
Error errno_error(int number, std::string what);
/// The same as a failed result. errno is taken by value, before the text is made.
template <typename... Args>
tl::unexpected<Error> system_error(int number, fmt::format_string<Args...> what, Args&&... args) {
  return fail(errno_error(number, fmt::format(what, std::forward<Args>(args)...)));
}

/// Calls `call` until it is not interrupted by a signal.
template <typename Call>
auto uninterrupted(Call call) -> decltype(call()) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace holdfast::backend

// CHECK: an invariant of Holdfast's own code. Always on. It stops for bugs only; what the surroundings did is an Error (error.h).
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace holdfast {

struct CheckFailure {
  std::string_view condition;
  std::string_view message;
  const char* file;
  int line;
};

/// Called when a CHECK fails. The default prints the failure to stderr and aborts. A handler that returns is followed by abort.
using CheckHandler = void (*)(const CheckFailure&);

/// Installs `handler` for the whole process and returns the previous one. Not synchronised: install before threads start.
CheckHandler set_check_handler(CheckHandler handler);

[[noreturn]] void check_failed(std::string_view condition, const char* file, int line, std::string_view message);

}  // namespace holdfast

#define CHECK(condition, ...)                                                                          \
  do {                                                                                                 \
    if (!(condition)) [[unlikely]]                                                                     \
      ::holdfast::check_failed(#condition, __FILE__, __LINE__, ::holdfast::detail::text(__VA_ARGS__)); \
  } while (false)

namespace holdfast::detail {
inline std::string text() { return {}; }
template <typename... Args>
std::string text(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}
}  // namespace holdfast::detail

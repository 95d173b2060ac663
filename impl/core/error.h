// Errors are values, because they travel through collectives: a rank's error reaches every other rank and means the same there.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace holdfast {

/// A code exists only if some caller branches on it. Values are part of the wire and trace formats: append, never renumber.
enum class ErrorCode : std::uint8_t {
  invalid_argument = 1,  ///< the caller asked for something that cannot be: a wrong layout, an unknown key, a bad flag
  not_found = 2,         ///< the named object does not exist
  already_exists = 3,    ///< an exclusive creation met an existing object
  corrupt = 4,           ///< stored bytes are not the bytes that were written, or cannot be decoded
  io_error = 5,          ///< the storage or the device refused; the text has its reason
  timeout = 6,           ///< the deadline passed; the operation may still be going on, abandoned
  peer_lost = 7,         ///< the connection to a rank ended
  aborted = 8,           ///< given up because of somebody else's failure: a consequence, never a cause
  unknown_outcome = 9,   ///< the commit point may or may not have been passed; the stored commit record decides
  unsupported = 10,      ///< understood, but this back end or version cannot do it
  injected = 11,         ///< made by a fault-injecting test double on purpose
  out_of_memory = 12,    ///< an allocation, on the host or on the device, was refused
  no_space = 13,         ///< the storage is full or over quota
};

std::string_view to_string(ErrorCode code);

/// What went wrong. `message` says what was being done, to which object, what was found and what was expected, in one line.
struct Error {
  ErrorCode code = ErrorCode::io_error;
  std::string message;

  bool operator==(const Error&) const = default;
};

template <typename... Args>
Error error(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

/// The same error, told with what was being done around it: "load step 7: open "x": no such file".
template <typename... Args>
Error within(Error inner, fmt::format_string<Args...> format, Args&&... args) {
  inner.message = fmt::format(format, std::forward<Args>(args)...) + ": " + inner.message;
  return inner;
}

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

template <typename... Args>
tl::unexpected<Error> fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Error>(error(code, format, std::forward<Args>(args)...));
}
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

namespace detail {
template <typename T, typename E>
T take(tl::expected<T, E>& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
}  // namespace detail

}  // namespace holdfast

/// `auto value = TRY(call());` gives the value, or returns the error from the enclosing function. Users of the installed library write
/// HOLDFAST_TRY. It is a statement expression, which g++ and clang know in every mode; __extension__ keeps -pedantic quiet.
#define TRY(expression) HOLDFAST_TRY(expression)
#define HOLDFAST_TRY(expression) HOLDFAST_TRY_NAMED(HOLDFAST_JOIN(holdfast_result_, __COUNTER__), expression)

#define HOLDFAST_JOIN(a, b) HOLDFAST_JOIN_NOW(a, b)
#define HOLDFAST_JOIN_NOW(a, b) a##b
#define HOLDFAST_TRY_NAMED(result, expression)            \
  __extension__({                                         \
    auto result = (expression);                           \
    if (!result) [[unlikely]]                             \
      return ::tl::unexpected(std::move(result).error()); \
    ::holdfast::detail::take(result);                     \
  })

template <>
struct fmt::formatter<holdfast::Error> {
  constexpr auto parse(format_parse_context& context) { return context.begin(); }
  auto format(const holdfast::Error& error, format_context& context) const {
    return fmt::format_to(context.out(), "{} ({})", error.message, holdfast::to_string(error.code));
  }
};

// Expectations as values: a case says what failed by returning an Error, so that it runs anywhere, on a thread or on a fibre.
#pragma once

#include <source_location>

#include "impl/core/bytes.h"
#include "impl/port/clock.h"

namespace holdfast::conformance {

constexpr port::Duration long_time{30'000'000'000};  ///< a call that needs it has hung
constexpr port::Duration short_time{40'000'000};     ///< waited out by the cases that want a timeout

inline tl::unexpected<Error> failed_at(const std::source_location& where, std::string what) {
  return fail(ErrorCode::invalid_argument, "{}:{}: {}", where.file_name(), where.line(), what);
}

inline Status expect(bool held, std::string_view what, std::source_location where = std::source_location::current()) {
  if (held) return {};
  return failed_at(where, fmt::format("expected {}", what));
}

template <typename T>
Status expect_error(const Result<T>& result, ErrorCode code, std::source_location where = std::source_location::current()) {
  if (result) return failed_at(where, fmt::format("expected {}, but the call succeeded", to_string(code)));
  if (result.error().code == code) return {};
  return failed_at(where, fmt::format("expected {}, got {}", to_string(code), result.error()));
}

inline Status expect_bytes(ByteView got, std::string_view expected, std::source_location where = std::source_location::current()) {
  if (as_text(got) == expected) return {};
  return failed_at(where, fmt::format("expected bytes \"{}\", got \"{}\"", expected, as_text(got)));
}

}  // namespace holdfast::conformance

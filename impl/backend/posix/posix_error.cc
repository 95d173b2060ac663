#include "impl/backend/posix/posix_error.h"

#include <cstring>

namespace holdfast::backend {
namespace {

ErrorCode code_of(int number) {
  switch (number) {
    case ENOENT: return ErrorCode::not_found;
    case EEXIST: return ErrorCode::already_exists;
    case ENOSPC:
    case EDQUOT: return ErrorCode::no_space;
    case ENOMEM: return ErrorCode::out_of_memory;
    case ENAMETOOLONG: return ErrorCode::invalid_argument;
    default: return ErrorCode::io_error;
  }
}

}  // namespace

std::string errno_text(int number) {
  const char* const text = ::strerrordesc_np(number);  // not strerror: that one shares a buffer and speaks the user's language
  return text ? text : fmt::format("error {}", number);
}

Error errno_error(int number, std::string what) { return {code_of(number), std::move(what) + ": " + errno_text(number)}; }

}  // namespace holdfast::backend

#include "impl/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace holdfast {
namespace {

void print_and_abort(const CheckFailure& failure) {
  fmt::print(stderr, "{}:{}: CHECK({}) failed: {}\n", failure.file, failure.line, failure.condition, failure.message);
  std::abort();
}

CheckHandler current_handler = print_and_abort;

}  // namespace

CheckHandler set_check_handler(CheckHandler handler) {
  const CheckHandler previous = current_handler;
  current_handler = handler;
  return previous;
}

void check_failed(std::string_view condition, const char* file, int line, std::string_view message) {
  current_handler(CheckFailure{condition, message, file, line});
  std::abort();
}

}  // namespace holdfast

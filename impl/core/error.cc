#include "impl/core/error.h"

namespace holdfast {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument: return "invalid_argument";
    case ErrorCode::not_found: return "not_found";
    case ErrorCode::already_exists: return "already_exists";
    case ErrorCode::corrupt: return "corrupt";
    case ErrorCode::io_error: return "io_error";
    case ErrorCode::timeout: return "timeout";
    case ErrorCode::peer_lost: return "peer_lost";
    case ErrorCode::aborted: return "aborted";
    case ErrorCode::unknown_outcome: return "unknown_outcome";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::injected: return "injected";
    case ErrorCode::out_of_memory: return "out_of_memory";
    case ErrorCode::no_space: return "no_space";
  }
  return "unknown_code";
}

}  // namespace holdfast

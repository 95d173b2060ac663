// What a judge says of a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast {

/// The class that stands in every JSON verdict.
enum class VerdictClass : std::uint8_t { safety, liveness, crash, determinism, attribution, harness };

struct Violation {
  VerdictClass verdict_class = VerdictClass::safety;
  std::string property;  ///< catalogue id: "S3", "SEED-S1", ...
  std::string message;   ///< one line: what was found, what was expected
};

using Verdict = std::vector<Violation>;  ///< empty: nothing was found wrong

constexpr const char* to_string(VerdictClass c) {
  switch (c) {
    case VerdictClass::safety: return "safety";
    case VerdictClass::liveness: return "liveness";
    case VerdictClass::crash: return "crash";
    case VerdictClass::determinism: return "determinism";
    case VerdictClass::attribution: return "attribution";
    case VerdictClass::harness: return "harness";
  }
  return "invalid";
}

}  // namespace holdfast

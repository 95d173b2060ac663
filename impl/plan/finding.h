// What a check of a plan found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::plan {

enum class Severity : std::uint8_t { warning, error };

struct Finding {
  Severity severity = Severity::error;
  std::string id;       ///< one word, stable: "uncovered", "overlap", "hot-file", "imbalance", ...
  std::string message;  ///< one line; may be empty
  bool operator==(const Finding&) const = default;
};

/// "E uncovered: "wte": [2,0] is read 0 times" or "W imbalance: 3.4".
inline std::string to_string(const Finding& finding) {
  std::string text = finding.severity == Severity::error ? "E " : "W ";
  text += finding.id;
  if (!finding.message.empty()) text += ": " + finding.message;
  return text;
}

inline bool any_error(const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::error) return true;
  }
  return false;
}

}  // namespace holdfast::plan

#include "tests/bench/peer.h"

#include <sys/wait.h>

#include <cstdio>

namespace holdfast::bench {

Result<std::optional<nlohmann::json>> run_peer(const std::string& script, const std::string& arguments, std::string& why) {
  constexpr int no_pytorch = 3, no_program = 127;
  const std::string command = fmt::format("python3 -B \"{}/{}\" {} 2>&1", HOLDFAST_BENCH, script, arguments);
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return fail(ErrorCode::aborted, "{}: no process", script);
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output.push_back(static_cast<char>(c));
  const int status = pclose(pipe);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  while (output.ends_with('\n')) output.pop_back();
  if (code == no_pytorch || code == no_program) {
    why = output;
    return std::nullopt;
  }
  nlohmann::json result = nlohmann::json::parse(output.substr(output.rfind('\n') + 1), nullptr, false);  // warnings may stand before it
  if (code != 0 || !result.is_object()) return fail(ErrorCode::aborted, "{}: exit {}: {}", script, code, output);
  return result;
}

}  // namespace holdfast::bench

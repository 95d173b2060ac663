#include "tests/bench/plan_peer.h"

#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>

namespace holdfast::bench {

Result<std::optional<PlanPeer>> time_plan_peer(int ranks, int tensors, std::string& why) {
  constexpr int no_pytorch = 3, no_program = 127;
  const std::string command = fmt::format("python3 -B \"{}/plan_peer.py\" {} {} 2>&1", HOLDFAST_BENCH, ranks, tensors);
  std::FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return fail(ErrorCode::aborted, "time PyTorch's planner: no process");
  std::string output;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) output.push_back(static_cast<char>(c));
  const int status = pclose(pipe);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  while (output.ends_with('\n')) output.pop_back();
  if (code == no_pytorch || code == no_program) {
    why = output;
    return std::nullopt;
  }
  const auto result = nlohmann::json::parse(output, nullptr, false);
  if (code != 0 || !result.is_object()) return fail(ErrorCode::aborted, "time PyTorch's planner: exit {}: {}", code, output);
  return PlanPeer{result.value("seconds", 0.0), result.value("chunks", std::uint64_t{0}), result.value("version", "")};
}

}  // namespace holdfast::bench

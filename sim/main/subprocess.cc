#include "sim/main/subprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace holdfast::sim::program {
namespace {

std::vector<char*> argument_list(const std::vector<std::string>& words) {
  std::vector<char*> list;
  for (const std::string& word : words) list.push_back(const_cast<char*>(word.c_str()));
  list.push_back(nullptr);
  return list;
}

}  // namespace

std::string folder_of_this_program() {
  std::error_code failure;
  return std::filesystem::read_symlink("/proc/self/exe", failure).parent_path().string();
}

Result<std::string> program_beside(const std::string& name) {
  const auto path = std::filesystem::path(folder_of_this_program()) / name;
  if (::access(path.c_str(), X_OK) == 0) return path.string();
  return fail(ErrorCode::not_found, "\"{}\": not there; build the target {}", path.string(), name);
}

Result<Ended> run_program(const std::vector<std::string>& words) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(ErrorCode::io_error, "start \"{}\": {}", words[0], std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int refused = ::posix_spawn(&child, words[0].c_str(), &actions, nullptr, argument_list(words).data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  Ended ended;
  std::array<char, 1 << 14> part;
  while (refused == 0) {
    const ssize_t got = ::read(ends[0], part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    ended.output.append(part.data(), static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  if (refused != 0) return fail(ErrorCode::io_error, "start \"{}\": {}", words[0], std::strerror(refused));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  constexpr int signal_base = 128;
  ended.exit = WIFEXITED(status) ? WEXITSTATUS(status) : signal_base + WTERMSIG(status);
  return ended;
}

Error become(const std::vector<std::string>& words) {
  ::execv(words[0].c_str(), argument_list(words).data());
  return error(ErrorCode::io_error, "start \"{}\": {}", words[0], std::strerror(errno));
}

}  // namespace holdfast::sim::program

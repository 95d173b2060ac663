#include "impl/cli/external.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace holdfast::cli {
namespace {

constexpr std::string_view prefix = "holdfast-";

std::filesystem::path own_directory() {
  std::error_code failure;
  return std::filesystem::read_symlink("/proc/self/exe", failure).parent_path();
}

}  // namespace

std::vector<std::string> external_verbs() {
  std::vector<std::string> verbs;
  std::error_code failure;
  for (const auto& entry : std::filesystem::directory_iterator(own_directory(), failure)) {
    const std::string name = entry.path().filename().string();
    const bool is_verb = name.starts_with(prefix) && !name.ends_with("-mutants") && name.find('.') == std::string::npos;
    if (is_verb && ::access(entry.path().c_str(), X_OK) == 0) verbs.push_back(name.substr(prefix.size()));
  }
  std::ranges::sort(verbs);
  return verbs;
}

std::string run_external(const std::string& verb, const std::vector<std::string>& arguments) {
  const bool is_name = std::ranges::all_of(verb, [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_'; });
  const std::string program = (own_directory() / (std::string(prefix) + verb)).string();
  if (!is_name || ::access(program.c_str(), X_OK) != 0) return fmt::format("there is no verb \"{}\"", verb);
  std::vector<char*> words{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  ::execv(program.c_str(), words.data());
  return fmt::format("start \"{}\": {}", program, std::strerror(errno));
}

}  // namespace holdfast::cli

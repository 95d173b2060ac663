#include "reports/publish.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <thread>

#include "reports/markdown.h"

namespace holdfast::reports {
namespace {

constexpr std::size_t github_bytes_max = (std::size_t{1} << 20) - 1;
constexpr std::size_t useful_bytes_min = 2000;

Status write_file(const std::string& path, std::string_view text, const char* mode) {
  std::FILE* const file = std::fopen(path.c_str(), mode);
  const bool written = file && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int reason = errno;
  const bool closed = file && std::fclose(file) == 0;
  if (written && closed) return {};
  return fail(ErrorCode::io_error, "write \"{}\": {}", path, std::strerror(written ? errno : reason));
}

Status append_step_summary(const CampaignReport& report, const std::string& path) {
  std::error_code absent;
  const std::size_t there = std::filesystem::exists(path, absent) ? static_cast<std::size_t>(std::filesystem::file_size(path, absent)) : 0;
  if (there + useful_bytes_min > github_bytes_max) {
    return fail(ErrorCode::no_space, "append the summary to \"{}\": found {} bytes there already; GitHub takes {}", path, there,
                github_bytes_max);
  }
  const std::string text = markdown_summary(report, std::min(markdown_bytes_max, github_bytes_max - there - 1));
  return write_file(path, text + "\n", "ab");
}

}  // namespace

Status publish(const CampaignReport& report, const std::vector<JunitCase>& cases, const Publication& where) {
  if (!where.junit.empty()) TRY(write_text_file(where.junit, junit_xml(report.name, cases)));
  if (!where.summary.empty()) TRY(write_text_file(where.summary, markdown_summary(report)));
  const char* const step = std::getenv("GITHUB_STEP_SUMMARY");
  if (step && *step != '\0') TRY(append_step_summary(report, step));
  return {};
}

Status write_text_file(const std::string& path, std::string_view text) {
  std::error_code failed;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, failed);
  if (failed) return fail(ErrorCode::io_error, "write \"{}\": {}", path, failed.message());
  return write_file(path, text, "wb");
}

std::string utc(const char* format) {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, format, &parts)};
}

std::string machine() {
  utsname name{};
  ::uname(&name);
  return fmt::format("{} {} {}, {} cores", name.sysname, name.release, name.machine, std::thread::hardware_concurrency());
}

}  // namespace holdfast::reports

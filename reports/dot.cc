#include "reports/dot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>

#include "reports/palette.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr int dot_timeout_s = 60;
constexpr std::string_view font = "Helvetica,Arial,Liberation Sans,sans-serif";

std::string attribute_list(DotAttributes attributes) {
  std::string out;
  for (const auto& [name, value] : attributes) {
    out += fmt::format("{}{}={}", out.empty() ? "" : ", ", name, value.html ? "<" + value.text + ">" : dot_quoted(value.text));
  }
  return out;
}

/// "rank-3:out" as DOT wants it: both halves quoted.
std::string endpoint(std::string_view end) {
  const std::size_t colon = end.find(':');
  if (colon == std::string_view::npos) return dot_quoted(end);
  return dot_quoted(end.substr(0, colon)) + ":" + dot_quoted(end.substr(colon + 1));
}

/// A directory that goes with its content when it leaves scope.
class ScratchDirectory {
 public:
  static Result<ScratchDirectory> create() {
    std::error_code no_directory;
    const std::filesystem::path base = std::filesystem::temp_directory_path(no_directory);
    if (no_directory)
      return fail(ErrorCode::io_error, "draw a picture: find the directory for temporary files: {}", no_directory.message());
    std::string name = (base / "holdfast-dot-XXXXXX").string();
    if (!::mkdtemp(name.data())) return fail(ErrorCode::io_error, "draw a picture: make directory \"{}\": {}", name, std::strerror(errno));
    return ScratchDirectory(name);
  }
  ScratchDirectory(ScratchDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  ~ScratchDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string file(std::string_view name) const { return (path_ / name).string(); }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

std::string read_whole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The wait status of a child that ends by the deadline; one that does not is killed.
Result<int> wait_for(pid_t child) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(dot_timeout_s);
  while (true) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) return fail(ErrorCode::io_error, "draw a picture: wait for `dot`: {}", std::strerror(errno));
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return fail(ErrorCode::timeout, "draw a picture: `dot` had not ended after {} s; keep the DOT text, or look at less", dot_timeout_s);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

/// Runs `dot -Tsvg` with its three streams on files; returns the wait status.
Result<int> run_dot(const std::string& in, const std::string& out, const std::string& err) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in.c_str(), O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::string program = "dot";
  std::string format = "-Tsvg";
  char* const arguments[] = {program.data(), format.data(), nullptr};
  pid_t child = 0;
  const int refused = ::posix_spawnp(&child, "dot", &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (refused == ENOENT) {
    return fail(ErrorCode::unsupported, "draw a picture: there is no program `dot` in PATH; install Graphviz, or keep the DOT text");
  }
  if (refused != 0) return fail(ErrorCode::io_error, "draw a picture: start `dot`: {}", std::strerror(refused));
  return wait_for(child);
}

}  // namespace

std::string dot_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

DotGraph::DotGraph(std::string_view name, std::string title_html)
    : text_(fmt::format("digraph {} {{\n"
                        "  graph [rankdir=LR, labelloc=t, labeljust=l, bgcolor=\"{}\", fontname=\"{}\", fontsize=13, fontcolor=\"{}\","
                        " nodesep=0.16, ranksep=\"1.5 equally\", pad=0.25, outputorder=edgesfirst, label=<{}>]\n"
                        "  node [shape=plain, fontname=\"{}\", fontsize=11, fontcolor=\"{}\", color=\"{}\"]\n"
                        "  edge [fontname=\"{}\", fontsize=10, fontcolor=\"{}\", color=\"{}\", arrowsize=0.6]\n",
                        dot_quoted(name), palette::ground, font, palette::ink, title_html, font, palette::ink, palette::line, font,
                        palette::soft, palette::grey)) {}

void DotGraph::settings(DotAttributes attributes) { text_ += fmt::format("  graph [{}]\n", attribute_list(attributes)); }

void DotGraph::node(std::string_view id, DotAttributes attributes) {
  text_ += fmt::format("  {0} [id={0}, {1}]\n", dot_quoted(id), attribute_list(attributes));
  ++nodes_;
}

void DotGraph::edge(std::string_view from, std::string_view to, DotAttributes attributes) {
  text_ += fmt::format("  {} -> {} [{}]\n", endpoint(from), endpoint(to), attribute_list(attributes));
}

void DotGraph::column(const std::vector<std::string>& ids) {
  if (ids.empty()) return;
  text_ += "  { rank=same;";
  for (const std::string& id : ids) text_ += " " + dot_quoted(id) + ";";
  text_ += " }\n";
  // Invisible edges keep the order that the numbers have; without them dot orders a column to save crossings.
  for (std::size_t i = 1; i < ids.size(); ++i) {
    text_ += fmt::format("  {} -> {} [style=invis]\n", dot_quoted(ids[i - 1]), dot_quoted(ids[i]));
  }
}

Result<std::string> render_svg(std::string_view dot_text) {
  const ScratchDirectory scratch = TRY(ScratchDirectory::create());
  const std::string in = scratch.file("in.dot");
  std::ofstream file(in, std::ios::binary);
  file << dot_text;
  file.close();
  if (!file) return fail(ErrorCode::io_error, "draw a picture: write {} bytes of DOT to \"{}\": not all were taken", dot_text.size(), in);
  const int status = TRY(run_dot(in, scratch.file("out.svg"), scratch.file("err")));
  const std::string complaint = read_whole(scratch.file("err"));
  if (!complaint.empty()) return fail(ErrorCode::invalid_argument, "draw a picture: dot said: {}", clip(complaint, 400));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return fail(ErrorCode::invalid_argument, "draw a picture: dot ended with wait status {} and without a word", status);
  }
  std::string svg = read_whole(scratch.file("out.svg"));
  const std::size_t root = svg.find("<svg");
  const std::size_t open_end = root == std::string::npos ? root : svg.find('>', root);
  if (open_end == std::string::npos) return fail(ErrorCode::io_error, "draw a picture: dot wrote {} bytes that are no SVG", svg.size());
  svg.insert(open_end + 1, "<style>" + palette::theme_css() + "</style>");
  return svg.substr(root);
}

}  // namespace holdfast::reports

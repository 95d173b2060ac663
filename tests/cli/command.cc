#include "tests/cli/command.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <stdexcept>

namespace holdfast::cli_test {
namespace {

namespace fs = std::filesystem;

pid_t spawn(const std::string& binary, const std::vector<std::string>& arguments, const std::string& out, const std::string& err) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::vector<char*> words{const_cast<char*>(binary.c_str())};
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  pid_t child = -1;
  const int refused = ::posix_spawn(&child, binary.c_str(), &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (refused != 0) throw std::runtime_error("cannot start " + binary);
  return child;
}

}  // namespace

std::string Ran::last_line() const {
  const std::size_t end = err.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  const std::size_t begin = err.rfind('\n', end);
  return err.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? std::size_t{0} - 1 : begin));
}

std::string program() { return HOLDFAST_PROGRAM; }

Ran holdfast(const std::vector<std::string>& arguments, const std::string& binary) {
  const Scratch scratch;
  const std::string out = scratch / "out", err = scratch / "err";
  int status = 0;
  ::waitpid(spawn(binary, arguments, out, err), &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_file(out), read_file(err)};
}

pid_t start(const std::vector<std::string>& arguments) { return spawn(program(), arguments, "/dev/null", "/dev/null"); }

Scratch::Scratch() {
  std::string name = (fs::temp_directory_path() / "holdfast-cli-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw std::runtime_error("cannot make " + name);
  path_ = fs::canonical(name);
}

Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t begin = data.size();
    data += tensor.data;
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string json = header.dump();
  std::string length;
  for (int byte = 0; byte < 8; ++byte) length += static_cast<char>(json.size() >> (8 * byte));
  write_file(path, length + json + data);
}

std::map<std::string, Tensor> read_safetensors(const std::string& path, std::map<std::string, std::string>* metadata) {
  const std::string file = read_file(path);
  std::size_t length = 0;
  for (std::size_t byte = 8; byte-- > 0;) length = length << 8 | static_cast<unsigned char>(file.at(byte));
  const auto header = nlohmann::json::parse(file.substr(8, length));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (metadata) *metadata = entry.get<std::map<std::string, std::string>>();
      continue;
    }
    const std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    tensors[name] = {entry["dtype"], entry["shape"].get<std::vector<std::int64_t>>(), file.substr(8 + length + begin, end - begin)};
  }
  return tensors;
}

std::string noise(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream << text;
}

void flip_bit(const std::string& path, std::uint64_t bit) {
  std::string bytes = read_file(path);
  bytes.at(bit / 8) = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  write_file(path, bytes);
}

std::vector<std::string> files_below(const std::string& path) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), path).string());
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace holdfast::cli_test

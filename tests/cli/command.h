// Runs the real command as a process, and makes files for it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace holdfast::cli_test {

struct Ran {
  int exit = -1;  ///< or minus the signal that ended it
  std::string out;
  std::string err;

  std::string last_line() const;  ///< of stderr
  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

/// The program under test.
std::string program();
/// Runs it to its end.
Ran holdfast(const std::vector<std::string>& arguments, const std::string& binary = program());
/// Starts it and returns its process id; its output goes nowhere.
pid_t start(const std::vector<std::string>& arguments);

/// A directory of its own, gone at the end.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct Tensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string data;
};
/// Writes a safetensors file by hand: a header without padding, tensors in name order.
void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});
/// The tensors of a plain safetensors file, and its __metadata__.
std::map<std::string, Tensor> read_safetensors(const std::string& path, std::map<std::string, std::string>* metadata = nullptr);
/// `bytes` bytes that depend on the seed.
std::string noise(std::size_t bytes, unsigned seed);

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& text);
void flip_bit(const std::string& path, std::uint64_t bit);
/// Every regular file below `path`, relative to it, sorted.
std::vector<std::string> files_below(const std::string& path);

}  // namespace holdfast::cli_test

// The directory of a world whose storage is files.
#pragma once

#include <filesystem>
#include <memory>

#include "impl/core/error.h"

namespace holdfast::properties {

/// Lies in memory where there is a file system in memory: a property makes thousands of small durable files. Gone with this object.
class Scratch {
 public:
  /// Errors: io_error.
  static Result<std::unique_ptr<Scratch>> make();
  /// In a folder of the user's, which is made if it is missing. Errors: io_error.
  static Result<std::unique_ptr<Scratch>> make_in(const std::filesystem::path& folder);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  const std::string& path() const { return path_; }
  void empty();

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace holdfast::properties

// A fresh directory that is gone, with all that is in it, when its owner is.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "impl/core/check.h"

namespace holdfast::test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((std::filesystem::temp_directory_path() / "holdfast-XXXXXX").string()) {
    CHECK(::mkdtemp(path_.data()) != nullptr, "make a temporary directory {}", path_);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace holdfast::test

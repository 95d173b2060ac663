// Reading the repository's own files in tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "impl/core/bytes.h"

namespace holdfast::testing {

/// `path` from the root of the repository.
inline Bytes read_repository_file(const std::string& path) {
  Bytes bytes;
  std::FILE* file = std::fopen((std::string(HOLDFAST_SOURCE_DIR) + "/" + path).c_str(), "rb");
  if (!file) {
    ADD_FAILURE() << "cannot open " << path;
    return bytes;
  }
  std::byte buffer[4096];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, file)) bytes.insert(bytes.end(), buffer, buffer + count);
  std::fclose(file);
  return bytes;
}

}  // namespace holdfast::testing

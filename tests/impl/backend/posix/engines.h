// Every way that PosixStorage can move bytes, for tests that must hold on each.
#pragma once

#include <gtest/gtest.h>
#include <sys/vfs.h>

#include <array>
#include <string>

#include "impl/backend/posix/io_engine.h"

namespace holdfast::test {

struct EngineCase {
  const char* name;
  const char* text;  ///< PosixStorage::engine(), where nothing stands in the way
  backend::IoEngineOptions options;
  bool ring() const { return options.queue == backend::QueueChoice::io_uring; }
  bool direct() const { return options.cache == backend::CacheChoice::direct; }
};

inline constexpr std::array all_engines = {
    EngineCase{"RingDirect", "io_uring + O_DIRECT", {backend::QueueChoice::io_uring, backend::CacheChoice::direct}},
    EngineCase{"RingBuffered", "io_uring + page cache", {backend::QueueChoice::io_uring, backend::CacheChoice::buffered}},
    EngineCase{"ThreadsDirect", "threads + O_DIRECT", {backend::QueueChoice::threads, backend::CacheChoice::direct}},
    EngineCase{"ThreadsBuffered", "threads + page cache", {backend::QueueChoice::threads, backend::CacheChoice::buffered}},
};

inline constexpr std::array direct_engines = {all_engines[0], all_engines[2]};

/// For INSTANTIATE_TEST_SUITE_P.
inline std::string engine_name(const ::testing::TestParamInfo<EngineCase>& engine) { return engine.param.name; }

/// On tmpfs files are their page cache, whatever O_DIRECT says.
inline bool is_tmpfs(const std::string& path) {
  struct statfs info;
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == 0x01021994;
}

}  // namespace holdfast::test

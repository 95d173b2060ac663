// A PosixStorage with scripted system calls in a directory of its own, for every engine.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <thread>

#include "impl/backend/host/clock.h"
#include "impl/backend/posix/posix_storage.h"
#include "tests/impl/backend/expect.h"
#include "tests/impl/backend/posix/engines.h"
#include "tests/impl/backend/posix/scripted_calls.h"
#include "tests/impl/backend/temporary_directory.h"

namespace holdfast::backend {

using test::expect_error;

class PosixStorageTest : public ::testing::TestWithParam<test::EngineCase> {
 protected:
  void SetUp() override {
    const auto opened = PosixStorage::open_root(directory.path(), {.engine = GetParam().options});
    if (!opened) GTEST_SKIP() << opened.error().message;
    reopen({});
  }
  void reopen(PosixStorageOptions options) {
    options.calls = calls;
    options.engine = GetParam().options;
    storage = PosixStorage::open_root(directory.path(), std::move(options)).value();
  }
  port::Deadline soon() { return clock.after(std::chrono::seconds(60)); }
  Status write(port::FileId file, std::uint64_t offset, std::string_view text, port::Deadline deadline) {
    const SharedBytes bytes(to_bytes(as_bytes(text)));
    const port::WritePiece piece{offset, bytes.view(), bytes.owner()};
    return storage->write_all(file, {&piece, 1}, deadline);
  }
  Status read(port::FileId file, std::uint64_t offset, Bytes& into) {
    const auto buffer = std::make_shared<Bytes>(into.size());
    const port::ReadPiece piece{offset, *buffer, buffer};
    Status done = storage->read_all(file, {&piece, 1}, soon());
    into = *buffer;
    return done;
  }
  std::string on_disk(const std::string& path) {
    std::ifstream in(directory.path() + "/" + path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void wait_for_abandoned() {
    while (storage->abandoned_operations() != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  test::TemporaryDirectory directory;
  SteadyClock clock;
  std::shared_ptr<test::ScriptedCalls> calls = std::make_shared<test::ScriptedCalls>();
  std::unique_ptr<PosixStorage> storage;
};

}  // namespace holdfast::backend

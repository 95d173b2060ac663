// What PosixStorage adds to the conformance cases: texts, codes, bad paths, awkward system calls, deadlines, threads.
#include "impl/backend/posix/posix_storage.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/impl/backend/posix/storage_fixture.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

INSTANTIATE_TEST_SUITE_P(Engines, PosixStorageTest, testing::ValuesIn(test::all_engines), test::engine_name);

TEST_P(PosixStorageTest, NamesOperationPathAndReasonInEveryError) {
  ASSERT_TRUE(storage->make_directory("d", soon()));
  const port::FileId full = storage->create("d/f", soon()).value();
  ASSERT_TRUE(storage->close(full));
  expect_error(storage->make_directory("d", soon()), ErrorCode::already_exists, "make directory \"d\": File exists");
  expect_error(storage->create("d/f", soon()), ErrorCode::already_exists, "create \"d/f\": File exists");
  expect_error(storage->open("g", soon()), ErrorCode::not_found, "open \"g\": No such file or directory");
  expect_error(storage->open("d", soon()), ErrorCode::io_error, "open \"d\": not a regular file");
  expect_error(storage->open("d/f/g", soon()), ErrorCode::io_error, "open \"d/f/g\": Not a directory");
  expect_error(storage->rename("g", "h", soon()), ErrorCode::not_found, "rename \"g\" to \"h\": No such file or directory");
  expect_error(storage->link_if_absent("d/f", "d/f", soon()), ErrorCode::already_exists, "link \"d/f\" to \"d/f\": File exists");
  expect_error(storage->remove("d", soon()), ErrorCode::io_error, "remove \"d\": Is a directory");
  expect_error(storage->remove_directory("d", soon()), ErrorCode::io_error, "remove directory \"d\": Directory not empty");
  expect_error(storage->list("g", soon()), ErrorCode::not_found, "list \"g\": No such file or directory");
  expect_error(storage->list("d/f", soon()), ErrorCode::io_error, "list \"d/f\": Not a directory");
  expect_error(storage->sync_directory("g", soon()), ErrorCode::not_found, "sync directory \"g\": No such file or directory");
  const std::string long_name(300, 'n');
  expect_error(storage->create(long_name, soon()), ErrorCode::invalid_argument, "create \"" + long_name + "\": File name too long");
}

TEST_P(PosixStorageTest, NamesTheOffsetOfAFailedReadOrWrite) {
  const port::FileId file = storage->create("x", soon()).value();
  ASSERT_TRUE(write(file, 0, "abcd", soon()));
  Bytes five(5);
  expect_error(read(file, 2, five), ErrorCode::corrupt, "read \"x\" at 4: the file ends here, 3 more bytes were expected");
  calls->pread_errno = EIO;
  expect_error(read(file, 2, five), ErrorCode::io_error, "read \"x\" at 2: Input/output error");
  calls->write_budget = 6;
  expect_error(write(file, 4090, "0123456789", soon()), ErrorCode::no_space, "write \"x\" at 4096: No space left on device");
  calls->pwrite_errno = EDQUOT;
  expect_error(write(file, 0, "x", soon()), ErrorCode::no_space, "write \"x\" at 0: Disk quota exceeded");
  calls->pwrite_errno = EIO;
  expect_error(write(file, 0, "x", soon()), ErrorCode::io_error, "write \"x\" at 0: Input/output error");
  ASSERT_TRUE(storage->close(file));
}

TEST_P(PosixStorageTest, RefusesToWriteThroughAReader) {
  ASSERT_TRUE(storage->close(storage->create("x", soon()).value()));
  const port::FileId file = storage->open("x", soon()).value();
  expect_error(write(file, 0, "x", soon()), ErrorCode::io_error, "write \"x\" at 0: Bad file descriptor");
  expect_error(storage->truncate(file, 5, soon()), ErrorCode::io_error, "truncate \"x\" to 5: Invalid argument");
  ASSERT_TRUE(storage->close(file));
}

TEST_P(PosixStorageTest, ASyncThatFailedFailsAgain) {
  const port::FileId file = storage->create("x", soon()).value();
  calls->fsync_errno = EIO;
  expect_error(storage->sync(file, soon()), ErrorCode::io_error, "sync \"x\": Input/output error");
  expect_error(storage->sync_directory("", soon()), ErrorCode::io_error, "sync directory \"\": Input/output error");
  calls->fsync_errno = 0;
  expect_error(storage->sync(file, soon()), ErrorCode::io_error, "sync \"x\": Input/output error");
  EXPECT_TRUE(storage->sync_directory("", soon()));
  ASSERT_TRUE(storage->close(file));
  const port::FileId again = storage->open("x", soon()).value();
  EXPECT_TRUE(storage->sync(again, soon()));
  ASSERT_TRUE(storage->close(again));
}

TEST_P(PosixStorageTest, ReportsAFailedCloseAndGivesTheHandleBack) {
  const port::FileId file = storage->create("x", soon()).value();
  calls->close_errno = ENOSPC;
  expect_error(storage->close(file), ErrorCode::no_space, "close \"x\": No space left on device");
  EXPECT_EQ(storage->live_files(), 0u);
}

TEST_P(PosixStorageTest, AFileSystemWithoutLinksIsUnsupported) {
  ASSERT_TRUE(storage->close(storage->create("x", soon()).value()));
  for (const int number : {EPERM, EXDEV, EOPNOTSUPP, ENOSYS}) {
    calls->linkat_errno = number;
    const Status linked = storage->link_if_absent("x", "y", soon());
    ASSERT_FALSE(linked);
    EXPECT_EQ(linked.error().code, ErrorCode::unsupported) << linked.error().message;
  }
  calls->linkat_errno = EPERM;
  expect_error(storage->link_if_absent("x", "y", soon()), ErrorCode::unsupported, "link \"x\" to \"y\": Operation not permitted");
}

TEST_P(PosixStorageTest, ContinuesShortAndInterruptedCalls) {
  const std::string text = "The quick brown fox jumps over the lazy dog";
  for (const std::size_t most : {1, 2, 7, 100}) {
    const std::string path = fmt::format("x{}", most);
    calls->bytes_max = most;
    const port::FileId file = storage->create(path, soon()).value();
    calls->interruptions = 3;
    ASSERT_TRUE(write(file, 5, text, soon()));
    EXPECT_EQ(on_disk(path), std::string(5, '\0') + text);
    calls->interruptions = 3;
    Bytes bytes(text.size());
    ASSERT_TRUE(read(file, 5, bytes));
    EXPECT_EQ(as_text(bytes), text);
    calls->interruptions = 3;
    EXPECT_TRUE(storage->sync(file, soon()));
    EXPECT_EQ(calls->interruptions, 0);
    ASSERT_TRUE(storage->close(file));
  }
}

TEST_P(PosixStorageTest, RefusesPathsThatCouldLeaveTheRoot) {
  const auto refused = [&](std::string_view path, std::string_view reason) {
    const auto expect = [&](const auto& result, std::string_view verb) {
      expect_error(result, ErrorCode::invalid_argument, fmt::format("{} \"{}\": {}", verb, path, reason));
    };
    expect(storage->create(path, soon()), "create");
    expect(storage->open(path, soon()), "open");
    expect(storage->make_directory(path, soon()), "make directory");
    expect(storage->remove(path, soon()), "remove");
    expect(storage->remove_directory(path, soon()), "remove directory");
    expect(storage->rename("a", path, soon()), "rename to");
    expect(storage->rename(path, "a", soon()), "rename");
    expect(storage->link_if_absent("a", path, soon()), "link to");
    expect(storage->link_if_absent(path, "a", soon()), "link");
    if (path.empty()) return;  // lists and syncs the root
    expect(storage->list(path, soon()), "list");
    expect(storage->sync_directory(path, soon()), "sync directory");
  };
  refused("", "that is the root itself");
  refused("/etc/passwd", "the path must be relative");
  for (const std::string_view path : {"..", ".", "../x", "a/../../x", "a/..", "./a", "a/./b"}) {
    refused(path, "\".\" and \"..\" are not allowed in a path");
  }
  for (const std::string_view path : {"a//b", "a/", "a/b//"}) refused(path, "the path has an empty component");
  refused(std::string_view("a\0b", 3), "the path has a NUL character");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  for (const std::string_view path : {"..a", "a..", "...", ".a"}) {
    const auto file = storage->create(path, soon());
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_TRUE(storage->close(*file));
  }
}

TEST_P(PosixStorageTest, NeedsARootThatIsADirectory) {
  const std::string missing = directory.path() + "/missing";
  expect_error(PosixStorage::open_root(missing), ErrorCode::not_found,
               fmt::format("open the storage root \"{}\": No such file or directory", missing));
  std::ofstream(directory.path() + "/file").put('x');
  const std::string file = directory.path() + "/file";
  expect_error(PosixStorage::open_root(file), ErrorCode::io_error, fmt::format("open the storage root \"{}\": Not a directory", file));
}

TEST_P(PosixStorageTest, StaysWithItsRootWhenThatIsMoved) {
  const test::TemporaryDirectory elsewhere;
  std::filesystem::create_directory(directory.path() + "/root");
  const auto moved = PosixStorage::open_root(directory.path() + "/root").value();
  std::filesystem::rename(directory.path() + "/root", elsewhere.path() + "/root");
  ASSERT_TRUE(moved->close(moved->create("x", soon()).value()));
  EXPECT_TRUE(std::filesystem::exists(elsewhere.path() + "/root/x"));
}

TEST_P(PosixStorageTest, AFifoDoesNotHangAnOpen) {
  ASSERT_EQ(::mkfifo((directory.path() + "/fifo").c_str(), 0600), 0);
  expect_error(storage->open("fifo", soon()), ErrorCode::io_error, "open \"fifo\": not a regular file");
  EXPECT_EQ(storage->live_files(), 0u);
}

TEST_P(PosixStorageTest, ListFollowsLinksToTellDirectories) {
  ASSERT_TRUE(storage->make_directory("d", soon()));
  std::filesystem::create_directory_symlink("d", directory.path() + "/link");
  std::filesystem::create_symlink("nowhere", directory.path() + "/dangling");
  auto entries = storage->list("", soon()).value();
  std::sort(entries.begin(), entries.end());
  EXPECT_EQ(entries, (std::vector<port::DirectoryEntry>{{"d", true}, {"dangling", false}, {"link", true}}));
}

TEST_P(PosixStorageTest, AnAbandonedWriteKeepsItsBufferAndItsFileUntilItEnds) {
  const port::FileId file = storage->create("x", soon()).value();
  auto buffer = std::make_shared<Bytes>(to_bytes(as_bytes("abandoned")));
  const std::weak_ptr<Bytes> watched = buffer;
  calls->hold();
  {
    const std::vector<port::WritePiece> pieces = {{0, *buffer, buffer}};
    expect_error(storage->write_all(file, pieces, clock.after(50ms)), ErrorCode::timeout,
                 "write \"x\": not done at its deadline; it goes on, abandoned");
  }
  buffer.reset();
  EXPECT_FALSE(watched.expired()) << "the buffer was freed under a running write";
  EXPECT_EQ(storage->abandoned_operations(), 1);
  expect_error(storage->close(file), ErrorCode::timeout,
               "close \"x\": an abandoned operation still uses the file; it is closed when that ends");
  EXPECT_EQ(storage->live_files(), 1u);

  calls->release();
  while (storage->abandoned_operations() != 0) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(storage->live_files(), 0u);
  EXPECT_EQ(on_disk("x"), "abandoned");
}

TEST_P(PosixStorageTest, AnOperationThatHasNotBegunAtItsDeadlineNeverDoes) {
  reopen({.workers = 1});
  const port::FileId file = storage->create("x", soon()).value();
  calls->hold();
  std::thread blocked([&] { EXPECT_TRUE(storage->sync(file, soon())); });
  calls->wait_held(1);
  expect_error(storage->make_directory("d", clock.after(20ms)), ErrorCode::timeout,
               "make directory \"d\": not begun at its deadline, and dropped");
  calls->release();
  blocked.join();
  ASSERT_TRUE(storage->sync(file, soon()));
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/d"));
  ASSERT_TRUE(storage->close(file));
}

TEST_P(PosixStorageTest, HungOperationsDoNotStopTheOthers) {
  reopen({.workers = 2});
  const port::FileId file = storage->create("x", soon()).value();
  calls->hold();
  for (int i = 0; i < 6; ++i) {
    const Status hung = storage->sync(file, clock.after(20ms));
    ASSERT_FALSE(hung);
    EXPECT_EQ(hung.error().code, ErrorCode::timeout);
    EXPECT_TRUE(storage->list("", soon()));
  }
  calls->release();
  while (storage->abandoned_operations() != 0) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(storage->sync(file, soon()));
  ASSERT_TRUE(storage->close(file));
}

TEST_P(PosixStorageTest, ItsEndWaitsForNothingThatHangs) {
  const port::FileId file = storage->create("x", soon()).value();
  auto buffer = std::make_shared<Bytes>(to_bytes(as_bytes("late")));
  const std::weak_ptr<Bytes> watched = buffer;
  calls->hold();
  {
    const std::vector<port::WritePiece> pieces = {{0, *buffer, buffer}};
    ASSERT_FALSE(storage->write_all(file, pieces, clock.after(20ms)));
  }
  buffer.reset();
  storage.reset();
  EXPECT_FALSE(watched.expired());
  calls->release();
  while (!watched.expired()) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(on_disk("x"), "late");
}

TEST_P(PosixStorageTest, ServesManyThreadsAtOnce) {
  constexpr int threads = 6, files = 30;
  std::vector<std::thread> running;
  for (int t = 0; t < threads; ++t) {
    running.emplace_back([&, t] {
      for (int f = 0; f < files; ++f) {
        const std::string path = fmt::format("{}-{}", t, f);
        const port::FileId file = storage->create(path, soon()).value();
        EXPECT_TRUE(write(file, 0, path, soon()));
        Bytes bytes(path.size());
        EXPECT_TRUE(read(file, 0, bytes));
        EXPECT_EQ(as_text(bytes), path);
        EXPECT_TRUE(storage->close(file));
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  EXPECT_EQ(storage->list("", soon()).value().size(), std::size_t{threads} * files);
  EXPECT_EQ(storage->live_files(), 0u);
}

TEST_P(PosixStorageTest, OneOfManyThreadsWinsAName) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> created{0}, made{0}, refused{0};
    std::vector<std::thread> running;
    for (int t = 0; t < 4; ++t) {
      running.emplace_back([&] {
        if (storage->make_directory(fmt::format("d{}", round), soon())) ++made;
        const auto file = storage->create(fmt::format("x{}", round), soon());
        if (!file) {
          refused += file.error().code == ErrorCode::already_exists;
          return;
        }
        ++created;
        EXPECT_TRUE(storage->close(*file));
      });
    }
    for (std::thread& thread : running) thread.join();
    EXPECT_EQ(created, 1);
    EXPECT_EQ(made, 1);
    EXPECT_EQ(refused, 3);
  }
}

TEST_P(PosixStorageTest, StopsOnAHandleThatIsNotOpen) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(static_cast<void>(storage->close(port::FileId{5})), "file 5 is not open");
}

}  // namespace
}  // namespace holdfast::backend

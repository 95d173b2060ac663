// The ways of PosixStorage: that each moves the right bytes, what it does when one is refused, and what it keeps while one hangs.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstring>
#include <filesystem>
#include <span>

#include "tests/impl/backend/posix/pages.h"
#include "tests/impl/backend/posix/storage_fixture.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""ms;
using test::cached_pages;
using test::drop_from_cache;
using test::noise;
using test::Pages;

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

class Engine : public PosixStorageTest {
 protected:
  Status write_from(port::FileId file, std::uint64_t offset, const Pages& pages, std::size_t begin, std::size_t bytes) {
    const port::WritePiece piece{offset, pages.bytes.subspan(begin, bytes), pages.owner};
    return storage->write_all(file, {&piece, 1}, soon());
  }
  Status read_into(port::FileId file, std::uint64_t offset, const Pages& pages, std::size_t begin, std::size_t bytes) {
    const port::ReadPiece piece{offset, pages.bytes.subspan(begin, bytes), pages.owner};
    return storage->read_all(file, {&piece, 1}, soon());
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, Engine, ::testing::ValuesIn(test::all_engines), test::engine_name);

class DirectEngine : public Engine {};
INSTANTIATE_TEST_SUITE_P(Engines, DirectEngine, ::testing::ValuesIn(test::direct_engines), test::engine_name);

TEST_P(Engine, SaysWhatItIs) {
  EXPECT_EQ(storage->engine(), GetParam().text);
  EXPECT_EQ(storage->caps().io_alignment, GetParam().direct() ? 4096u : 1u);
}

TEST_P(Engine, WritesAndReadsPiecesOfEveryAlignment) {
  constexpr std::size_t size = 3 << 20;
  const Pages source = noise(size + 8192, 1);
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    testing::Random random(seed);
    const auto edge = [&] { return random.below(2) == 0 ? random.below(size) : random.below(size / 4096) * 4096; };
    std::vector<std::uint64_t> cuts = {0, size - random.below(5000)};
    for (int cut = 0; cut < 8; ++cut) cuts.push_back(std::min(edge(), cuts[1]));
    std::ranges::sort(cuts);
    std::vector<port::WritePiece> written;
    std::string expected(cuts.back(), '\0');
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      const std::uint64_t offset = cuts[i], bytes = cuts[i + 1] - cuts[i];
      const std::uint64_t skew = random.below(2) == 0 ? 0 : random.below(4096);  // alike in memory and file, or not
      written.push_back({offset, source.bytes.subspan(offset + skew, bytes), source.owner});
      if (bytes != 0) std::memcpy(expected.data() + offset, source.bytes.data() + offset + skew, bytes);
    }
    std::ranges::rotate(written, written.begin() + static_cast<std::ptrdiff_t>(random.below(written.size())));
    const std::string path = fmt::format("x{}", seed);
    const port::FileId file = storage->create(path, soon()).value();
    const Status done = storage->write_all(file, written, soon());
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_TRUE(storage->sync(file, soon()));
    ASSERT_EQ(on_disk(path) == expected, true) << path;

    const Pages destination(size + 8192);
    for (int read = 0; read < 12; ++read) {
      const std::uint64_t offset = std::min(edge(), expected.size()), bytes = random.below(expected.size() - offset + 1);
      const std::uint64_t skew = random.below(2) == 0 ? 0 : random.below(4096);
      std::ranges::fill(destination.bytes, std::byte{0xEE});
      ASSERT_TRUE(read_into(file, offset, destination, offset + skew, bytes));
      EXPECT_EQ(std::memcmp(destination.bytes.data() + offset + skew, expected.data() + offset, bytes), 0);
      const auto untouched = [](ByteView rest) {
        return std::ranges::all_of(rest, [](std::byte byte) { return byte == std::byte{0xEE}; });
      };
      EXPECT_TRUE(untouched(destination.bytes.first(offset + skew)) && untouched(destination.bytes.subspan(offset + skew + bytes)));
    }
    ASSERT_TRUE(storage->close(file));
  }
}

TEST_P(Engine, PiecesThatOverlapAreWrittenInOrder) {
  const Pages pages = noise(64 << 10, 2);
  testing::Random random(3);
  for (int round = 0; round < 20; ++round) {
    std::vector<port::WritePiece> pieces;
    std::string expected;
    for (int piece = 0; piece < 12; ++piece) {
      const std::uint64_t offset = random.below(2) == 0 ? random.below(9) * 4096 : random.below(40000),
                          bytes = (1 + random.below(4)) * 4096;
      pieces.push_back({offset, pages.bytes.subspan(random.below(8) * 4096, bytes), pages.owner});
      expected.resize(std::max<std::size_t>(expected.size(), offset + bytes));
      std::memcpy(expected.data() + offset, pieces.back().bytes.data(), bytes);
    }
    const std::string path = fmt::format("x{}", round);
    const port::FileId file = storage->create(path, soon()).value();
    ASSERT_TRUE(storage->write_all(file, pieces, soon()));
    ASSERT_TRUE(storage->close(file));
    EXPECT_EQ(on_disk(path) == expected, true);
  }
}

TEST_P(Engine, TheTwoWaysAgreeAboutOneFile) {
  // Pages are written past the cache and through it in turn, by two handles, and each is read back at once.
  const Pages pages = noise(1 << 20, 4);
  std::string expected(64 << 10, '\0');
  const port::FileId one = storage->create("x", soon()).value();
  testing::Random random(5);
  ASSERT_TRUE(storage->truncate(one, expected.size(), soon()));
  const port::FileId reader = storage->open("x", soon()).value();
  const Pages back(expected.size());
  for (int round = 0; round < 300; ++round) {
    const bool whole = random.below(2) == 0;
    const std::uint64_t offset = whole ? random.below(12) * 4096 : random.below(50000);
    const std::uint64_t bytes = whole ? (1 + random.below(3)) * 4096 : 1 + random.below(9000);
    const std::uint64_t from = random.below(100) * 4096 + (whole ? 0 : random.below(4096));
    ASSERT_TRUE(write_from(one, offset, pages, from, bytes));
    std::memcpy(expected.data() + offset, pages.bytes.data() + from, bytes);
    ASSERT_TRUE(read_into(reader, 0, back, 0, expected.size()));
    ASSERT_EQ(std::memcmp(back.bytes.data(), expected.data(), expected.size()), 0) << round;
    if (round % 50 == 0) {
      ASSERT_TRUE(storage->sync(one, soon()));
    }
  }
  ASSERT_TRUE(storage->close(one));
  ASSERT_TRUE(storage->close(reader));
  EXPECT_EQ(on_disk("x") == expected, true);
}

TEST_P(DirectEngine, NothingComesFromThePageCache) {
  if (test::is_tmpfs(directory.path())) GTEST_SKIP() << "on tmpfs a file is its page cache";
  constexpr std::size_t size = (2 << 20) + 100;
  const std::string path = directory.path() + "/x";
  const Pages pages = noise(size + 1, 6);
  const port::FileId file = storage->create("x", soon()).value();
  ASSERT_TRUE(write_from(file, 0, pages, 0, size));
  ASSERT_TRUE(storage->sync(file, soon()));
  EXPECT_LE(cached_pages(path, size), 1u) << "all but the file's last page goes past the cache";
  drop_from_cache(path);
  for (const std::size_t skew : {0, 1}) {
    ASSERT_TRUE(read_into(file, 0, pages, skew, size));
    EXPECT_EQ(cached_pages(path, size), 0u);
  }
  ASSERT_TRUE(storage->close(file));
}

TEST_P(Engine, ReservesTheBlocksOfALargeFileOnce) {
  const Pages pages = noise((2 << 20) + 100, 7);
  const port::FileId file = storage->create("x", soon()).value();
  ASSERT_TRUE(write_from(file, 0, pages, 0, 4096));
  EXPECT_EQ(calls->reservations, 0) << "for one page it is not worth it";
  ASSERT_TRUE(write_from(file, 0, pages, 0, pages.bytes.size()));
  EXPECT_EQ(calls->reservations, GetParam().direct() ? 1 : 0);
  ASSERT_TRUE(write_from(file, 0, pages, 0, pages.bytes.size()));
  EXPECT_EQ(calls->reservations, GetParam().direct() ? 1 : 0) << "the file was not made longer";
  EXPECT_EQ(storage->size(file, soon()).value(), pages.bytes.size());
  ASSERT_TRUE(storage->close(file));
  if (!GetParam().direct()) return;
  // A file system that cannot reserve still writes; one that is full says so before it is written to.
  calls->fallocate_errno = EOPNOTSUPP;
  const port::FileId plain = storage->create("y", soon()).value();
  ASSERT_TRUE(write_from(plain, 0, pages, 0, pages.bytes.size()));
  ASSERT_TRUE(storage->close(plain));
  EXPECT_EQ(on_disk("y") == on_disk("x"), true);
  calls->fallocate_errno = ENOSPC;
  const port::FileId full = storage->create("z", soon()).value();
  expect_error(write_from(full, 0, pages, 0, pages.bytes.size()), ErrorCode::no_space,
               "write \"z\": reserve 2097252 bytes at 0: No space left on device");
  ASSERT_TRUE(storage->close(full));
}

TEST_P(Engine, WhoSaysHowLongAFileWillBeReservesOnce) {
  const Pages pages = noise(4 << 20, 7);
  const port::FileId file = storage->create("x", soon()).value();
  const long once = GetParam().direct() ? 1 : 0;  // through the page cache there is nothing to gain
  ASSERT_TRUE(storage->truncate(file, pages.bytes.size(), soon()));
  EXPECT_EQ(calls->reservations, once);
  EXPECT_EQ(storage->size(file, soon()).value(), pages.bytes.size());
  for (std::size_t at = 0; at < pages.bytes.size(); at += 1 << 20) ASSERT_TRUE(write_from(file, at, pages, at, 1 << 20));
  EXPECT_EQ(calls->reservations, once);
  ASSERT_TRUE(storage->close(file));
  calls->fallocate_errno = EOPNOTSUPP;
  const port::FileId plain = storage->create("y", soon()).value();
  ASSERT_TRUE(storage->truncate(plain, 2 << 20, soon()));
  EXPECT_EQ(storage->size(plain, soon()).value(), 2u << 20);
  ASSERT_TRUE(storage->close(plain));
  if (!GetParam().direct()) return;
  calls->fallocate_errno = ENOSPC;
  const port::FileId full = storage->create("z", soon()).value();
  expect_error(storage->truncate(full, 2 << 20, soon()), ErrorCode::no_space,
               "write \"z\": reserve 2097152 bytes at 0: No space left on device");
  EXPECT_EQ(storage->size(full, soon()).value(), 0u);
  ASSERT_TRUE(storage->close(full));
}

TEST_P(Engine, AnErrorInTheMiddleOfABatchIsTold) {
  const Pages pages = noise(40 * 4096, 8);
  const port::FileId file = storage->create("x", soon()).value();
  std::vector<port::WritePiece> pieces;  // apart in memory, so that each is a request
  for (std::uint64_t i = 0; i < 40; ++i) pieces.push_back({i * 4096, pages.bytes.subspan((39 - i) * 4096, 4096), pages.owner});
  calls->transfers_until_eio = 20;
  const Status done = storage->write_all(file, pieces, soon());
  ASSERT_FALSE(done);
  EXPECT_TRUE(done.error().message.starts_with("write \"x\" at ")) << done.error().message;
  EXPECT_TRUE(done.error().message.ends_with(": Input/output error")) << done.error().message;
  EXPECT_LT(calls->transfers, 40) << "nothing more is begun after an error";
  EXPECT_EQ(pages.owner.use_count(), 41);
  calls->transfers_until_eio = 1 << 30;
  ASSERT_TRUE(storage->write_all(file, pieces, soon()));
  ASSERT_TRUE(storage->close(file));
}

TEST_P(Engine, OneThatHangsKeepsItsOwnAndStopsNoOther) {
  const std::size_t before = open_descriptors();
  Pages pages = noise((1 << 20) + 10, 9);
  const std::weak_ptr<void> watched = pages.owner;
  const port::FileId stuck = storage->create("stuck", soon()).value();
  calls->hold(1);
  {
    const port::WritePiece piece{0, pages.bytes, pages.owner};
    expect_error(storage->write_all(stuck, {&piece, 1}, clock.after(50ms)), ErrorCode::timeout,
                 "write \"stuck\": not done at its deadline; it goes on, abandoned");
  }
  pages = Pages(1);
  for (int round = 0; round < 5; ++round) {
    const Pages others = noise((1 << 20) + 10, 10);
    const std::string path = fmt::format("x{}", round);
    const port::FileId file = storage->create(path, soon()).value();
    ASSERT_TRUE(write_from(file, 0, others, 0, others.bytes.size()));
    ASSERT_TRUE(storage->sync(file, soon()));
    ASSERT_TRUE(read_into(file, 0, others, 0, others.bytes.size()));
    ASSERT_TRUE(storage->close(file));
  }
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(storage->abandoned_operations(), 1);
  EXPECT_FALSE(storage->close(stuck));
  calls->release();
  wait_for_abandoned();
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(storage->live_files(), 0u);
  EXPECT_LE(open_descriptors(), before + (GetParam().ring() ? 1u : 0u))
      << "of the files none; the ring that took the other's place stays for later";
}

TEST_P(Engine, LeavesNoDescriptorBehindWhenItEndsWithACallUnderWay) {
  storage.reset();
  const std::size_t before = open_descriptors();
  reopen({});
  const port::FileId file = storage->create("x", soon()).value();
  Pages pages = noise(3 << 20, 11);
  const std::weak_ptr<void> watched = pages.owner;
  calls->hold();
  {
    const port::WritePiece piece{0, pages.bytes, pages.owner};
    // Long enough that a thread has begun it, also on a busy machine.
    ASSERT_FALSE(storage->write_all(file, {&piece, 1}, clock.after(400ms)));
  }
  pages = Pages(1);
  storage.reset();
  EXPECT_FALSE(watched.expired());
  EXPECT_GT(open_descriptors(), before);
  calls->release();
  while (!watched.expired() || open_descriptors() != before) std::this_thread::sleep_for(1ms);
}

TEST_P(Engine, PastItsDeadlineACallHandsNothingMoreToTheKernel) {
  const Pages pages = noise(40 * 4096, 12);
  const port::FileId file = storage->create("x", soon()).value();
  std::vector<port::WritePiece> pieces;
  for (std::uint64_t i = 0; i < 40; ++i) pieces.push_back({i * 4096, pages.bytes.subspan((39 - i) * 4096, 4096), pages.owner});
  calls->transfers = 0;
  calls->hold();
  ASSERT_FALSE(storage->write_all(file, pieces, clock.after(20ms)));
  calls->release();
  wait_for_abandoned();
  EXPECT_LE(calls->transfers, 16) << "what was under way at the deadline";
  ASSERT_TRUE(storage->close(file));
}

TEST_P(DirectEngine, ARefusalMidwayGoesOnThroughThePageCacheUnlessODirectWasAskedFor) {
  const Pages pages = noise((1 << 20) + 5, 13);
  const port::FileId strict = storage->create("x", soon()).value();
  calls->direct_errno = EINVAL;
  expect_error(write_from(strict, 0, pages, 0, pages.bytes.size()), ErrorCode::unsupported,
               "write \"x\": O_DIRECT: refused when it was used");
  ASSERT_TRUE(storage->close(strict));

  calls->direct_errno = 0;
  const IoEngineOptions lenient{.queue = GetParam().options.queue};
  storage = PosixStorage::open_root(directory.path(), {.engine = lenient, .calls = calls}).value();
  const port::FileId file = storage->create("y", soon()).value();
  calls->direct_errno = EINVAL;
  ASSERT_TRUE(write_from(file, 0, pages, 0, pages.bytes.size()));
  const Pages back(pages.bytes.size());
  ASSERT_TRUE(read_into(file, 0, back, 0, back.bytes.size()));
  EXPECT_TRUE(std::ranges::equal(back.bytes, pages.bytes));
  EXPECT_EQ(storage->engine(), fmt::format("{} (some files through the page cache: O_DIRECT: refused when it was used)", GetParam().text));
  ASSERT_TRUE(storage->close(file));
}

class Fallback : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto opened = PosixStorage::open_root(directory.path(), {.engine = test::all_engines[0].options});
    if (!opened) GTEST_SKIP() << opened.error().message;
  }
  std::unique_ptr<PosixStorage> opened(IoEngineOptions engine = {}) {
    return PosixStorage::open_root(directory.path(), {.engine = engine, .calls = calls}).value();
  }
  void expect_refused(IoEngineOptions engine, std::string_view reason) {
    expect_error(PosixStorage::open_root(directory.path(), {.engine = engine, .calls = calls}), ErrorCode::unsupported,
                 fmt::format("open the storage root \"{}\": {}", directory.path(), reason));
  }
  /// A file of an awkward size goes and comes back.
  void expect_works(PosixStorage& storage) {
    const Pages pages = noise((3 << 20) + 77, 20);
    const port::Deadline soon = clock.after(std::chrono::seconds(60));
    const port::FileId file = storage.create("x", soon).value();
    const port::WritePiece written{0, pages.bytes, pages.owner};
    const Status done = storage.write_all(file, {&written, 1}, soon);
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_TRUE(storage.sync(file, soon));
    const Pages back(pages.bytes.size());
    const port::ReadPiece wanted{0, back.bytes, back.owner};
    ASSERT_TRUE(storage.read_all(file, {&wanted, 1}, soon));
    EXPECT_TRUE(std::ranges::equal(pages.bytes, back.bytes));
    ASSERT_TRUE(storage.close(file));
    ASSERT_TRUE(storage.remove("x", soon));
  }

  test::TemporaryDirectory directory;
  SteadyClock clock;
  std::shared_ptr<test::ScriptedCalls> calls = std::make_shared<test::ScriptedCalls>();
};

TEST_F(Fallback, TheFastestIsTheDefault) {
  const auto storage = opened();
  EXPECT_EQ(storage->engine(), "io_uring + O_DIRECT");
  expect_works(*storage);
}

TEST_F(Fallback, ARingThatCannotBeSetUp) {
  for (const auto& [number, text] :
       {std::pair(ENOSYS, "Function not implemented"), {EPERM, "Operation not permitted"}, {ENOMEM, "Cannot allocate memory"}}) {
    calls->ring_init_errno = number;
    const auto storage = opened();
    EXPECT_EQ(storage->engine(), fmt::format("threads + O_DIRECT (io_uring: {})", text));
    expect_works(*storage);
    expect_refused({.queue = QueueChoice::io_uring}, fmt::format("io_uring: {}", text));
  }
}

TEST_F(Fallback, ARingThatTakesNoRequests) {
  calls->ring_submit_errno = EPERM;
  const auto storage = opened();
  EXPECT_EQ(storage->engine(), "threads + O_DIRECT (io_uring: Operation not permitted)");
  expect_works(*storage);
  expect_refused({.queue = QueueChoice::io_uring}, "io_uring: Operation not permitted");
}

TEST_F(Fallback, ARingThatIsForbiddenLaterFailsItsCallAndNoOther) {
  const auto storage = opened();
  const port::Deadline soon = clock.after(std::chrono::seconds(60));
  const port::FileId file = storage->create("y", soon).value();
  calls->ring_submit_errno = EACCES;
  const Pages pages = noise(8192, 21);
  const std::vector<port::WritePiece> pieces = {{0, pages.bytes.first(4096), pages.owner}, {8192, pages.bytes.first(4096), pages.owner}};
  expect_error(storage->write_all(file, pieces, soon), ErrorCode::io_error, "write \"y\" at 0: Permission denied");
  expect_works(*storage);
  EXPECT_EQ(storage->engine(), "io_uring + O_DIRECT (some calls without: io_uring: Permission denied)");
  calls->ring_submit_errno = 0;
  expect_works(*storage);
  ASSERT_TRUE(storage->close(file));
}

TEST_F(Fallback, AFileSystemThatRefusesODirectAtOpen) {
  calls->direct_open_errno = EINVAL;
  const auto storage = opened();
  EXPECT_EQ(storage->engine(), "io_uring + page cache (O_DIRECT: Invalid argument)");
  EXPECT_EQ(storage->caps().io_alignment, 1u);
  expect_works(*storage);
  expect_refused({.cache = CacheChoice::direct}, "O_DIRECT: Invalid argument");
}

TEST_F(Fallback, AFileSystemThatRefusesODirectOnlyWhenItIsUsed) {
  for (const int number : {EINVAL, EOPNOTSUPP}) {
    calls->direct_errno = number;
    EXPECT_EQ(opened()->engine(), "io_uring + page cache (O_DIRECT: refused when it was used)");
    expect_works(*opened());
    expect_refused({.cache = CacheChoice::direct}, "O_DIRECT: refused when it was used");
  }
  calls->direct_errno = EIO;
  EXPECT_EQ(opened()->engine(), "io_uring + page cache (O_DIRECT: write \"a file of no name\" at 0: Input/output error)");
}

TEST_F(Fallback, BothAtOnce) {
  calls->ring_init_errno = EPERM;
  calls->direct_open_errno = EINVAL;
  const auto storage = opened();
  EXPECT_EQ(storage->engine(), "threads + page cache (io_uring: Operation not permitted; O_DIRECT: Invalid argument)");
  expect_works(*storage);
}

TEST_F(Fallback, ARootWhereItCannotBeTriedLetsEachFileDecide) {
  calls->unnamed_errno = EROFS;
  const auto storage = opened();
  EXPECT_EQ(storage->engine(), "io_uring + O_DIRECT (O_DIRECT could not be tried: Read-only file system)");
  expect_works(*storage);
  calls->direct_open_errno = EINVAL;
  expect_works(*storage);
  EXPECT_EQ(storage->engine(),
            "io_uring + O_DIRECT (O_DIRECT could not be tried: Read-only file system; some files through the page cache: O_DIRECT: Invalid "
            "argument)");
  const auto strict = opened({.cache = CacheChoice::direct});
  expect_error(strict->create("y", clock.after(std::chrono::seconds(60))), ErrorCode::unsupported,
               "create \"y\": O_DIRECT: Invalid argument");
}

TEST_F(Fallback, AFullDiskIsReadPastThePageCacheAllTheSame) {
  calls->write_budget = 0;
  EXPECT_EQ(opened()->engine(),
            "io_uring + O_DIRECT (O_DIRECT could not be tried: write \"a file of no name\" at 0: No space left on device)");
}

/// From now on system calls of this process with this number fail with `number`, all, or those whose third argument has one of the bits.
void forbid(int call, std::uint32_t bits, int number) {
  std::array<sock_filter, 6> program = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call), 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  if (bits == 0) program[3] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) std::_Exit(3);
}

/// What a process finds where a sandbox forbids it something: 0 when it is `text` and works.
int in_a_sandbox(const std::string& root, const std::string& text) {
  SteadyClock clock;
  const auto storage = PosixStorage::open_root(root);
  if (!storage || (*storage)->engine() != text) {
    fmt::print(stderr, "found {}\n", storage ? (*storage)->engine() : storage.error().message);
    return 1;
  }
  const port::Deadline soon = clock.after(std::chrono::seconds(60));
  const Pages pages = noise(100'000, 22);
  const Pages back(100'000);
  const port::FileId file = (*storage)->create("x", soon).value();
  const port::WritePiece written{0, pages.bytes, pages.owner};
  const port::ReadPiece wanted{0, back.bytes, back.owner};
  const bool worked = (*storage)->write_all(file, {&written, 1}, soon) && (*storage)->sync(file, soon) &&
                      (*storage)->read_all(file, {&wanted, 1}, soon) && std::ranges::equal(pages.bytes, back.bytes);
  return worked && (*storage)->close(file) ? 0 : 2;
}

TEST_F(Fallback, AContainerThatForbidsIoUring) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto forbidden = [&](int call, int number, const std::string& text) {
    forbid(call, 0, number);
    std::_Exit(in_a_sandbox(directory.path(), text));
  };
  EXPECT_EXIT(forbidden(SYS_io_uring_setup, EPERM, "threads + O_DIRECT (io_uring: Operation not permitted)"), ::testing::ExitedWithCode(0),
              "");
  EXPECT_EXIT(forbidden(SYS_io_uring_setup, ENOSYS, "threads + O_DIRECT (io_uring: Function not implemented)"),
              ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(forbidden(SYS_io_uring_enter, EPERM, "threads + O_DIRECT (io_uring: Operation not permitted)"), ::testing::ExitedWithCode(0),
              "");
}

TEST_F(Fallback, ASystemThatRefusesODirect) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto refusing = [&] {
    forbid(SYS_openat, O_DIRECT, EINVAL);
    std::_Exit(in_a_sandbox(directory.path(), "io_uring + page cache (O_DIRECT: Invalid argument)"));
  };
  EXPECT_EXIT(refusing(), ::testing::ExitedWithCode(0), "");
}

TEST(TmpfsRoot, WorksWithWhateverIsFoundThere) {
  std::error_code ignored;
  if (!test::is_tmpfs("/dev/shm")) GTEST_SKIP() << "/dev/shm is no tmpfs";
  std::string name = "/dev/shm/holdfast-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const std::string text = PosixStorage::open_root(name).value()->engine();
  EXPECT_EQ(in_a_sandbox(name, text), 0);
  std::filesystem::remove_all(name, ignored);
}

}  // namespace
}  // namespace holdfast::backend

// Linked with the mutant build of the back end: each planted bug must show.
#include <gtest/gtest.h>

#include <cstring>

#include "impl/backend/posix/transfer.h"
#include "impl/core/mutate.h"
#include "tests/impl/backend/posix/memory_queue.h"
#include "tests/impl/backend/posix/pages.h"
#include "tests/impl/backend/posix/storage_fixture.h"

namespace holdfast::backend {
namespace {

constexpr std::size_t page = 4096;

class PosixMutants : public ::testing::Test {
 public:
  void SetUp() override {
    auto opened = PosixStorage::open_root(directory.path(), {.engine = {.cache = CacheChoice::direct}});
    if (!opened) GTEST_SKIP() << opened.error().message;
    storage = *std::move(opened);
  }
  using Check = bool (PosixMutants::*)();
  void expect_shows(std::string_view mutant, Check check) {
    EXPECT_FALSE((this->*check)()) << "without " << mutant;
    mutants::activate(mutant);
    EXPECT_TRUE((this->*check)()) << mutant << " does not show";
    mutants::activate("");
  }

  port::Deadline soon() { return clock.after(std::chrono::seconds(60)); }
  void write(const std::string& path, const std::vector<port::WritePiece>& pieces) {
    static_cast<void>(storage->remove(path, soon()));  // of the run before
    const port::FileId file = storage->create(path, soon()).value();
    EXPECT_TRUE(storage->write_all(file, pieces, soon()));
    EXPECT_TRUE(storage->sync(file, soon()));
    EXPECT_TRUE(storage->close(file));
  }
  bool holds(const std::string& path, ByteView expected) {
    std::ifstream in(directory.path() + "/" + path);
    const std::string found{std::istreambuf_iterator<char>(in), {}};
    return as_bytes(found).size() == expected.size() && std::memcmp(found.data(), expected.data(), expected.size()) == 0;
  }
  TransferOptions options(port::Deadline deadline) {
    TransferOptions chosen{.kind = IoKind::write, .path = "x", .buffered_fd = test::MemoryQueue::buffered_fd};
    chosen.at_once = 3;
    chosen.deadline = deadline;
    return chosen;
  }

  bool loses_the_end_of_a_file() {
    const test::Pages pages = test::noise(2 * page + 100, 1);
    write("tail", {{0, pages.bytes, pages.owner}});
    return !holds("tail", pages.bytes);
  }
  bool writes_out_of_order() {
    const test::Pages pages = test::noise(2 * page, 2);
    write("order", {{10, pages.bytes.subspan(page, 5), pages.owner}, {0, pages.bytes.first(page), pages.owner}});
    return !holds("order", pages.bytes.first(page));
  }
  bool reads_from_the_page_cache() {
    const test::Pages pages = test::noise(4 * page, 3);
    write("cached", {{0, pages.bytes, pages.owner}});
    test::drop_from_cache(directory.path() + "/cached");
    const port::FileId file = storage->open("cached", soon()).value();
    const port::ReadPiece piece{0, pages.bytes, pages.owner};
    EXPECT_TRUE(storage->read_all(file, {&piece, 1}, soon()));
    EXPECT_TRUE(storage->close(file));
    return test::cached_pages(directory.path() + "/cached", 4 * page) != 0;
  }
  bool takes_short_for_whole() {
    const test::Pages pages = test::noise(1000, 4);
    test::MemoryQueue queue(Bytes(1000), 4, 3);
    queue.in_part = true;
    EXPECT_TRUE(Transfer(queue, options(soon())).run(parts_of(pages)));
    return !std::ranges::equal(queue.file(), pages.bytes);
  }
  bool goes_on_after_its_deadline() {
    const test::Pages pages = test::noise(1000, 5);
    test::MemoryQueue queue({}, 5, 3);
    const Status done = Transfer(queue, options(clock.after(port::Duration(0)))).run(parts_of(pages));
    return done || queue.began() != 0;
  }
  bool leaves_memory_with_the_kernel() {
    const test::Pages pages = test::noise(1000, 6);
    test::MemoryQueue queue({}, 6, 3);
    queue.fault = [](const IoRequest&) { return EIO; };
    EXPECT_FALSE(Transfer(queue, options(soon())).run(parts_of(pages)));
    return queue.under_way() != 0;
  }
  static std::vector<IoPart> parts_of(const test::Pages& pages) {
    return cut_write({{0, pages.bytes.data(), pages.bytes.size()}}, {.alignment = 1, .request_bytes = 64});
  }

  test::TemporaryDirectory directory;
  SteadyClock clock;
  std::unique_ptr<PosixStorage> storage;
};

TEST_F(PosixMutants, TheTailOfAFileLeftOutShows) { expect_shows("posix.tail_left_out", &PosixMutants::loses_the_end_of_a_file); }
TEST_F(PosixMutants, OverlapsOutOfOrderShow) { expect_shows("posix.order_ignored", &PosixMutants::writes_out_of_order); }
TEST_F(PosixMutants, AShortTransferTakenForWholeShows) { expect_shows("posix.short_is_whole", &PosixMutants::takes_short_for_whole); }
TEST_F(PosixMutants, ADeadlineIgnoredShows) { expect_shows("posix.deadline_ignored", &PosixMutants::goes_on_after_its_deadline); }
TEST_F(PosixMutants, MemoryLeftWithTheKernelShows) {
  expect_shows("posix.left_with_the_kernel", &PosixMutants::leaves_memory_with_the_kernel);
}
TEST_F(PosixMutants, ReadsFromThePageCacheShow) {
  if (test::is_tmpfs(directory.path())) GTEST_SKIP() << "on tmpfs a file is its page cache";
  expect_shows("posix.read_cached", &PosixMutants::reads_from_the_page_cache);
}

}  // namespace
}  // namespace holdfast::backend

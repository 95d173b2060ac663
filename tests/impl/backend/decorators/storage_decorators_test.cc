// CountingStorage and FaultyStorage over a real directory.
#include <gtest/gtest.h>

#include <filesystem>

#include "impl/backend/decorators/counting_storage.h"
#include "impl/backend/decorators/faulty_storage.h"
#include "impl/backend/host/clock.h"
#include "impl/backend/posix/posix_storage.h"
#include "tests/impl/backend/temporary_directory.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""s;

class StorageDecoratorTest : public testing::Test {
 protected:
  port::Deadline soon() { return clock.after(60s); }
  bool exists(const std::string& path) const { return std::filesystem::exists(directory.path() + "/" + path); }
  Status write(port::Storage& storage, port::FileId file, std::string_view text) {
    const SharedBytes bytes(to_bytes(as_bytes(text)));
    const port::WritePiece piece{0, bytes.view(), bytes.owner()};
    return storage.write_all(file, {&piece, 1}, soon());
  }
  Status read(port::Storage& storage, port::FileId file, std::size_t bytes) {
    const auto buffer = std::make_shared<Bytes>(bytes);
    const port::ReadPiece piece{0, *buffer, buffer};
    return storage.read_all(file, {&piece, 1}, soon());
  }
  /// Makes one call of every op, in the order of StorageOp, and says how each ended.
  std::vector<Status> call_everything(port::Storage& storage) {
    std::vector<Status> ended;
    const auto note = [&](auto result) {
      if (result) {
        ended.emplace_back();
      } else {
        ended.emplace_back(fail(result.error()));
      }
      return result;
    };
    // Beside the calls under test, which may fail, everything they need is made through the inner storage.
    const port::FileId file = inner->create("file", soon()).value();
    EXPECT_TRUE(write(*inner, file, "1234"));
    EXPECT_TRUE(inner->make_directory("empty", soon()));
    note(storage.make_directory("directory", soon()));
    const auto created = note(storage.create("created", soon()));
    const auto opened = note(storage.open("file", soon()));
    const port::FileId closing = inner->open("file", soon()).value();
    note(storage.close(closing));
    note(write(storage, file, "56"));
    note(read(storage, file, 4));
    note(storage.size(file, soon()));
    note(storage.truncate(file, 3, soon()));
    note(storage.sync(file, soon()));
    EXPECT_TRUE(inner->close(file));
    note(storage.rename("file", "renamed", soon()));
    const std::string name = exists("renamed") ? "renamed" : "file";
    note(storage.link_if_absent(name, "linked", soon()));
    note(storage.remove(name, soon()));
    note(storage.remove_directory("empty", soon()));
    note(storage.list("", soon()));
    note(storage.sync_directory("", soon()));
    for (const auto& file_left : {created, opened}) EXPECT_TRUE(!file_left || inner->close(*file_left));
    return ended;
  }
  void start_afresh() {
    inner.reset();
    std::filesystem::remove_all(directory.path());
    std::filesystem::create_directory(directory.path());
    inner = PosixStorage::open_root(directory.path()).value();
  }

  test::TemporaryDirectory directory;
  SteadyClock clock;
  std::unique_ptr<PosixStorage> inner = PosixStorage::open_root(directory.path()).value();
};

TEST_F(StorageDecoratorTest, CountsCallsFailuresAndBytesByOp) {
  CountingStorage counting(*inner);
  for (const Status& ended : call_everything(counting)) EXPECT_TRUE(ended) << ended.error().message;
  EXPECT_EQ(counting.calls(), storage_op_count);
  for (std::size_t op = 0; op < storage_op_count; ++op) {
    const std::uint64_t bytes = StorageOp(op) == StorageOp::write_all ? 2 : StorageOp(op) == StorageOp::read_all ? 4 : 0;
    EXPECT_EQ(counting.count(StorageOp(op)), (OpCount{1, 0, bytes})) << to_string(StorageOp(op));
  }
  EXPECT_FALSE(counting.open("missing", soon()));
  EXPECT_EQ(counting.count(StorageOp::open), (OpCount{2, 1, 0}));
  const port::FileId file = counting.create("short", soon()).value();
  EXPECT_FALSE(read(counting, file, 10));
  EXPECT_EQ(counting.count(StorageOp::read_all), (OpCount{2, 1, 4}));
  EXPECT_TRUE(counting.close(file));
  counting.reset();
  EXPECT_EQ(counting.calls(), 0u);
}

TEST_F(StorageDecoratorTest, FailsEachOpBeforeAndAfterItsEffectAndLeaksNothing) {
  const Error planted{ErrorCode::injected, "planted"};
  for (std::size_t op = 0; op < storage_op_count; ++op) {
    for (const FaultMoment moment : {FaultMoment::before, FaultMoment::after}) {
      start_afresh();
      FaultyStorage faulty(*inner);
      faulty.plant({StorageOp(op), 1, planted, moment});
      const std::vector<Status> ended = call_everything(faulty);
      for (std::size_t i = 0; i < storage_op_count; ++i) {
        EXPECT_EQ(ended[i].has_value(), i != op) << to_string(StorageOp(i)) << " with a fault at " << to_string(StorageOp(op));
        EXPECT_EQ(faulty.calls(StorageOp(i)), 1u);
      }
      EXPECT_EQ(ended[op].error(), planted);
      EXPECT_EQ(faulty.fired(), 1u);
      EXPECT_EQ(inner->live_files(), 0u) << to_string(StorageOp(op));
      const bool happened = moment == FaultMoment::after;
      EXPECT_EQ(exists("directory"), StorageOp(op) != StorageOp::make_directory || happened);
      EXPECT_EQ(exists("created"), StorageOp(op) != StorageOp::create || happened);
      EXPECT_EQ(exists("linked"), StorageOp(op) != StorageOp::link_if_absent || happened);
      EXPECT_EQ(exists("empty"), StorageOp(op) == StorageOp::remove_directory && !happened);
      const bool stayed = StorageOp(op) == StorageOp::remove && !happened;
      EXPECT_EQ(exists("renamed") || exists("file"), stayed);
    }
  }
}

TEST_F(StorageDecoratorTest, FailsTheNthCallOnceOrFromThenOn) {
  const auto pattern = [&](FaultSpan span) {
    start_afresh();
    FaultyStorage faulty(*inner);
    faulty.plant({StorageOp::list, 3, {ErrorCode::io_error, "planted"}, FaultMoment::before, span});
    std::string ended;
    for (int i = 0; i < 5; ++i) ended += faulty.list("", soon()) ? '.' : 'x';
    EXPECT_TRUE(faulty.sync_directory("", soon()));
    return ended;
  };
  EXPECT_EQ(pattern(FaultSpan::once), "..x..");
  EXPECT_EQ(pattern(FaultSpan::from_then_on), "..xxx");
}

TEST_F(StorageDecoratorTest, TheFaultPlantedFirstFires) {
  FaultyStorage faulty(*inner);
  faulty.plant({StorageOp::list, 1, {ErrorCode::io_error, "first"}, FaultMoment::before, FaultSpan::from_then_on});
  faulty.plant({StorageOp::list, 1, {ErrorCode::no_space, "second"}});
  EXPECT_EQ(faulty.list("", soon()).error().message, "first");
}

}  // namespace
}  // namespace holdfast::backend

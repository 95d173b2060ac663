// The loop that carries a read or a write through, over a queue that does all that a kernel may.
#include "impl/backend/posix/transfer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "impl/backend/host/clock.h"
#include "tests/impl/backend/posix/memory_queue.h"

namespace holdfast::backend {
namespace {

using std::chrono_literals::operator""s;
using test::MemoryQueue;
using testing::Random;

constexpr CutRules rules{.alignment = MemoryQueue::alignment, .request_bytes = 64, .bounce_bytes = 48, .bounce_minimum = 32};
constexpr std::size_t depth = 3;

/// Memory on a multiple of the alignment.
struct Memory {
  explicit Memory(std::size_t bytes) : all(bytes + MemoryQueue::alignment) {
    const auto address = reinterpret_cast<std::uint64_t>(all.data());
    begin = all.data() + (MemoryQueue::alignment - address % MemoryQueue::alignment) % MemoryQueue::alignment;
  }
  Bytes all;
  std::byte* begin;
};

class TransferTest : public ::testing::Test {
 protected:
  TransferOptions options(IoKind kind) {
    TransferOptions chosen{.kind = kind, .path = "x", .buffered_fd = MemoryQueue::buffered_fd, .direct_fd = MemoryQueue::direct_fd};
    chosen.alignment = rules.alignment;
    chosen.bounce_bytes = rules.bounce_bytes;
    chosen.bounce = ByteSpan(bounce.begin, depth * rules.bounce_bytes);
    chosen.at_once = depth;
    chosen.deadline = clock.after(600s);
    return chosen;
  }
  /// Spans in the order of the file, apart from each other, each with memory of its own.
  std::vector<FileSpan> random_spans(Random& random, Memory& memory, std::size_t file_bytes) {
    std::vector<FileSpan> spans;
    std::uint64_t offset = random.below(40), place = 0;
    while (offset < file_bytes) {
      const std::uint64_t bytes = 1 + random.below(std::min<std::uint64_t>(300, file_bytes - offset));
      place += random.below(2) == 0 ? random.below(20) : (offset - place) % MemoryQueue::alignment;
      spans.push_back({offset, memory.begin + place, bytes});
      offset += bytes + random.below(40);
      place += bytes;
    }
    return spans;
  }

  SteadyClock clock;
  Memory bounce{depth * rules.bounce_bytes};
};

/// Interrupted, and refused as not direct, now and then.
int rarely_fails(Random& random, const IoRequest& request) {
  const std::uint64_t drawn = random.below(40);
  if (drawn == 0) return EINTR;
  if (drawn == 1 && random.below(20) == 0) return EAGAIN;  // each costs a millisecond
  return drawn == 2 && request.fd == MemoryQueue::direct_fd ? EINVAL : 0;
}

TEST_F(TransferTest, WritesEveryByteWhateverTheQueueDoes) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Random random(seed);
    const Bytes before = random.bytes(1000);
    Memory memory(8000);
    std::ranges::copy(random.bytes(8000), memory.begin);
    const std::vector<FileSpan> spans = random_spans(random, memory, 2000);
    MemoryQueue queue(before, seed, depth);
    queue.in_part = seed % 2 == 1;
    queue.fault = [&](const IoRequest& request) { return seed % 4 >= 2 ? rarely_fails(random, request) : 0; };
    const Status done = Transfer(queue, options(IoKind::write)).run(cut_write(spans, rules));
    ASSERT_TRUE(done) << seed << ": " << done.error().message;
    Bytes expected = before;
    for (const FileSpan& span : spans) {
      expected.resize(std::max<std::size_t>(expected.size(), span.end()));
      std::memcpy(expected.data() + span.offset, span.memory, span.bytes);
    }
    ASSERT_EQ(queue.file(), expected) << seed;
    EXPECT_EQ(queue.under_way(), 0u);
  }
}

TEST_F(TransferTest, ReadsEveryByteAndTouchesNoOther) {
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Random random(seed);
    const Bytes file = random.bytes(2000);
    Memory memory(8000);
    std::fill_n(memory.begin, 8000, std::byte{0xEE});
    const std::vector<FileSpan> spans = random_spans(random, memory, file.size());
    MemoryQueue queue(file, seed, depth);
    queue.in_part = seed % 2 == 1;
    queue.fault = [&](const IoRequest& request) { return seed % 4 >= 2 ? rarely_fails(random, request) : 0; };
    const Status done = Transfer(queue, options(IoKind::read)).run(cut_read(spans, rules));
    ASSERT_TRUE(done) << seed << ": " << done.error().message;
    Bytes expected(8000, std::byte{0xEE});
    for (const FileSpan& span : spans) std::memcpy(expected.data() + (span.memory - memory.begin), file.data() + span.offset, span.bytes);
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), memory.begin)) << seed;
  }
}

TEST_F(TransferTest, KeepsTheQueueFullAndNoMore) {
  Memory memory(64 * 10);
  MemoryQueue queue({}, 1, depth);
  ASSERT_TRUE(Transfer(queue, options(IoKind::write)).run(cut_write({{0, memory.begin, 640}}, rules)));
  EXPECT_EQ(queue.began(), 10u);
  EXPECT_EQ(queue.most_under_way(), depth);
  MemoryQueue alone({}, 1, depth);
  TransferOptions one = options(IoKind::write);
  one.at_once = 1;
  ASSERT_TRUE(Transfer(alone, one).run(cut_write({{0, memory.begin, 640}}, rules)));
  EXPECT_EQ(alone.most_under_way(), 1u);
}

TEST_F(TransferTest, AReadPastTheEndSaysWhereTheFileEnds) {
  // However it is asked for: direct, bounced, and buffered.
  for (const std::uint64_t alignment : {std::uint64_t{1}, MemoryQueue::alignment}) {
    CutRules cut = rules;
    cut.alignment = alignment;
    for (std::uint64_t size = 0; size < 60; ++size) {
      for (const std::uint64_t offset : {0, 3, 16, 50}) {
        for (const std::uint64_t skew : {0, 1}) {
          for (std::uint64_t bytes = 1; bytes < 40; bytes += 6) {
            Memory memory(200);
            MemoryQueue queue(Bytes(size), size, depth);
            const FileSpan span{offset, memory.begin + offset % MemoryQueue::alignment + skew, bytes};
            const Status done = Transfer(queue, options(IoKind::read)).run(cut_read({span}, cut));
            if (span.end() <= size) {
              EXPECT_TRUE(done) << done.error().message;
              continue;
            }
            ASSERT_FALSE(done);
            EXPECT_EQ(done.error().code, ErrorCode::corrupt);
            EXPECT_TRUE(done.error().message.starts_with(fmt::format("read \"x\" at {}: the file ends here, ", std::max(size, offset))))
                << done.error().message << " of " << size;
          }
        }
      }
    }
  }
}

TEST_F(TransferTest, AnErrorInTheMiddleBeginsNothingMoreAndWaitsForTheRest) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Memory memory(64 * 200);
    MemoryQueue queue({}, seed, depth);
    queue.fault = [&](const IoRequest& request) { return request.offset == 64 * 5 ? EIO : 0; };
    const Status done = Transfer(queue, options(IoKind::write)).run(cut_write({{0, memory.begin, 64 * 200}}, rules));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), (Error{ErrorCode::io_error, "write \"x\" at 320: Input/output error"}));
    EXPECT_EQ(queue.under_way(), 0u) << "the memory is still the kernel's";
    EXPECT_LT(queue.began(), 200u);
  }
}

TEST_F(TransferTest, OfTwoErrorsTheFirstInTheFileIsTold) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Memory memory(64 * 3);
    MemoryQueue queue({}, seed, depth);
    queue.fault = [&](const IoRequest& request) { return request.offset == 0 ? ENOSPC : EIO; };
    const Status done = Transfer(queue, options(IoKind::write)).run(cut_write({{0, memory.begin, 64 * 3}}, rules));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), (Error{ErrorCode::no_space, "write \"x\" at 0: No space left on device"}));
  }
}

TEST_F(TransferTest, PastItsDeadlineNothingMoreIsBegun) {
  Memory memory(64 * 20);
  MemoryQueue queue({}, 1, depth);
  TransferOptions late = options(IoKind::write);
  late.deadline = clock.after(0s);
  const Status done = Transfer(queue, late).run(cut_write({{0, memory.begin, 64 * 20}}, rules));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), (Error{ErrorCode::timeout, "write \"x\": stopped at its deadline"}));
  EXPECT_EQ(queue.began(), 0u);
}

TEST_F(TransferTest, WhatPostponesForEverEndsAtTheDeadline) {
  Memory memory(64);
  MemoryQueue queue({}, 1, depth);
  queue.fault = [](const IoRequest&) { return EAGAIN; };
  TransferOptions soon = options(IoKind::write);
  soon.deadline = clock.after(std::chrono::milliseconds(20));
  const Status done = Transfer(queue, soon).run(cut_write({{0, memory.begin, 64}}, rules));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "write \"x\" at 0: Resource temporarily unavailable");
}

TEST_F(TransferTest, ARefusalOfDirectRequestsIsToldAndCostsNothing) {
  Memory memory(400);
  std::fill_n(memory.begin, 400, std::byte{5});
  MemoryQueue queue({}, 1, depth);
  queue.fault = [](const IoRequest& request) { return request.fd == MemoryQueue::direct_fd ? EINVAL : 0; };
  Transfer transfer(queue, options(IoKind::write));
  ASSERT_TRUE(transfer.run(cut_write({{0, memory.begin, 200}, {205, memory.begin + 200, 150}}, rules)));
  EXPECT_TRUE(transfer.direct_refused());
  Bytes expected(355, std::byte{5});
  std::fill_n(expected.begin() + 200, 5, std::byte{0});
  EXPECT_EQ(queue.file(), expected);
  // Through the page cache the same number is an error like others.
  queue.fault = [](const IoRequest&) { return EINVAL; };
  const Status done = Transfer(queue, options(IoKind::write)).run(cut_write({{0, memory.begin, 200}}, rules));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "write \"x\" at 0: Invalid argument");
}

}  // namespace
}  // namespace holdfast::backend

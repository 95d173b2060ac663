// An IoQueue over a file in memory that finishes its requests in any order, in part, and with the errors it is told to make.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <vector>

#include "impl/backend/posix/io_queue.h"
#include "impl/core/bytes.h"
#include "tests/impl/core/random.h"

namespace holdfast::test {

class MemoryQueue : public backend::IoQueue {
 public:
  static constexpr int buffered_fd = 7, direct_fd = 8;
  static constexpr std::uint64_t alignment = 16;

  MemoryQueue(Bytes file, std::uint64_t seed, std::size_t depth) : file_(std::move(file)), random_(seed), depth_(depth) {}

  /// Asked before each request is finished: an errno, or 0 to do it.
  std::function<int(const backend::IoRequest&)> fault = [](const auto&) { return 0; };
  bool in_part = false;  ///< requests move fewer bytes than asked, also off the alignment

  const Bytes& file() const { return file_; }
  std::size_t under_way() const { return started_.size(); }
  std::size_t began() const { return began_; }
  std::size_t most_under_way() const { return most_under_way_; }

  std::size_t depth() const override { return depth_; }
  std::size_t request_bytes() const override { return 64; }
  void start(const backend::IoRequest& request, std::size_t tag) override {
    started_.push_back({request, tag});
    ++began_;
    most_under_way_ = std::max(most_under_way_, started_.size());
    EXPECT_LE(started_.size(), depth_);
  }
  backend::IoCompletion wait() override {
    EXPECT_FALSE(started_.empty());
    const auto chosen = started_.begin() + static_cast<std::ptrdiff_t>(random_.below(started_.size()));
    const auto [request, tag] = *chosen;
    started_.erase(chosen);
    return {tag, finish(request)};
  }

 private:
  struct Started {
    backend::IoRequest request;
    std::size_t tag;
  };

  std::int64_t finish(const backend::IoRequest& request) {
    if (const int number = fault(request)) return -number;
    const auto address = reinterpret_cast<std::uint64_t>(request.memory);
    if (request.fd == direct_fd && (address % alignment | request.offset % alignment | request.bytes % alignment) != 0) {
      ADD_FAILURE() << "a direct request that is not aligned";
      return -EINVAL;
    }
    std::size_t bytes = request.bytes;
    if (in_part && random_.below(3) == 0) bytes = 1 + random_.below(bytes);
    if (request.kind == backend::IoKind::write) {
      file_.resize(std::max<std::size_t>(file_.size(), request.offset + bytes));
      std::copy_n(request.memory, bytes, file_.begin() + static_cast<std::ptrdiff_t>(request.offset));
      return static_cast<std::int64_t>(bytes);
    }
    if (request.offset >= file_.size()) return 0;
    bytes = std::min<std::size_t>(bytes, file_.size() - request.offset);
    std::copy_n(file_.begin() + static_cast<std::ptrdiff_t>(request.offset), bytes, request.memory);
    return static_cast<std::int64_t>(bytes);
  }

  Bytes file_;
  testing::Random random_;
  const std::size_t depth_;
  std::vector<Started> started_;
  std::size_t began_ = 0, most_under_way_ = 0;
};

}  // namespace holdfast::test

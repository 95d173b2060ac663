// What tests of the back ends ask of an error, and ranks that are threads.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <thread>
#include <vector>

#include "impl/core/error.h"
#include "impl/core/ids.h"

namespace holdfast::test {

template <typename T>
void expect_error(const Result<T>& result, ErrorCode code, std::string_view message) {
  ASSERT_FALSE(result) << "expected " << message;
  EXPECT_EQ(result.error().message, message);
  EXPECT_EQ(to_string(result.error().code), to_string(code)) << message;
}

template <typename T>
void expect_ending(const Result<T>& result, ErrorCode code, std::string_view ending) {
  ASSERT_FALSE(result) << "expected " << ending;
  EXPECT_TRUE(result.error().message.ends_with(ending)) << result.error().message << "\nexpected the ending\n" << ending;
  EXPECT_EQ(to_string(result.error().code), to_string(code));
}

/// Runs rank_main(rank) on a thread for each rank.
template <typename RankMain>
void run_ranks(int world_size, RankMain rank_main) {
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) ranks.emplace_back([&rank_main, rank] { rank_main(Rank{rank}); });
  for (std::thread& rank : ranks) rank.join();
}

}  // namespace holdfast::test

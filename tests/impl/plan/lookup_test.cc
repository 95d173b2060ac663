#include "impl/plan/lookup.h"

#include <gtest/gtest.h>

#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

class Lookup : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(state_.add("plain", plain_entry({4, 2})));
    ASSERT_TRUE(state_.add("sharded", tensor_entry({8}, {Box{{0}, {2}}, Box{{6}, {2}}, Box{{8}, {0}}, Box{{8}, {0}}})));
    ASSERT_TRUE(state_.add_bytes("bytes", Bytes(3)));
  }
  std::string shard_error(const MetadataIndex& index) const {
    const auto found = find_shard(state_, index);
    return found ? "found" : found.error().message;
  }
  const LocalShard* shard(std::size_t position) const { return &std::get<TensorEntry>(*state_.find("sharded")).shards[position]; }
  StateDict state_;
};

TEST_F(Lookup, FindsAPlainTensorWithoutAnOffsetOrAtTheOrigin) {
  EXPECT_EQ(find_shard(state_, {"plain", {}, {}}).value()->box, whole({4, 2}));
  EXPECT_EQ(find_shard(state_, {"plain", Dims{0, 0}, {}}).value()->box, whole({4, 2}));
  EXPECT_EQ(shard_error({"plain", Dims{1, 0}, {}}), "FQN: 'plain' is not a ShardedTensor, can't find by offset: '[1,0]'");
}

TEST_F(Lookup, FindsAShardByASoundHintElseBySearch) {
  EXPECT_EQ(find_shard(state_, {"sharded", Dims{8}, 3}).value(), shard(3));
  EXPECT_EQ(find_shard(state_, {"sharded", Dims{6}, 0}).value(), shard(1));
  EXPECT_EQ(find_shard(state_, {"sharded", Dims{6}, 99}).value(), shard(1));
  EXPECT_EQ(find_shard(state_, {"sharded", Dims{8}, {}}).value(), shard(2));
}

TEST_F(Lookup, SaysWhyThereIsNoShard) {
  EXPECT_EQ(shard_error({"other", {}, {}}), "Could not find FQN: 'other'");
  EXPECT_EQ(shard_error({"sharded", {}, {}}), "Cannot lookup sharded since its a ShardedTensor and no offset was provided");
  EXPECT_EQ(shard_error({"sharded", Dims{3}, 1}), "Could not find shard at '[3]' for FQN: 'sharded'");
  EXPECT_EQ(shard_error({"bytes", Dims{3}, {}}), "FQN: 'bytes' is not a ShardedTensor, can't find by offset: '[3]'");
  EXPECT_EQ(shard_error({"bytes", {}, {}}), "FQN: 'bytes' is a byte value, not a tensor");
}

TEST_F(Lookup, FindsByteValuesToReadAndToReplace) {
  EXPECT_EQ(find_bytes(std::as_const(state_), {"bytes", {}, {}}).value()->value.size(), 3u);
  find_bytes(state_, {"bytes", {}, {}}).value()->value = Bytes(7);
  EXPECT_EQ(std::get<BytesEntry>(*state_.find("bytes")).value.size(), 7u);
  EXPECT_EQ(find_bytes(state_, {"plain", {}, {}}).error().message, "FQN: 'plain' is a tensor of shape [4,2], not a byte value");
  EXPECT_EQ(find_bytes(state_, {"bytes", Dims{0}, {}}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(find_bytes(state_, {"other", {}, {}}).error().code, ErrorCode::not_found);
}

}  // namespace
}  // namespace holdfast::plan

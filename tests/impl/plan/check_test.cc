#include "impl/plan/check.h"

#include <gtest/gtest.h>

#include <functional>

#include "impl/plan/load_plan.h"
#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

class CheckLoadPlan : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(state_.add("w", tensor_entry({4, 4}, {Box{{0, 1}, {4, 2}}, Box{{3, 3}, {1, 1}}})));
    ASSERT_TRUE(state_.add_bytes("b", {}));
    metadata_.entries["w"] = saved_tensor({4, 4}, {Box{{0, 0}, {2, 4}}, Box{{2, 0}, {2, 4}}});
    metadata_.entries["b"] = BytesMetadata{};
    plan_ = local_load_plan(state_, metadata_).value();
    ASSERT_EQ(plan_.items.size(), 4u);  // b; two for the first box; one for the second
    ASSERT_EQ(ids(check()), "");
  }
  std::vector<Finding> check() const { return check_load_plan(plan_, state_, metadata_); }
  StateDict state_;
  Metadata metadata_;
  LoadPlan plan_;
};

TEST_F(CheckLoadPlan, NamesAnElementThatIsReadNeverOrTwice) {
  const ReadItem second = plan_.items[2];
  plan_.items.erase(plan_.items.begin() + 2);
  ASSERT_EQ(check().size(), 1u);
  EXPECT_EQ(to_string(check()[0]), "E uncovered: \"w\" local box [0,1]+[4,2]: element [2,1] is read 0 times");
  plan_.items.push_back(second);
  plan_.items.push_back(second);
  ASSERT_EQ(check().size(), 1u);
  EXPECT_EQ(to_string(check()[0]), "E overlap: \"w\" local box [0,1]+[4,2]: element [2,1] is read 2 times");
}

TEST_F(CheckLoadPlan, NamesAByteValueThatIsReadNeverOrTwice) {
  plan_.items.push_back(plan_.items[0]);
  EXPECT_EQ(to_string(check()[0]), "E overlap: \"b\": read 2 times");
  std::erase_if(plan_.items, [](const ReadItem& item) { return item.type == ReadItemType::bytes; });
  EXPECT_EQ(to_string(check()[0]), "E uncovered: \"b\": read 0 times");
}

TEST_F(CheckLoadPlan, NoticesEveryChangeOfOneNumber) {
  const LoadPlan good = plan_;
  for (std::size_t i = 1; i < good.items.size(); ++i) {
    for (const auto member : {&ReadItem::dest_offset, &ReadItem::storage_offset, &ReadItem::lengths}) {
      for (std::size_t d = 0; d < 2; ++d) {
        for (const std::int64_t change : {-1, 1}) {
          plan_ = good;
          (plan_.items[i].*member)[d] += change;
          EXPECT_TRUE(any_error(check()));
        }
      }
    }
    plan_ = good;
    (*plan_.items[i].storage_index.offset)[0] ^= 2;
    EXPECT_TRUE(any_error(check()));
  }
}

TEST_F(CheckLoadPlan, NamesWhatDoesNotBelongTogether) {
  const auto with = [this](const std::function<void(ReadItem&)>& change) {
    const LoadPlan good = plan_;
    change(plan_.items[1]);
    const std::string found = ids(check());
    plan_ = good;
    return found;
  };
  EXPECT_EQ(with([](ReadItem& item) { item.dest_index.fqn = "other"; }), "unknown-destination uncovered");
  EXPECT_EQ(with([](ReadItem& item) { item.dest_index.offset = Dims{1, 1}; }), "unknown-destination uncovered");
  EXPECT_EQ(with([](ReadItem& item) { item.storage_index.fqn = "other"; }), "unknown-source uncovered");
  EXPECT_EQ(with([](ReadItem& item) { item.storage_index.offset = Dims{1, 0}; }), "unknown-source uncovered");
  EXPECT_EQ(with([](ReadItem& item) { item.storage_index.fqn = "b"; }), "kind uncovered");
  EXPECT_EQ(with([](ReadItem& item) { item.storage_offset = {1, 1}; }), "out-of-bounds uncovered");
  EXPECT_EQ(with([](ReadItem& item) { item.storage_offset = {0, 2}; }), "misplaced");
  EXPECT_EQ(with([](ReadItem& item) { item.lengths = {0, 2}; }), "empty uncovered");
}

TEST_F(CheckLoadPlan, NamesOtherDtypesShapesAndChunksThatCannotBe) {
  metadata_.entries["w"] = saved_tensor({4, 4}, {Box{{0, 0}, {2, 4}}, Box{{2, 0}, {2, 4}}}, DType::i32);
  EXPECT_EQ(ids(check()), "dtype dtype dtype");
  metadata_.entries["w"] = saved_tensor({4, 5}, {Box{{0, 0}, {2, 5}}, Box{{2, 0}, {2, 5}}});
  EXPECT_EQ(ids(check()), "shape shape shape uncovered uncovered");
  metadata_.entries["w"] = saved_tensor({4, 4}, {Box{{0, 0}, {9, 9}}});
  EXPECT_EQ(ids(check()), "metadata unknown-source unknown-source unknown-source uncovered uncovered");
}

TEST_F(CheckLoadPlan, LetsAPlanLeaveOutWhatTheCheckpointLacks) {
  metadata_.entries.erase("b");
  plan_.items.erase(plan_.items.begin());
  EXPECT_EQ(ids(check()), "");
}

TEST_F(CheckLoadPlan, DoesNotCountInMoreThanSixteenDimensions) {
  const Dims shape(17, 1);
  StateDict state;
  ASSERT_TRUE(state.add("deep", plain_entry(shape)));
  Metadata metadata;
  metadata.entries["deep"] = saved_tensor(shape, {whole(shape)});
  EXPECT_EQ(ids(check_load_plan(local_load_plan(state, metadata).value(), state, metadata)), "dimensions");
}

class CheckSavePlan : public testing::Test {
 protected:
  void SetUp() override {
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      local_.push_back(plan_of({bytes_item("b", 3), whole_item("r", {2}), shard_item("w", {{rank * 2}, {2}}, {6})}));
    }
    global_ = global_save_plan(local_).value();
    ASSERT_EQ(found(), "");
  }
  std::string found() const { return ids(check_save_plan(global_, local_).findings); }
  std::vector<SavePlan> local_;
  GlobalSavePlan global_;
};

TEST_F(CheckSavePlan, NoticesEveryItemThatIsLostOrWrittenTwice) {
  const GlobalSavePlan good = global_;
  for (std::size_t rank = 0; rank < 3; ++rank) {
    for (std::size_t i = 0; i < good.plans[rank].items.size(); ++i) {
      global_ = good;
      auto& items = global_.plans[rank].items;
      const WriteItem item = items[i];
      items.erase(items.begin() + static_cast<std::ptrdiff_t>(i));
      EXPECT_NE(found().find("uncovered"), std::string::npos);
      items.push_back(item);
      items.push_back(item);
      EXPECT_NE(found().find("owner"), std::string::npos);
    }
  }
}

TEST_F(CheckSavePlan, NamesAnItemItsRankDidNotOffer) {
  global_.plans[1].items.push_back(shard_item("w", {{0}, {2}}, {6}));
  EXPECT_EQ(found(), "not-held owner metadata overlap");
  global_.plans[1].items.back() = whole_item("other", {1});
  EXPECT_EQ(found(), "not-held");
}

TEST_F(CheckSavePlan, NamesMetadataThatSaysSomethingElse) {
  const Metadata good = global_.metadata;
  global_.metadata.entries["w"] = saved_tensor({6}, {Box{{0}, {6}}});
  EXPECT_EQ(found(), "metadata");
  global_.metadata.entries["w"] = saved_tensor({6}, {Box{{0}, {2}}, Box{{2}, {2}}, Box{{4}, {2}}}, DType::i32);
  EXPECT_EQ(found(), "metadata");
  global_.metadata = good;
  global_.metadata.entries["b"] = saved_tensor({6}, {Box{{0}, {6}}});
  EXPECT_EQ(found(), "metadata");
  global_.metadata = good;
  global_.metadata.entries.erase("r");
  EXPECT_EQ(found(), "metadata");
  global_.metadata = good;
  global_.metadata.entries["x"] = BytesMetadata{};
  EXPECT_EQ(found(), "metadata");
}

TEST_F(CheckSavePlan, NamesAMissingPlan) {
  global_.plans.pop_back();
  EXPECT_EQ(found(), "ranks");
}

TEST_F(CheckSavePlan, WarnsOfAHeavyRank) {
  const SavePlan all = plan_of({whole_item("a", {4}), whole_item("b", {4}), whole_item("c", {4})});
  const std::vector<SavePlan> local(4, all);
  const SavePlanCheck check = check_save_plan(global_save_plan(local, DedupPolicy::lowest_rank).value(), local);
  EXPECT_EQ(check.imbalance, 4);
  ASSERT_EQ(check.findings.size(), 1u);
  EXPECT_EQ(to_string(check.findings[0]), "W imbalance: 4.0");
  EXPECT_FALSE(any_error(check.findings));
}

}  // namespace
}  // namespace holdfast::plan

#include "model/history.h"

#include <gtest/gtest.h>

namespace holdfast::model {
namespace {

using Names = std::vector<std::string>;

TEST(History, AllowsNothingBeforeTheFirstSave) {
  History history;
  EXPECT_TRUE(history.may_be_empty());
  EXPECT_EQ(history.loadable(), Names{});
  EXPECT_TRUE(history.observe_none());
  EXPECT_FALSE(history.observe("a"));
}

TEST(History, AllowsOldOrNewWhileASaveIsUnderWayAndExactlyNewAfterItsAcknowledgement) {
  History history;
  history.begin("old");
  EXPECT_TRUE(history.may_be_empty());
  EXPECT_EQ(history.loadable(), Names{"old"});
  history.acknowledge("old");
  EXPECT_FALSE(history.may_be_empty());
  history.begin("new");
  EXPECT_EQ(history.loadable(), (Names{"old", "new"}));
  history.crash();
  EXPECT_EQ(history.loadable(), (Names{"old", "new"}));
  history.acknowledge("new");
  EXPECT_EQ(history.loadable(), Names{"new"});
  EXPECT_FALSE(history.observe("old"));
}

TEST(History, NeverAllowsASaveThatSaidItFailed) {
  History history;
  history.begin("old");
  history.acknowledge("old");
  history.begin("new");
  history.refute("new");
  EXPECT_EQ(history.loadable(), Names{"old"});
}

TEST(History, HoldsALoadToWhatAnEarlierLoadSaw) {
  History history;
  history.begin("old");
  history.acknowledge("old");
  history.begin("new");
  history.crash();
  ASSERT_TRUE(history.observe("old"));
  EXPECT_EQ(history.loadable(), Names{"old"});
  EXPECT_FALSE(history.observe("new"));
}

TEST(History, CountsALoadedSaveAsAcknowledged) {
  History history;
  history.begin("old");
  history.acknowledge("old");
  history.begin("new");
  history.crash();
  ASSERT_TRUE(history.observe("new"));
  EXPECT_EQ(history.loadable(), Names{"new"});
}

TEST(History, LetsASaveThatIsStillUnderWayCommitAfterALoad) {
  History history;
  history.begin("old");
  history.acknowledge("old");
  history.begin("new");
  ASSERT_TRUE(history.observe("old"));
  EXPECT_EQ(history.loadable(), (Names{"old", "new"}));
}

TEST(History, KnowsThatNothingIsThereOnceALoadFoundNothing) {
  History history;
  history.begin("first");
  history.crash();
  ASSERT_TRUE(history.observe_none());
  EXPECT_EQ(history.loadable(), Names{});
  history.begin("second");
  history.acknowledge("second");
  EXPECT_FALSE(history.observe_none());
}

}  // namespace
}  // namespace holdfast::model

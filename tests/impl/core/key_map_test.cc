#include "impl/core/key_map.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

std::string name(const KeyMap& map, std::string_view key) { return map.apply({key}).value().names.begin()->second; }
std::string refusal(const KeyMap& map, const std::vector<std::string_view>& keys) { return map.apply(keys).error().message; }

TEST(KeyMap, TakesTheMostSpecificRule) {
  const KeyMap map = KeyMap()
                         .prefix("model.", "module.")
                         .prefix("model.layers.", "blocks.")
                         .key("model.layers.0", "first")
                         .otherwise([](std::string_view key) { return key == "step" ? std::optional<std::string>("it") : std::nullopt; });
  EXPECT_EQ(name(map, "model.norm"), "module.norm");
  EXPECT_EQ(name(map, "model.layers.1"), "blocks.1");
  EXPECT_EQ(name(map, "model.layers.0"), "first");
  EXPECT_EQ(name(map, "step"), "it");
  EXPECT_EQ(name(map, "lr"), "lr");
  EXPECT_EQ(name(KeyMap().prefix("", "all."), "lr"), "all.lr");
  EXPECT_TRUE(KeyMap().empty());
  EXPECT_TRUE(KeyMap().apply({"a"}).value().names.empty());
}

TEST(KeyMap, SaysWhichRulesApplied) {
  const KeyMap map = KeyMap().key("a", "b").prefix("c", "d").key("e", "f").otherwise([](std::string_view) { return std::nullopt; });
  EXPECT_EQ(map.apply({"a", "x", "cc"}).value().used, (std::vector<bool>{true, true, false, false}));
  EXPECT_EQ(map.rule_text(0), R"(rename key "a" to "b")");
  EXPECT_EQ(map.rule_text(1), R"(rename prefix "c" to "d")");
  EXPECT_EQ(map.rule_text(3), "rename by the caller's function");
}

TEST(KeyMap, RefusesEveryNameThatSeveralKeysWouldGet) {
  const KeyMap map = KeyMap().key("a", "x").key("b", "x").prefix("c.", "d.");
  EXPECT_EQ(refusal(map, {"a", "b", "c.1", "d.1", "e"}),
            R"(rename keys: "d.1" would be the name of "c.1" and "d.1"; "x" would be the name of "a" and "b")");
}

TEST(KeyMap, RefusesTwoRulesForOneName) {
  EXPECT_EQ(refusal(KeyMap().key("a", "b").key("a", "c").prefix("p", "q").prefix("p", "q"), {}),
            R"(rename keys: rename key "a" to "b", but rename key "a" to "c"; rename prefix "p" to "q", but rename prefix "p" to "q")");
}

TEST(KeyFilter, AdmitsWhatAnyRuleNames) {
  const KeyFilter filter{.keys = {"step"}, .prefixes = {"model."}, .predicate = [](std::string_view key) { return key.ends_with(".lr"); }};
  EXPECT_TRUE(filter.admits("step"));
  EXPECT_TRUE(filter.admits("model.0"));
  EXPECT_TRUE(filter.admits("opt.lr"));
  EXPECT_FALSE(filter.admits("model"));
  EXPECT_FALSE(filter.admits("steps"));
  EXPECT_TRUE(KeyFilter().admits("anything"));
  EXPECT_EQ(filter.rule_texts(), (std::vector<std::string>{R"(select key "step")", R"(select prefix "model.")"}));
  EXPECT_EQ(filter.used({"model", "model.0", "steps"}), (std::vector<bool>{false, true}));
}

}  // namespace
}  // namespace holdfast

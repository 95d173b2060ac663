#include "impl/core/nested.h"

#include <gtest/gtest.h>

#include "tests/impl/core/random.h"

namespace holdfast {
namespace {

Nested bytes(int value) { return {StateDict::Entry(BytesEntry{{static_cast<std::byte>(value)}})}; }
Nested map(std::vector<Nested::Item> items) { return {Nested::Map{std::move(items)}}; }
Nested list(std::vector<Nested> items) { return {Nested::List{std::move(items)}}; }
Nested tuple(std::vector<Nested> items) { return {Nested::Tuple{std::move(items)}}; }

/// A tree in one line: {"a": 1, 0: [2, (3)]}; a tensor as its dtype and shape.
std::string show(const Nested& tree) {
  std::string text;
  const auto items = [&](const auto& all, auto&& one) {
    for (const auto& item : all) text += (&item == &all.front() ? "" : ", ") + one(item);
  };
  if (const auto* entry = std::get_if<StateDict::Entry>(&tree.value)) {
    if (const auto* tensor = std::get_if<TensorEntry>(entry))
      return fmt::format("{}{}", to_string(tensor->dtype), to_string({tensor->shape.data(), tensor->shape.size()}));
    const auto& value = std::get<BytesEntry>(*entry);
    return fmt::format("{}{}", std::to_integer<int>(value.value.at(0)), value.per_rank ? " of a rank" : "");
  }
  if (const auto* of = std::get_if<Nested::Map>(&tree.value)) {
    items(of->items, [](const Nested::Item& item) {
      const auto* word = std::get_if<std::string>(&item.key);
      return (word ? fmt::format("\"{}\"", *word) : fmt::format("{}", std::get<std::int64_t>(item.key))) + ": " + show(item.value);
    });
    return "{" + text + "}";
  }
  if (const auto* of = std::get_if<Nested::List>(&tree.value)) {
    items(of->items, show);
    return "[" + text + "]";
  }
  items(std::get<Nested::Tuple>(tree.value).items, show);
  return "(" + text + ")";
}

std::string names(const StateDict& state) {
  std::string text;
  for (const auto& [name, entry] : state.entries()) text += (text.empty() ? "" : " ") + name;
  return text;
}

std::string refusal(Nested tree, Naming naming = Naming::dotted) { return flatten(std::move(tree), naming).error().message; }

/// An optimizer's state as PyTorch has it: integer keys, a list with a map in it, empty containers.
Nested sample() {
  return map({{"optimizer", map({{"state", map({{0, map({{"step", bytes(1)}})}, {-7, bytes(2)}})},
                                 {"groups", list({map({{"lr", bytes(3)}, {"params", list({})}})})}})},
              {"rng.state", tuple({bytes(4), map({})})}});
}

TEST(Nested, TakesPyTorchsNamesAndGivesTheTreeBack) {
  Flat flat = flatten(sample()).value();
  EXPECT_EQ(names(flat.state), "optimizer.groups.0.lr optimizer.state.-7 optimizer.state.0.step rng.state.0");
  const Structure stored = decode_structure(encode(flat.structure)).value();
  EXPECT_EQ(stored, flat.structure);
  EXPECT_EQ(show(unflatten(std::move(flat.state), stored).value()), show(sample()));
  EXPECT_EQ(show(sample()),
            R"({"optimizer": {"state": {0: {"step": 1}, -7: 2}, "groups": [{"lr": 3, "params": []}]}, "rng.state": (4, {})})");
}

TEST(Nested, ExactNamesTellKeysFromPositionsAndDotsFromSteps) {
  Flat flat = flatten(sample(), Naming::exact).value();
  EXPECT_EQ(names(flat.state), R"(optimizer.groups[0].lr optimizer.state[-7] optimizer.state[0].step rng\.state[0])");
  EXPECT_EQ(show(unflatten(std::move(flat.state), flat.structure).value()), show(sample()));
}

TEST(Nested, RefusesEveryNameThatTwoLeavesShare) {
  const Nested tree = map({{"a.b", bytes(1)}, {"a", map({{"b", bytes(2)}})}, {"s", map({{0, bytes(3)}, {"0", bytes(4)}})}, {"", bytes(5)}});
  EXPECT_EQ(refusal(tree), R"(flatten: "a.b" is the name of ["a.b"] and of ["a"]["b"]; "s.0" is the name of ["s"][0] and of ["s"]["0"])");
  const Flat exact = flatten(tree, Naming::exact).value();
  EXPECT_EQ(names(exact.state), R"(\e a.b a\.b s.0 s[0])");
}

TEST(Nested, RefusesAKeyThatComesTwiceAndNestingWithoutEnd) {
  EXPECT_EQ(refusal(map({{"a", map({{1, map({})}, {1, map({})}})}})), R"(flatten: ["a"][1] comes twice)");
  Nested deep = bytes(1);
  for (std::size_t i = 0; i < nesting_max; ++i) deep = list({std::move(deep)});
  EXPECT_TRUE(flatten(deep));
  EXPECT_NE(refusal(list({std::move(deep)})).find("more than 64 containers in each other"), std::string::npos);
}

TEST(Nested, KeepsWhatAnEntryIs) {
  std::byte memory[4] = {};
  Nested tensor{StateDict::Entry(TensorEntry{DType::u8, {4}, false, {{whole({4}), packed_block(memory, {4}, 1)}}})};
  Nested of_rank{StateDict::Entry(BytesEntry{{std::byte{6}}, RankPolicy::modulo})};
  Flat flat = flatten(map({{"w", std::move(tensor)}, {"rng", std::move(of_rank)}})).value();
  EXPECT_EQ(std::get<TensorEntry>(*flat.state.find("w")).shards[0].memory.data, memory);
  EXPECT_EQ(show(unflatten(std::move(flat.state), flat.structure).value()), R"({"w": U8[4], "rng": 6 of a rank})");
  EXPECT_EQ(refusal(map({{"w", Nested{StateDict::Entry(TensorEntry{DType::u8, {4}, false, {}})}}})),
            R"(state dict: tensor "w" is not sharded, but the rank does not hold exactly the whole of it)");
}

TEST(Unflatten, NamesWhatIsNotThereOrLeavesItOut) {
  Flat flat = flatten(sample()).value();
  flat.state.entries().erase("optimizer.state.0.step");
  EXPECT_EQ(unflatten(flat.state, flat.structure).error().message,
            R"(unflatten: ["optimizer"]["state"][0]["step"] is "optimizer.state.0.step", which the state dict does not hold)");
  EXPECT_EQ(show(unflatten(flat.state, flat.structure, Absent::leave_out).value()),
            R"({"optimizer": {"state": {-7: 2}, "groups": [{"lr": 3, "params": []}]}, "rng.state": (4, {})})");
  flat.state.entries().erase("rng.state.0");
  EXPECT_EQ(unflatten(flat.state, flat.structure, Absent::leave_out).error().message,
            R"(unflatten: ["rng.state"]: 1 of its 2 positions are there; expected all of them or none)");
}

TEST(Unflatten, GivesEntriesThatTheStructureDoesNotNameAPlaceInTheRoot) {
  Flat flat = flatten(map({{"a", map({{"b", bytes(1)}})}})).value();
  ASSERT_TRUE(flat.state.add_bytes("extra", {std::byte{2}}));
  EXPECT_EQ(show(unflatten(flat.state, flat.structure).value()), R"({"a": {"b": 1}, "extra": 2})");
  ASSERT_TRUE(flat.state.add_bytes("a", {std::byte{3}}));
  EXPECT_EQ(unflatten(flat.state, flat.structure).error().message, R"(unflatten: "a" has no place: the root has such a key)");
  EXPECT_EQ(unflatten(flat.state, Structure{Naming::dotted, {Tree<std::optional<std::string>>::List{}}}).error().message,
            R"(unflatten: "a" has no place: the root is no map)");
}

TEST(Structure, IsTheUnionOfWhatRanksHold) {
  const auto stage = [](std::int64_t first) {
    return map({{"layers", map({{first, bytes(1)}, {first + 1, bytes(2)}})}, {"step", bytes(3)}});
  };
  Flat all = flatten(stage(0)).value();
  Flat second = flatten(stage(1)).value();
  ASSERT_TRUE(merge(all.structure, second.structure));
  all.state.entries().merge(second.state.entries());
  EXPECT_EQ(show(unflatten(std::move(all.state), all.structure).value()), R"({"layers": {0: 1, 1: 2, 2: 2}, "step": 3})");
}

TEST(Structure, NamesWhereRanksContradictEachOther) {
  const auto clash = [](Nested a, Nested b, Naming other = Naming::dotted) {
    Structure into = flatten(std::move(a)).value().structure;
    return merge(into, flatten(std::move(b), other).value().structure).error().message;
  };
  EXPECT_EQ(clash(map({{"a", list({bytes(1)})}}), map({{"a", list({})}})),
            R"(merge nested states: ["a"] is a list of 1 in one and a list of 0 in the other)");
  EXPECT_EQ(clash(map({{"a", bytes(1)}}), map({{"a", map({})}})), R"(merge nested states: ["a"] is a leaf in one and a map in the other)");
  EXPECT_EQ(clash(map({{"a", map({{0, bytes(1)}})}}), map({{"a", map({{"0", bytes(1)}})}})),
            R"(merge nested states: "a.0" is the name of ["a"][0] and of ["a"]["0"])");
  EXPECT_EQ(clash(map({}), map({}), Naming::exact), "merge nested states: their entries are named by different rules");
  Structure into = flatten(map({{"a", bytes(1)}})).value().structure;
  Structure renamed = into;
  rename_entries(renamed, [](std::string_view name) { return "x." + std::string(name); });
  EXPECT_EQ(merge(into, renamed).error().message, R"(merge nested states: ["a"] is called "a" in one and "x.a" in the other)");
}

TEST(Structure, FollowsRenamedEntries) {
  Flat flat = flatten(sample()).value();
  rename_entries(flat.structure, [](std::string_view name) { return "ckpt." + std::string(name); });
  StateDict renamed;
  for (auto& [name, entry] : flat.state.entries()) renamed.entries().emplace("ckpt." + name, std::move(entry));
  const Structure stored = decode_structure(encode(flat.structure)).value();
  EXPECT_EQ(show(unflatten(std::move(renamed), stored).value()), show(sample()));
  rename_entries(flat.structure, [](std::string_view name) { return std::string(name.substr(5)); });
  EXPECT_EQ(flat.structure, flatten(sample()).value().structure);
}

TEST(Structure, DecodingIsTotal) {
  Structure structure = flatten(sample()).value().structure;
  rename_entries(structure, [](std::string_view name) { return name.size() > 20 ? "long" : std::string(name); });
  const Bytes good = encode(structure);
  EXPECT_TRUE(is_structure(good));
  for (std::size_t length = 0; length < good.size(); ++length) ASSERT_FALSE(decode_structure(ByteView(good).first(length))) << length;
  testing::Random random(7);
  for (int i = 0; i < 20'000; ++i) {
    Bytes bad = good;
    for (std::uint64_t flips = 1 + random.below(3); flips > 0; --flips)
      bad[random.below(bad.size())] = static_cast<std::byte>(random.next());
    const auto decoded = decode_structure(bad);
    if (decoded) {
      ASSERT_EQ(decode_structure(encode(*decoded)).value(), *decoded);
    } else {
      ASSERT_EQ(decoded.error().code, ErrorCode::corrupt);
    }
  }
}

}  // namespace
}  // namespace holdfast

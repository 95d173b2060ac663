// What a state dict becomes on its way to a checkpoint and back: nesting, names, a part of the keys, no template.
#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "impl/core/mark.h"
#include "impl/core/nested.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/device_state.h"
#include "properties/job.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

// Nested state.

constexpr std::string_view words[] = {"a", "b", "a.b", "0", "", ".", "x[0]", "\\", "\\e", "lr"};

/// Few different keys, so that names clash.
MapKey draw_key(Draw& draw) {
  if (draw.one_in(3)) return static_cast<std::int64_t>(draw.below(4)) - 1;
  return std::string(words[draw.below(std::size(words))]);
}

/// A leaf that no other leaf of the tree is like.
Nested draw_leaf(Draw& draw, std::int64_t& leaves) {
  const std::int64_t number = leaves++;
  if (draw.one_in(3)) return {StateDict::Entry(TensorEntry{DType::i32, {number}, true, {}})};
  BytesEntry bytes{Bytes(2)};
  bytes.value[0] = static_cast<std::byte>(number);
  bytes.value[1] = static_cast<std::byte>(number / 256);
  if (draw.one_in(4)) bytes.per_rank = RankPolicy::first;
  return {StateDict::Entry(std::move(bytes))};
}

Nested draw_tree(Draw& draw, int depth, std::int64_t& leaves) {
  const std::uint64_t kind = depth == 0 ? 1 + draw.below(3) : draw.below(6);
  if (kind == 0 || kind > 3 || depth > 4) return draw_leaf(draw, leaves);
  const std::uint64_t items = draw.below(5);
  std::vector<Nested> children;
  for (std::uint64_t i = 0; i < items; ++i) children.push_back(draw_tree(draw, depth + 1, leaves));
  if (kind == 1) return {Nested::List{std::move(children)}};
  if (kind == 2) return {Nested::Tuple{std::move(children)}};
  Nested::Map map;
  std::set<MapKey> keys;
  for (Nested& child : children) {
    MapKey key = draw_key(draw);
    if (keys.insert(key).second) map.items.push_back({std::move(key), std::move(child)});
  }
  return {std::move(map)};
}

/// The tree beside two leaves whose dotted paths are equal; chance alone makes such trees seldom.
Nested with_a_clash(Nested tree, Draw& draw, std::int64_t& leaves) {
  Nested::Map inner, map;
  inner.items.push_back({std::string("b"), draw_leaf(draw, leaves)});
  map.items.push_back({std::string("a"), {std::move(inner)}});
  map.items.push_back({std::string("a.b"), draw_leaf(draw, leaves)});
  map.items.push_back({std::string("c"), std::move(tree)});
  return {std::move(map)};
}

std::string text(const MapKey& key) {
  const auto* word = std::get_if<std::string>(&key);
  return word ? fmt::format("\"{}\"", *word) : fmt::format("{}", std::get<std::int64_t>(key));
}

std::string show(const Nested& tree) {
  std::string inner;
  if (const auto* entry = std::get_if<StateDict::Entry>(&tree.value)) {
    if (const auto* tensor = std::get_if<TensorEntry>(entry)) return fmt::format("t{}", tensor->shape[0]);
    const auto& bytes = std::get<BytesEntry>(*entry);
    const auto byte = [&](std::size_t i) { return std::to_integer<int>(bytes.value.at(i)); };
    return fmt::format("v{}{}", byte(0) + 256 * byte(1), bytes.per_rank ? "r" : "");
  }
  if (const auto* map = std::get_if<Nested::Map>(&tree.value)) {
    for (const auto& item : map->items) inner += text(item.key) + ":" + show(item.value) + ",";
    return "{" + inner + "}";
  }
  const auto* list = std::get_if<Nested::List>(&tree.value);
  for (const Nested& item : list ? list->items : std::get<Nested::Tuple>(tree.value).items) inner += show(item) + ",";
  return list ? "[" + inner + "]" : "(" + inner + ")";
}

/// The path of every leaf, in PyTorch's way: its parts joined by dots.
void dotted_paths(const Nested& tree, const std::vector<std::string>& parts, std::vector<std::string>& paths) {
  const auto into = [&](std::string part, const Nested& child) {
    std::vector<std::string> longer = parts;
    longer.push_back(std::move(part));
    dotted_paths(child, longer, paths);
  };
  if (std::holds_alternative<StateDict::Entry>(tree.value)) paths.push_back(fmt::format("{}", fmt::join(parts, ".")));
  if (const auto* map = std::get_if<Nested::Map>(&tree.value)) {
    for (const auto& item : map->items) {
      const auto* word = std::get_if<std::string>(&item.key);
      into(word ? *word : fmt::format("{}", std::get<std::int64_t>(item.key)), item.value);
    }
  }
  const auto positions = [&](const std::vector<Nested>& items) {
    for (std::size_t i = 0; i < items.size(); ++i) into(fmt::format("{}", i), items[i]);
  };
  if (const auto* list = std::get_if<Nested::List>(&tree.value)) positions(list->items);
  if (const auto* tuple = std::get_if<Nested::Tuple>(&tree.value)) positions(tuple->items);
}

Wrong comes_back(const Nested& tree, Naming naming) {
  Result<Flat> flat = flatten(tree, naming);
  if (!flat) return fmt::format("{} is not made flat: {}", show(tree), flat.error());
  const Result<Structure> stored = decode_structure(encode(flat->structure));
  if (!stored) return fmt::format("{}: its structure is not read back: {}", show(tree), stored.error());
  const Result<Nested> back = unflatten(std::move(flat->state), *stored);
  if (!back) return fmt::format("{} is not nested again: {}", show(tree), back.error());
  if (show(*back) != show(tree)) return fmt::format("{} comes back as {}", show(tree), show(*back));
  return std::nullopt;
}

Wrong nested_comes_back(const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed);
  std::int64_t leaves = 0;
  Nested tree = draw_tree(draw, 0, leaves);
  if (draw.one_in(5)) tree = with_a_clash(std::move(tree), draw, leaves);
  if (auto wrong = comes_back(tree, Naming::exact)) return wrong;
  std::vector<std::string> paths;
  dotted_paths(tree, {}, paths);
  std::ranges::sort(paths);
  std::set<std::string> twice;
  for (auto at = std::ranges::adjacent_find(paths); at != paths.end(); at = std::adjacent_find(std::next(at), paths.end()))
    twice.insert(*at);
  if (twice.empty()) return comes_back(tree, Naming::dotted);
  MARK("property.names_clashed");
  const Result<Flat> flat = flatten(tree);
  if (flat) return fmt::format("{} is made flat though \"{}\" names two leaves", show(tree), *twice.begin());
  for (const std::string& name : twice) {
    if (flat.error().message.find(fmt::format("\"{}\" is the name of ", name)) == std::string::npos)
      return fmt::format("{}: \"{}\" names two leaves, and is not told: {}", show(tree), name, flat.error());
  }
  return std::nullopt;
}

// Names.

struct DrawnMap {
  KeyMap map;
  std::vector<std::pair<std::string, std::string>> keys, prefixes;

  /// What the rules mean, read off one by one.
  std::string name(const std::string& key) const {
    for (const auto& [from, to] : keys) {
      if (from == key) return to;
    }
    const std::pair<std::string, std::string>* best = nullptr;
    for (const auto& rule : prefixes) {
      if (key.starts_with(rule.first) && (!best || rule.first.size() > best->first.size())) best = &rule;
    }
    return best ? best->second + key.substr(best->first.size()) : key;
  }
};

std::vector<std::string> names_of(const gen::StateSpec& spec) {
  std::vector<std::string> names;
  for (const gen::TensorSpec& tensor : spec.tensors) names.push_back(tensor.name);
  for (const gen::ValueSpec& value : spec.values) names.push_back(value.name);
  return names;
}

DrawnMap draw_map(Draw& draw, const gen::StateSpec& spec) {
  DrawnMap drawn;
  std::set<std::string> from;
  for (const std::string& name : names_of(spec)) {
    if (draw.one_in(4)) drawn.keys.emplace_back(name, fmt::format("k{}", draw.below(8)));
    const std::string prefix = name.substr(0, draw.below(name.size() + 1));
    if (draw.one_in(3) && from.insert(prefix).second) drawn.prefixes.emplace_back(prefix, fmt::format("p{}.", draw.below(8)));
  }
  for (const auto& [key, name] : drawn.keys) drawn.map.key(key, name);
  for (const auto& [prefix, name] : drawn.prefixes) drawn.map.prefix(prefix, name);
  return drawn;
}

gen::StateSpec renamed(gen::StateSpec spec, const DrawnMap& map) {
  for (gen::TensorSpec& tensor : spec.tensors) tensor.name = map.name(tensor.name);
  for (gen::ValueSpec& value : spec.values) value.name = map.name(value.name);
  return spec;
}

gen::WholeValues renamed(const gen::WholeValues& values, const DrawnMap& map) {
  gen::WholeValues all;
  for (const auto& [key, value] : values.tensors) all.tensors.emplace(map.name(key), value);
  for (const auto& [key, value] : values.values) all.values.emplace(map.name(key), value);
  return all;
}

/// Saves under other names; loads by the same map, and without one into a state that has those names.
Wrong names_are_given(World& world, const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed);
  const DrawnMap map = draw_map(draw, drawn.saved);
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  std::set<std::string> names;
  for (const std::string& key : names_of(drawn.saved)) names.insert(map.name(key));
  const bool clash = names.size() < drawn.saved.tensors.size() + drawn.saved.values.size();
  world.reset();
  auto wrong = on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    const gen::RankState state = make_state(drawn.saved, rank, values);
    const auto saved = protocol::save(session, state.dict, {.step = Step{1}, .block_bytes = 64, .keys = map.map});
    if (!clash) return saved ? std::nullopt : Wrong("save: " + to_string(saved.error()));
    if (saved) return "two keys are saved under one name";
    return to_string(saved.error()).find("would be the name of") == std::string::npos ? Wrong(to_string(saved.error())) : std::nullopt;
  });
  if (wrong || clash) return wrong;
  if (!map.map.empty()) MARK("property.renamed");
  wrong = on_ranks(world, drawn.loaded.world_size, drawn.seed, drawn.load_coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    gen::RankState state = make_destination(drawn.loaded, rank);
    const auto loaded = protocol::load(session, state.dict, {.keys = map.map});
    if (!loaded) return "load: " + to_string(loaded.error());
    if (!loaded->keys.missing.empty() || !loaded->keys.unexpected.empty()) return "keys are told missing or unexpected after a whole load";
    return difference(state, drawn.loaded, rank, values);
  });
  if (wrong) return wrong;
  const gen::StateSpec other = renamed(drawn.loaded, map);
  return not_loaded(load_job(world, other, renamed(values, map), {.seed = drawn.seed, .coordinator = drawn.load_coordinator}));
}

/// Two ranks give different keys one name: the values under it must not be taken for one.
Wrong origins_are_told(World& world, const gen::DrawnCase& drawn) {
  const int ranks = std::max(2, drawn.saved.world_size);
  world.reset();
  return on_ranks(world, ranks, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    StateDict state;
    const Status added = state.add_bytes(fmt::format("stage{}.bias", rank), {std::byte{1}});
    if (!added) return fmt::format("{}", added.error());
    KeyMap map;
    for (int r = 0; r < ranks; ++r) map.prefix(fmt::format("stage{}.", r), "");
    const auto saved = protocol::save(session, state, {.step = Step{1}, .keys = map});
    if (saved) return "keys of two ranks are saved under one name";
    const std::string told = to_string(saved.error());
    return told.find(R"("bias" would be "stage0.bias" of rank 0 and "stage1.bias" of rank 1)") == std::string::npos ? Wrong(told)
                                                                                                                    : std::nullopt;
  });
}

// A part of the keys.

struct Partial {
  gen::StateSpec common;  ///< of the loading job, without what some ranks lack
  std::vector<gen::StateSpec> of_rank;
  KeyFilter only;
  protocol::KeyReport expected;
  bool strict_fails = false;

  gen::StateSpec filled(const gen::StateSpec& spec, const std::set<std::string>& stored, bool filled) const {
    gen::StateSpec part = spec;
    const auto other = [&](const auto& named) { return (stored.contains(named.name) && only.admits(named.name)) != filled; };
    std::erase_if(part.tensors, other);
    std::erase_if(part.values, other);
    return part;
  }
};

Partial draw_partial(const gen::DrawnCase& drawn) {
  Draw draw(drawn.seed);
  Partial partial;
  partial.common = drawn.loaded;
  partial.common.tensors.push_back({"new.weight", DType::f32, {3}, ReplicatedLayout{}, 0});
  partial.common.values.push_back({"new.value", 3});
  const std::vector<std::string> stored = names_of(drawn.saved);
  std::set<std::string> dropped;  // of which no rank has a place
  for (const std::string& name : stored) {
    if (draw.one_in(4)) dropped.insert(name);
    if (draw.one_in(5)) partial.only.keys.insert(name);
  }
  const auto drop = [](gen::StateSpec& spec, const std::set<std::string>& names) {
    std::erase_if(spec.tensors, [&](const gen::TensorSpec& tensor) { return names.contains(tensor.name); });
    std::erase_if(spec.values, [&](const gen::ValueSpec& value) { return names.contains(value.name); });
  };
  drop(partial.common, dropped);
  if (draw.one_in(3)) partial.only.prefixes.insert(draw.one_in(2) ? "layers." : "n");
  if (draw.one_in(4)) partial.only.predicate = [](std::string_view name) { return name.ends_with("0") || name.ends_with("t"); };
  std::set<std::string> have, selected;
  for (int r = 0; r < drawn.loaded.world_size; ++r) {
    // Ranks hold different parts, as of a pipeline.
    std::set<std::string> lacks;
    for (const std::string& name : names_of(partial.common)) {
      if (draw.one_in(6)) lacks.insert(name);
    }
    gen::StateSpec spec = partial.common;
    drop(spec, lacks);
    for (const std::string& name : names_of(spec)) {
      have.insert(name);
      if (!partial.only.admits(name)) continue;
      selected.insert(name);
      if (std::ranges::find(stored, name) == stored.end()) partial.expected.missing.push_back(name);
    }
    partial.of_rank.push_back(std::move(spec));
  }
  for (const std::string& name : stored) {
    if (partial.only.admits(name) && !have.contains(name)) partial.expected.unexpected.push_back(name);
  }
  for (const std::string& key : partial.only.keys) {
    if (have.contains(key)) continue;
    partial.expected.unmatched.push_back(fmt::format("select key \"{}\"", key));
    partial.strict_fails = true;
  }
  for (const std::string& prefix : partial.only.prefixes) {
    if (std::ranges::none_of(have, [&](const std::string& name) { return name.starts_with(prefix); }))
      partial.expected.unmatched.push_back(fmt::format("select prefix \"{}\"", prefix));
  }
  for (auto* list : {&partial.expected.missing, &partial.expected.unexpected, &partial.expected.unmatched}) {
    std::ranges::sort(*list);
    list->erase(std::ranges::unique(*list).begin(), list->end());
  }
  partial.strict_fails |= !partial.expected.missing.empty();
  return partial;
}

std::string show(const protocol::KeyReport& report) {
  return fmt::format("missing [{}] unexpected [{}] unmatched [{}]", fmt::join(report.missing, ", "), fmt::join(report.unexpected, ", "),
                     fmt::join(report.unmatched, ", "));
}

/// One load of a part; `strict` refuses what the other way tells.
Wrong loads_a_part(World& world, const gen::DrawnCase& drawn, const Partial& partial, const gen::WholeValues& values, bool strict) {
  const std::vector<std::string> names = names_of(drawn.saved);
  const std::set<std::string> stored(names.begin(), names.end());
  const bool fails = strict && (partial.strict_fails || !partial.expected.unexpected.empty());
  return on_ranks(world, drawn.loaded.world_size, drawn.seed, drawn.load_coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    const gen::StateSpec& spec = partial.of_rank[static_cast<std::size_t>(rank.value)];
    gen::RankState state = make_destination(spec, rank);
    auto on_device = move_to_device(world, state, session.env());
    const auto loaded =
        protocol::load(session, state.dict, {.plan = {.strict = strict}, .only = partial.only, .all_of_checkpoint = strict});
    if (on_device) on_device->download();
    if (fails) {
      if (loaded) return "a strict load passes in spite of " + show(partial.expected);
      const std::string told = to_string(loaded.error());
      for (const std::string& key : partial.expected.missing) {
        if (told.find(fmt::format("\"{}\"", key)) == std::string::npos) return fmt::format("\"{}\" is missing and not told: {}", key, told);
      }
      return touched(state, spec, rank);
    }
    if (!loaded) return to_string(loaded.error());
    if (loaded->keys != partial.expected) return fmt::format("it tells {}, expected {}", show(loaded->keys), show(partial.expected));
    if (auto wrong = difference(state, partial.filled(spec, stored, true), rank, values)) return wrong;
    return touched(state, partial.filled(spec, stored, false), rank);
  });
}

Wrong parts_are_loaded(World& world, const gen::DrawnCase& drawn) {
  world.reset();
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  if (auto wrong = not_saved(save_job(world, drawn.saved, values, {.seed = drawn.seed, .coordinator = drawn.coordinator}))) return wrong;
  const Partial partial = draw_partial(drawn);
  if (!partial.only.all() && !partial.expected.missing.empty()) MARK("property.part_with_missing_keys");
  if (!partial.expected.unexpected.empty()) MARK("property.part_with_unexpected_keys");
  if (auto wrong = loads_a_part(world, drawn, partial, values, false)) return "not strict: " + *wrong;
  if (auto wrong = loads_a_part(world, drawn, partial, values, true)) return "strict: " + *wrong;
  return std::nullopt;
}

// No template.

/// The state as PyTorch would have it: {"layers": {0: {"weight": ...}}, "trainer": {0: ...}}.
Nested nested_state(StateDict& state) {
  Nested::Map layers, trainer;
  for (auto& [name, entry] : state.entries()) {
    const bool tensor = std::holds_alternative<TensorEntry>(entry);
    const std::size_t begin = name.find('.') + 1;
    std::int64_t number = 0;
    std::from_chars(name.data() + begin, name.data() + name.size(),
                    number);  // ranks share a thread, hence an errno, which stoll would write
    Nested leaf{std::move(entry)};
    if (tensor) {
      layers.items.push_back({number, Nested{Nested::Map{{{"weight", std::move(leaf)}}}}});
    } else {
      trainer.items.push_back({number, std::move(leaf)});
    }
  }
  return {Nested::Map{{{"layers", Nested{std::move(layers)}}, {"trainer", Nested{std::move(trainer)}}}}};
}

/// The layout each tensor gets in a load without a template: whole, as the loading job has it, or none.
std::optional<Layout> chosen_layout(const gen::DrawnCase& drawn, std::string_view key) {
  for (std::size_t i = 0; i < drawn.loaded.tensors.size(); ++i) {
    if (drawn.loaded.tensors[i].name != key) continue;
    const std::uint64_t choice = Draw(drawn.seed + i).below(4);
    if (choice == 0) return std::nullopt;
    return choice == 1 ? Layout(ReplicatedLayout{}) : drawn.loaded.tensors[i].layout;
  }
  return ReplicatedLayout{};
}

Wrong loads_new(World& world, const gen::DrawnCase& drawn, const gen::WholeValues& values) {
  gen::StateSpec expected = drawn.loaded;
  std::erase_if(expected.tensors, [&](const gen::TensorSpec& tensor) { return !chosen_layout(drawn, tensor.name); });
  for (gen::TensorSpec& tensor : expected.tensors) {
    tensor.layout = *chosen_layout(drawn, tensor.name);
    tensor.row_gap = 0;
  }
  return on_ranks(world, drawn.loaded.world_size, drawn.seed, drawn.load_coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    auto loaded =
        protocol::load_new(session, {.layout = [&](std::string_view key, DType, const Dims&) { return chosen_layout(drawn, key); }}, {});
    if (!loaded) return to_string(loaded.error());
    if (!loaded->made.structure) return "the nesting of the state is lost";
    gen::RankState state;
    state.dict = loaded->made.state;
    if (state.dict.entries().size() != expected.tensors.size() + expected.values.size())
      return fmt::format("{} entries, expected {}", state.dict.entries().size(), expected.tensors.size() + expected.values.size());
    for (const std::string& name : names_of(expected)) {
      if (!state.dict.find(name)) return fmt::format("no \"{}\"", name);
    }
    if (auto wrong = difference(state, expected, rank, values)) return wrong;
    const Result<Nested> tree = unflatten(std::move(loaded->made.state), *loaded->made.structure, Absent::leave_out);
    if (!tree) return fmt::format("{}", tree.error());
    for (const Nested::Item& part : std::get<Nested::Map>(tree->value).items) {
      for (const Nested::Item& item : std::get<Nested::Map>(part.value.value).items) {
        if (!std::holds_alternative<std::int64_t>(item.key)) return fmt::format("the key {} was a number", text(item.key));
      }
    }
    return std::nullopt;
  });
}

Wrong comes_without_a_template(World& world, const gen::DrawnCase& drawn) {
  world.reset();
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  auto wrong = on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) -> Wrong {
    gen::RankState state = make_state(drawn.saved, rank, values);
    Result<Flat> flat = flatten(nested_state(state.dict));
    if (!flat) return fmt::format("{}", flat.error());
    const auto saved = protocol::save(session, flat->state, {.step = Step{1}, .block_bytes = 64, .structure = flat->structure});
    return saved ? std::nullopt : Wrong(to_string(saved.error()));
  });
  if (wrong) return "save: " + *wrong;
  if (!drawn.saved.values.empty() && !drawn.saved.tensors.empty()) MARK("property.loaded_without_a_template");
  if (auto missing = loads_new(world, drawn, values)) return "load: " + *missing;
  return std::nullopt;
}

using Holds = Wrong (*)(World&, const gen::DrawnCase&);

Property property(std::string id, std::string invariants, std::string statement, std::vector<std::string> worlds, Holds holds,
                  std::vector<std::string> marks = {}, std::string_view why_not_elsewhere = {}) {
  const auto check = [holds](World& world, const gen::DrawOptions& options) {
    return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return holds(world, drawn); });
  };
  return {std::move(id), std::move(invariants), std::move(statement), std::move(worlds), check, std::move(marks), why_not_elsewhere};
}

}  // namespace

std::vector<Property> state_properties() {
  const auto nested = [](World&, const gen::DrawnCase& drawn) { return nested_comes_back(drawn); };
  return {
      property("rule-nested", "S4", "Nested state comes back exactly as it was, or the names that clash are told.", {"sim"}, nested,
               {"property.names_clashed"}, asks_nothing_of_a_world),
      property("key-map", "S4 A3", "What is saved under other names is there under them, and comes back by the same map.", in_host_memory(),
               names_are_given, {"property.renamed"}),
      needing(2, property("key-origins", "S4 A3", "Keys of different ranks that would get one name are refused, with both keys and ranks.",
                          in_host_memory(), origins_are_told)),
      property("partial-load", "S4 A3", "A load of some keys fills exactly those, and tells every other key the same on all ranks.",
               in_every_world(), parts_are_loaded, {"property.part_with_missing_keys", "property.part_with_unexpected_keys"}),
      property("load-new", "S4 S7", "A load without a template gives the saved tree, in any layout that is chosen for it.",
               in_every_world(), comes_without_a_template, {"property.loaded_without_a_template"}),
  };
}

}  // namespace holdfast::properties

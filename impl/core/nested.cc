#include "impl/core/nested.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "impl/core/encoding.h"
#include "impl/core/mutate.h"

namespace holdfast {
namespace {

using Node = Tree<std::optional<std::string>>;

constexpr std::string_view structure_tag = "nested 1\n";

/// A key as a part of an exact name: no dot or bracket of its own, never empty.
std::string escaped(std::string_view key) {
  if (key.empty()) return "\\e";
  std::string text;
  for (const char c : key) {
    if (c == '.' || c == '[' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

/// Where a walk through a tree is.
class Path {
 public:
  explicit Path(Naming naming) : naming_(naming) {}

  const std::string& name() const { return name_; }
  std::string text() const { return depth_ == 0 ? "the root" : text_; }
  std::size_t depth() const { return depth_; }

  /// Runs `body` one step further in.
  template <typename Body>
  auto into(const MapKey& key, Body body) {
    const std::size_t name_bytes = name_.size();
    const std::size_t text_bytes = text_.size();
    append(key);
    ++depth_;
    auto result = body();
    --depth_;
    name_.resize(name_bytes);
    text_.resize(text_bytes);
    return result;
  }
  template <typename Body>
  auto into(std::size_t position, Body body) {
    return into(MapKey(static_cast<std::int64_t>(position)), body);
  }

 private:
  void append(const MapKey& key) {
    const auto* word = std::get_if<std::string>(&key);
    const std::string number = word ? "" : fmt::format("{}", std::get<std::int64_t>(key));
    text_ += word ? fmt::format("[\"{}\"]", *word) : fmt::format("[{}]", number);
    if (naming_ == Naming::exact && !word) {
      name_ += fmt::format("[{}]", number);
      return;
    }
    if (depth_ > 0) name_ += '.';
    name_ += naming_ == Naming::exact ? escaped(*word) : word ? *word : number;
  }

  Naming naming_;
  std::string name_;
  std::string text_;
  std::size_t depth_ = 0;
};

/// Finds names that two leaves share.
class Names {
 public:
  /// False when another leaf has the name.
  bool take(const std::string& name, const Path& path) {
    const auto [first, added] = paths_.try_emplace(name, path.text());
    if (!added) clashes_.push_back(fmt::format("\"{}\" is the name of {} and of {}", name, first->second, path.text()));
    return added;
  }
  Status status(std::string_view doing) const {
    if (clashes_.empty()) return {};
    return fail(ErrorCode::invalid_argument, "{}: {}", doing, fmt::join(clashes_, "; "));
  }

 private:
  std::map<std::string, std::string> paths_;  ///< as text, by name
  std::vector<std::string> clashes_;
};

[[maybe_unused]] bool is_empty_map(const Node& node) {
  const auto* map = std::get_if<Node::Map>(&node.value);
  return map && map->items.empty();
}

class Flattening {
 public:
  explicit Flattening(Naming naming) : path_(naming) {}

  Result<Flat> run(Nested& root) {
    Flat flat;
    flat.structure.root = TRY(node(root));
    TRY(names_.status("flatten"));
    flat.state = std::move(state_);
    return flat;
  }

 private:
  Result<Node> node(Nested& tree) {
    if (path_.depth() > nesting_max)
      return fail(ErrorCode::invalid_argument, "flatten: {}: more than {} containers in each other", path_.text(), nesting_max);
    return std::visit([&](auto& value) { return visit(value); }, tree.value);
  }

  Result<Node> visit(StateDict::Entry& entry) {
    if (!names_.take(path_.name(), path_)) return Node{};
    if (auto* tensor = std::get_if<TensorEntry>(&entry)) {
      TRY(state_.add(path_.name(), std::move(*tensor)));
    } else {
      auto& bytes = std::get<BytesEntry>(entry);
      TRY(bytes.per_rank ? state_.add_rank_bytes(path_.name(), std::move(bytes.value), *bytes.per_rank)
                         : state_.add_bytes(path_.name(), std::move(bytes.value)));
    }
    return Node{};
  }

  Result<Node> visit(Nested::Map& map) {
    Node::Map out;
    std::set<MapKey> keys;
    for (Nested::Item& item : map.items) {
      if (!keys.insert(item.key).second) {
        const std::string twice = path_.into(item.key, [&] { return path_.text(); });
        return fail(ErrorCode::invalid_argument, "flatten: {} comes twice", twice);
      }
      Node child = TRY(path_.into(item.key, [&] { return node(item.value); }));
      if (MUTATE("nested.empty_maps_vanish", false, is_empty_map(child))) continue;
      out.items.push_back({item.key, std::move(child)});
    }
    return Node{std::move(out)};
  }

  Result<Node> visit(Nested::List& list) { return positions<Node::List>(list.items); }
  Result<Node> visit(Nested::Tuple& tuple) { return positions<Node::Tuple>(tuple.items); }

  template <typename Sequence>
  Result<Node> positions(std::vector<Nested>& items) {
    Sequence out;
    for (std::size_t i = 0; i < items.size(); ++i) out.items.push_back(TRY(path_.into(i, [&] { return node(items[i]); })));
    return Node{std::move(out)};
  }

  Path path_;
  Names names_;
  StateDict state_;
};

class Unflattening {
 public:
  Unflattening(StateDict state, Naming naming, Absent absent) : state_(std::move(state)), path_(naming), absent_(absent) {}

  Result<Nested> run(const Node& root) {
    std::optional<Nested> tree = TRY(node(root));
    if (!tree) tree = Nested{Nested::Map{}};
    if (!state_.entries().empty()) TRY(add_to_root(*tree));
    return *std::move(tree);
  }

 private:
  using Found = std::optional<Nested>;  ///< none: left out

  Result<Found> node(const Node& node) {
    return std::visit([&](const auto& value) { return visit(value); }, node.value);
  }

  Result<Found> visit(const std::optional<std::string>& leaf) {
    const std::string& name = leaf ? *leaf : path_.name();
    const auto found = state_.entries().find(name);
    if (found != state_.entries().end()) return Found(Nested{std::move(state_.entries().extract(found).mapped())});
    if (absent_ == Absent::leave_out) return Found();
    return fail(ErrorCode::not_found, "unflatten: {} is \"{}\", which the state dict does not hold", path_.text(), name);
  }

  Result<Found> visit(const Node::Map& map) {
    Nested::Map out;
    for (const Node::Item& item : map.items) {
      Found child = TRY(path_.into(item.key, [&] { return node(item.value); }));
      if (child) out.items.push_back({item.key, *std::move(child)});
    }
    if (out.items.empty() && !map.items.empty()) return Found();
    return Found(Nested{std::move(out)});
  }

  Result<Found> visit(const Node::List& list) { return positions<Nested::List>(list.items); }
  Result<Found> visit(const Node::Tuple& tuple) { return positions<Nested::Tuple>(tuple.items); }

  template <typename Sequence>
  Result<Found> positions(const std::vector<Node>& items) {
    Sequence out;
    for (std::size_t i = 0; i < items.size(); ++i) {
      Found child = TRY(path_.into(i, [&] { return node(items[i]); }));
      if (child) out.items.push_back(*std::move(child));
    }
    if (out.items.empty() && !items.empty()) return Found();
    if (out.items.size() == items.size()) return Found(Nested{std::move(out)});
    return fail(ErrorCode::invalid_argument, "unflatten: {}: {} of its {} positions are there; expected all of them or none", path_.text(),
                out.items.size(), items.size());
  }

  Status add_to_root(Nested& tree) {
    auto* map = std::get_if<Nested::Map>(&tree.value);
    std::set<MapKey> keys;
    if (map) std::ranges::transform(map->items, std::inserter(keys, keys.end()), &Nested::Item::key);
    for (auto& [name, entry] : state_.entries()) {
      if (!map) return fail(ErrorCode::invalid_argument, "unflatten: \"{}\" has no place: the root is no map", name);
      if (keys.contains(name)) return fail(ErrorCode::invalid_argument, "unflatten: \"{}\" has no place: the root has such a key", name);
      map->items.push_back({name, Nested{std::move(entry)}});
    }
    return {};
  }

  StateDict state_;
  Path path_;
  Absent absent_;
};

enum class Kind : std::uint8_t { leaf = 0, named_leaf = 1, map = 2, list = 3, tuple = 4 };

void put_key(Encoder& out, const MapKey& key) {
  if (const auto* word = std::get_if<std::string>(&key)) {
    out.u8(0);
    out.text(*word);
  } else if (MUTATE("nested.int_keys_become_text", true, false)) {
    out.u8(1);
    out.signed_varint(std::get<std::int64_t>(key));
  } else {
    out.u8(0);
    out.text(fmt::format("{}", std::get<std::int64_t>(key)));
  }
}

void put(Encoder& out, const Node& node) {
  const auto start = [&](Kind kind) { out.u8(static_cast<std::uint8_t>(kind)); };
  const auto sequence = [&](Kind kind, const std::vector<Node>& items) {
    start(kind);
    out.varint(items.size());
    for (const Node& item : items) put(out, item);
  };
  if (const auto* leaf = std::get_if<std::optional<std::string>>(&node.value)) {
    start(*leaf ? Kind::named_leaf : Kind::leaf);
    if (*leaf) out.text(**leaf);
  } else if (const auto* map = std::get_if<Node::Map>(&node.value)) {
    start(Kind::map);
    out.varint(map->items.size());
    for (const Node::Item& item : map->items) {
      put_key(out, item.key);
      put(out, item.value);
    }
  } else if (const auto* list = std::get_if<Node::List>(&node.value)) {
    sequence(Kind::list, list->items);
  } else {
    sequence(Kind::tuple, std::get<Node::Tuple>(node.value).items);
  }
}

Result<MapKey> take_key(Decoder& in) {
  const std::uint8_t kind = TRY(in.u8());
  if (kind == 0) return MapKey(TRY(in.text()));
  if (kind == 1) return MapKey(TRY(in.signed_varint()));
  return fail(ErrorCode::corrupt, "decode structure: kind {} of a key", kind);
}

Result<Node> take(Decoder& in, std::size_t depth);

template <typename Sequence>
Result<Node> take_positions(Decoder& in, std::size_t depth) {
  Sequence sequence;
  for (std::size_t left = TRY(in.count(1)); left > 0; --left) sequence.items.push_back(TRY(take(in, depth + 1)));
  return Node{std::move(sequence)};
}

Result<Node> take_map(Decoder& in, std::size_t depth) {
  Node::Map map;
  std::set<MapKey> keys;
  for (std::size_t left = TRY(in.count(3)); left > 0; --left) {
    MapKey key = TRY(take_key(in));
    if (!keys.insert(key).second) return fail(ErrorCode::corrupt, "decode structure: a key comes twice before offset {}", in.offset());
    Node value = TRY(take(in, depth + 1));
    map.items.push_back({std::move(key), std::move(value)});
  }
  return Node{std::move(map)};
}

Result<Node> take(Decoder& in, std::size_t depth) {
  if (depth > nesting_max) return fail(ErrorCode::corrupt, "decode structure: more than {} containers in each other", nesting_max);
  const std::uint8_t kind = TRY(in.u8());
  switch (static_cast<Kind>(kind)) {
    case Kind::leaf: return Node{};
    case Kind::named_leaf: return Node{std::optional<std::string>(TRY(in.text()))};
    case Kind::map: return take_map(in, depth);
    case Kind::list: return take_positions<Node::List>(in, depth);
    case Kind::tuple: return take_positions<Node::Tuple>(in, depth);
  }
  return fail(ErrorCode::corrupt, "decode structure: kind {} of a node", kind);
}

std::string describe(const Node& node) {
  if (std::holds_alternative<Node::Map>(node.value)) return "a map";
  if (const auto* list = std::get_if<Node::List>(&node.value)) return fmt::format("a list of {}", list->items.size());
  if (const auto* tuple = std::get_if<Node::Tuple>(&node.value)) return fmt::format("a tuple of {}", tuple->items.size());
  return "a leaf";
}

class Merging {
 public:
  explicit Merging(Naming naming) : path_(naming) {}

  Status merge(Node& into, const Node& other) {
    // Containers of positions must have equally many of them: only maps grow.
    const bool maps = std::holds_alternative<Node::Map>(into.value) && std::holds_alternative<Node::Map>(other.value);
    if (!maps && describe(into) != describe(other))
      return fail(ErrorCode::invalid_argument, "merge nested states: {} is {} in one and {} in the other", path_.text(), describe(into),
                  describe(other));
    if (maps) return merge_maps(std::get<Node::Map>(into.value), std::get<Node::Map>(other.value));
    if (auto* list = std::get_if<Node::List>(&into.value)) return merge_positions(list->items, std::get<Node::List>(other.value).items);
    if (auto* tuple = std::get_if<Node::Tuple>(&into.value)) return merge_positions(tuple->items, std::get<Node::Tuple>(other.value).items);
    return merge_leaves(std::get<0>(into.value), std::get<0>(other.value));
  }

 private:
  Status merge_leaves(const std::optional<std::string>& into, const std::optional<std::string>& other) {
    const std::string& here = into ? *into : path_.name();
    const std::string& there = other ? *other : path_.name();
    if (here == there) return {};
    return fail(ErrorCode::invalid_argument, "merge nested states: {} is called \"{}\" in one and \"{}\" in the other", path_.text(), here,
                there);
  }

  Status merge_maps(Node::Map& into, const Node::Map& other) {
    std::map<MapKey, std::size_t> at;
    for (std::size_t i = 0; i < into.items.size(); ++i) at.emplace(into.items[i].key, i);
    for (const Node::Item& item : other.items) {
      const auto found = at.find(item.key);
      if (found == at.end()) {
        into.items.push_back(item);
      } else {
        TRY(path_.into(item.key, [&] { return merge(into.items[found->second].value, item.value); }));
      }
    }
    return {};
  }

  Status merge_positions(std::vector<Node>& into, const std::vector<Node>& other) {
    for (std::size_t i = 0; i < into.size(); ++i) TRY(path_.into(i, [&] { return merge(into[i], other[i]); }));
    return {};
  }

  Path path_;
};

/// Calls visit(leaf, path) for every leaf.
template <typename Visit>
void for_each_leaf(Node& node, Path& path, const Visit& visit) {
  const auto inner = [&](const auto& key, Node& child) {
    path.into(key, [&] {
      for_each_leaf(child, path, visit);
      return true;
    });
  };
  const auto positions = [&](std::vector<Node>& items) {
    for (std::size_t i = 0; i < items.size(); ++i) inner(i, items[i]);
  };
  if (auto* leaf = std::get_if<0>(&node.value)) visit(*leaf, path);
  if (auto* list = std::get_if<Node::List>(&node.value)) positions(list->items);
  if (auto* tuple = std::get_if<Node::Tuple>(&node.value)) positions(tuple->items);
  if (auto* map = std::get_if<Node::Map>(&node.value)) {
    for (Node::Item& item : map->items) inner(item.key, item.value);
  }
}

}  // namespace

Result<Flat> flatten(Nested root, Naming naming) {
  Flat flat = TRY(Flattening(naming).run(root));
  flat.structure.naming = naming;
  return flat;
}

Result<Nested> unflatten(StateDict state, const Structure& structure, Absent absent) {
  return Unflattening(std::move(state), structure.naming, absent).run(structure.root);
}

Bytes encode(const Structure& structure) {
  Encoder out;
  out.raw(as_bytes(structure_tag));
  out.u8(static_cast<std::uint8_t>(structure.naming));
  put(out, structure.root);
  return out.take();
}

bool is_structure(ByteView bytes) { return as_text(bytes).starts_with(structure_tag); }

Result<Structure> decode_structure(ByteView bytes) {
  if (!is_structure(bytes)) return fail(ErrorCode::corrupt, "decode structure: {} bytes that do not begin as one", bytes.size());
  Decoder in(bytes.subspan(structure_tag.size()), "structure");
  Structure structure;
  const std::uint8_t naming = TRY(in.u8());
  if (naming != static_cast<std::uint8_t>(Naming::dotted) && naming != static_cast<std::uint8_t>(Naming::exact))
    return fail(ErrorCode::corrupt, "decode structure: naming {}", naming);
  structure.naming = static_cast<Naming>(naming);
  structure.root = TRY(take(in, 0));
  TRY(in.finish());
  return structure;
}

Status merge(Structure& into, const Structure& other) {
  if (into.naming != other.naming)
    return fail(ErrorCode::invalid_argument, "merge nested states: their entries are named by different rules");
  TRY(Merging(into.naming).merge(into.root, other.root));
  Names names;
  Path path(into.naming);
  for_each_leaf(into.root, path, [&](const std::optional<std::string>& leaf, const Path& at) { names.take(leaf ? *leaf : at.name(), at); });
  return names.status("merge nested states");
}

void rename_entries(Structure& structure, const std::function<std::string(std::string_view)>& name) {
  Path path(structure.naming);
  for_each_leaf(structure.root, path, [&](std::optional<std::string>& leaf, const Path& at) {
    std::string renamed = name(leaf ? *leaf : at.name());
    leaf = renamed == at.name() ? std::nullopt : std::optional(std::move(renamed));
  });
}

}  // namespace holdfast

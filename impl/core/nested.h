// Nested state: maps, lists and tuples of tensors and byte values, made flat for a state dict and nested again exactly as it was.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/error.h"
#include "impl/core/state_dict.h"

namespace holdfast {

/// A key of a map. 0 and "0" are two keys.
using MapKey = std::variant<std::string, std::int64_t>;

/// A leaf, or a container of trees. Containers may be empty; the items of a map keep their order, and no key comes twice.
template <typename Leaf>
struct Tree {
  struct Item;
  struct Map {
    std::vector<Item> items;
    bool operator==(const Map&) const = default;
  };
  struct List {
    std::vector<Tree> items;
    bool operator==(const List&) const = default;
  };
  struct Tuple {
    std::vector<Tree> items;
    bool operator==(const Tuple&) const = default;
  };
  std::variant<Leaf, Map, List, Tuple> value;
  bool operator==(const Tree&) const = default;
};

template <typename Leaf>
struct Tree<Leaf>::Item {
  MapKey key;
  Tree value;
  bool operator==(const Item&) const = default;
};

using Nested = Tree<StateDict::Entry>;

/// How a path becomes the name of an entry.
enum class Naming : std::uint8_t {
  dotted = 1,  ///< PyTorch DCP's: keys and positions joined by dots, "state.0.step". Two paths may have the same name: that is refused.
  exact = 2,   ///< no two paths do: integer keys and positions in brackets, "state[0].step"; a dot, a bracket, a backslash in a key escaped
};

/// What a flat state was before: the containers and their keys. A leaf is the name of its entry; none: the name that its path gives.
struct Structure {
  Naming naming = Naming::dotted;
  Tree<std::optional<std::string>> root;
  bool operator==(const Structure&) const = default;
};

inline constexpr std::size_t nesting_max = 64;  ///< containers in each other

struct Flat {
  StateDict state;
  Structure structure;
};
/// Errors: invalid_argument naming both paths of every name that two leaves share, or a key that comes twice, or nesting beyond nesting_max; as
/// StateDict::add for a leaf that it does not take.
Result<Flat> flatten(Nested root, Naming naming = Naming::dotted);

/// What becomes of a leaf whose entry is not there, as after a load of some keys.
enum class Absent : std::uint8_t {
  refuse,
  leave_out,  ///< its item goes from the map; a container that loses everything goes as well. A list cannot lose only some of its positions.
};
/// The tree that was made flat, with the entries that `state` has now. Entries that the structure does not name become items of the root map.
/// Errors: not_found for an absent entry; invalid_argument when an item finds no place.
Result<Nested> unflatten(StateDict state, const Structure& structure, Absent absent = Absent::refuse);

/// As it is stored in a checkpoint. Decoding is total: corrupt for any bytes that encode() does not write.
Bytes encode(const Structure& structure);
Result<Structure> decode_structure(ByteView bytes);
/// Whether encode() of a structure wrote this; a planner of one's own may have put something else in its place.
bool is_structure(ByteView bytes);

/// Adds what only `other` has, as ranks of a pipeline hold different parts of one tree.
/// Errors: invalid_argument naming the path where the two contradict each other, or two paths with the same name.
Status merge(Structure& into, const Structure& other);

/// Gives every entry the name that `name` makes of its present one.
void rename_entries(Structure& structure, const std::function<std::string(std::string_view)>& name);

}  // namespace holdfast

// What sharding means, said so naively that it can be believed: to reshard, gather the whole tensor and cut it again.
// Everything loops over elements. Nothing here is shared with impl/plan but the values of impl/core.
#pragma once

#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/dtype.h"
#include "impl/core/layout.h"
#include "impl/core/state_dict.h"

namespace holdfast::model {

/// A whole tensor, row-major without gaps.
struct GlobalTensor {
  DType dtype = DType::f32;
  Dims shape;
  Bytes bytes;
  bool operator==(const GlobalTensor&) const = default;
};

/// What a job's state is, whoever holds which part of it: tensors and byte values by key.
using GlobalState = std::map<std::string, std::variant<GlobalTensor, Bytes>>;

/// How each tensor is cut; a tensor without a layout is plain, whole on every rank.
using Layouts = std::map<std::string, Layout>;

struct LocalBox {
  Box box;
  Bytes bytes;
  bool operator==(const LocalBox&) const = default;
};
struct LocalTensor {
  DType dtype = DType::f32;
  Dims shape;  ///< of the whole tensor
  bool sharded = false;
  std::vector<LocalBox> boxes;
  bool operator==(const LocalTensor&) const = default;
};
/// What one rank holds.
using LocalState = std::map<std::string, std::variant<LocalTensor, Bytes>>;

/// Whether a layout names its boxes; a rule over a mesh or flat ranges says which elements a rank holds (held_elements.h), not in which boxes.
bool has_boxes(const Layout& layout);
/// The boxes of `rank`, found by asking for each coordinate in turn to which chunk it belongs.
/// Requires a layout that fits the shape and has boxes.
std::vector<Box> boxes_of(const Layout& layout, const Dims& shape, Rank rank);

/// The elements of `box`, row-major.
Bytes cut(const GlobalTensor& tensor, const Box& box);
/// What `rank` holds of `state`.
LocalState cut(const GlobalState& state, const Layouts& layouts, Rank rank);

/// The whole again. Errors: invalid_argument when an element is held by nobody, or two ranks hold different values for one thing.
Result<GlobalState> gather(std::span<const LocalState> ranks);

/// What `rank` must hold after loading under `layouts` what `saved` held: cut after gather.
Result<LocalState> reshard(std::span<const LocalState> saved, const Layouts& layouts, Rank rank);

/// A state dict over the memory of `local`, which must outlive it and keep its place. Byte values are copied.
Result<StateDict> state_dict_over(LocalState& local);

/// Equal keys, kinds, dtypes and shapes, but every element and byte different: what a load must replace altogether.
LocalState inverted(LocalState local);

}  // namespace holdfast::model

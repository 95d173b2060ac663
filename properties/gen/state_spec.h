// A job's state as a small value: tensors with layouts, and byte values. From it every rank's memory is made, filled by a rule, and compared.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "impl/core/dtype.h"
#include "impl/core/layout.h"
#include "impl/core/state_dict.h"

namespace holdfast::properties::gen {

struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  Dims shape;
  Layout layout;
  std::int64_t row_gap =
      0;  ///< unused elements after each innermost row of a box in memory of its own; 0: packed, as the layout joins the boxes
  bool operator==(const TensorSpec&) const = default;
};

struct ValueSpec {
  std::string name;
  std::uint32_t bytes = 0;
  bool operator==(const ValueSpec&) const = default;
};

/// What all ranks of a job hold. Byte values are on every rank.
struct StateSpec {
  int world_size = 1;
  std::vector<TensorSpec> tensors;
  std::vector<ValueSpec> values;
  bool operator==(const StateSpec&) const = default;
};

std::string show(const StateSpec& spec);  ///< one line a tensor
std::uint64_t logical_bytes(const StateSpec& spec);

/// The whole tensors (row-major, packed) and values of one version of the state. Different versions differ in nearly every element.
struct WholeValues {
  std::map<std::string, Bytes> tensors;
  std::map<std::string, Bytes> values;
};
WholeValues make_values(const StateSpec& spec, std::uint64_t version);

/// One rank's state dict and the memory behind it. Movable; the memory stays where it is.
struct RankState {
  StateDict dict;
  std::vector<Bytes> memory;
  std::map<std::string, std::vector<std::size_t>> memory_of;  ///< by tensor: the number of each shard's memory
};

/// The rank's part of `values`. Gaps between rows hold a pattern.
RankState make_state(const StateSpec& spec, Rank rank, const WholeValues& values);
/// Where to load into: every byte poisoned, byte values empty.
RankState make_destination(const StateSpec& spec, Rank rank);
/// Nothing when the rank holds exactly its part of `expected` and every gap is as make_* left it; else what differs first.
std::optional<std::string> difference(const RankState& state, const StateSpec& spec, Rank rank, const WholeValues& expected);
/// Nothing when the rank's state is exactly as make_destination made it.
std::optional<std::string> touched(const RankState& destination, const StateSpec& spec, Rank rank);

}  // namespace holdfast::properties::gen

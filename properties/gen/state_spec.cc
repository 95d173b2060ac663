#include "properties/gen/state_spec.h"

#include <algorithm>
#include <cstring>

#include "impl/core/check.h"

namespace holdfast::properties::gen {
namespace {

constexpr std::byte gap_pattern{0xA5};
constexpr std::byte poison{0xDB};

constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::uint64_t seed_of(std::string_view name, std::uint64_t version) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ mix(version + 1);
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mix(hash);
}

Bytes filled(std::string_view name, std::uint64_t version, std::size_t bytes) {
  Bytes out(bytes);
  const std::uint64_t seed = seed_of(name, version);
  for (std::size_t at = 0; at < bytes; at += 8) {
    const std::uint64_t word = mix(seed + at * 0x9e3779b97f4a7c15u);
    std::memcpy(out.data() + at, &word, std::min<std::size_t>(8, bytes - at));
  }
  return out;
}

/// The memory of one box: rows of box.size.back() elements, each followed by row_gap unused ones.
StridedBlock gapped_block(std::byte* data, const Dims& sizes, std::uint32_t element_bytes, std::int64_t row_gap) {
  Dims padded = sizes;
  if (!padded.empty()) padded.back() += row_gap;
  StridedBlock block = packed_block(data, padded, element_bytes);
  block.sizes = sizes;
  return block;
}

std::size_t gapped_bytes(const Dims& sizes, std::uint32_t element_bytes, std::int64_t row_gap) {
  Dims padded = sizes;
  if (!padded.empty()) padded.back() += row_gap;
  return static_cast<std::size_t>(volume({padded.data(), padded.size()})) * element_bytes;
}

StridedBlock whole_box(const Bytes& whole, const TensorSpec& tensor, const Box& box) {
  // Read only: StridedBlock has no const form.
  const StridedBlock all = packed_block(const_cast<std::byte*>(whole.data()), tensor.shape, size_bytes(tensor.dtype));
  return narrow(all, box.offset, box.size);
}

void fill_elements(const StridedBlock& block, std::byte fill) {
  for_each_run(block, [&](std::int64_t offset, std::int64_t elements) {
    std::memset(block.data + offset, std::to_integer<int>(fill), static_cast<std::size_t>(elements) * block.element_bytes);
  });
}

/// Each box in memory of its own, with gaps.
TensorEntry apart(const TensorSpec& tensor, const std::vector<Box>& boxes, RankState& state) {
  TensorEntry entry{tensor.dtype, tensor.shape, !std::holds_alternative<ReplicatedLayout>(tensor.layout), {}};
  if (const auto* rule = std::get_if<MeshLayout>(&tensor.layout)) entry.rule = *rule;
  const std::uint32_t element_bytes = size_bytes(tensor.dtype);
  for (const Box& box : boxes) {
    state.memory_of[tensor.name].push_back(state.memory.size());
    state.memory.emplace_back(gapped_bytes(box.size, element_bytes, tensor.row_gap), gap_pattern);
    entry.shards.push_back({box, gapped_block(state.memory.back().data(), box.size, element_bytes, tensor.row_gap)});
  }
  return entry;
}

/// The rank's memory of one tensor, every byte the gap pattern, described in the state dict.
Status add_tensor(const TensorSpec& tensor, Rank rank, RankState& state) {
  const std::vector<Box> boxes = TRY(local_boxes(tensor.layout, tensor.shape, rank));
  if (tensor.row_gap > 0) return state.dict.add(tensor.name, apart(tensor, boxes, state));
  state.memory_of[tensor.name].assign(boxes.size(), state.memory.size());
  state.memory.emplace_back(TRY(local_bytes(tensor.dtype, tensor.shape, tensor.layout, rank)), gap_pattern);
  return state.dict.add(tensor.name, state.memory.back().data(), tensor.dtype, tensor.shape, tensor.layout, rank);
}

/// Lays out the rank's memory, every gap the gap pattern and every element `element_fill`, and describes it in the state dict.
RankState lay_out(const StateSpec& spec, Rank rank, std::byte element_fill) {
  RankState state;
  for (const TensorSpec& tensor : spec.tensors) {
    const Status added = add_tensor(tensor, rank, state);
    CHECK(added.has_value(), "spec of \"{}\": {}", tensor.name, added.error());
    for (const LocalShard& shard : std::get<TensorEntry>(*state.dict.find(tensor.name)).shards) fill_elements(shard.memory, element_fill);
  }
  return state;
}

bool equal_elements(const StridedBlock& a, const Bytes& packed) {
  const std::byte* at = packed.data();
  bool equal = true;
  for_each_run(a, [&](std::int64_t offset, std::int64_t elements) {
    const auto bytes = static_cast<std::size_t>(elements) * a.element_bytes;
    equal &= std::memcmp(a.data + offset, at, bytes) == 0;
    at += bytes;
  });
  return equal;
}

/// Compares with what the rank should hold; `expected` null means untouched.
std::optional<std::string> compare(const RankState& state, const StateSpec& spec, Rank rank, const WholeValues* expected) {
  for (const TensorSpec& tensor : spec.tensors) {
    const auto& entry = std::get<TensorEntry>(*state.dict.find(tensor.name));
    for (const LocalShard& shard : entry.shards) {
      Bytes wanted(shard.memory.bytes(), poison);
      if (expected) {
        copy_block(whole_box(expected->tensors.at(tensor.name), tensor, shard.box),
                   packed_block(wanted.data(), shard.box.size, shard.memory.element_bytes));
      }
      if (!equal_elements(shard.memory, wanted)) {
        return fmt::format("rank {}: tensor \"{}\" box {} differs from the {}", rank, tensor.name, to_string(shard.box),
                           expected ? "saved values" : "untouched memory");
      }
      if (tensor.row_gap == 0) continue;
      const Bytes& memory = state.memory[state.memory_of.at(tensor.name)[static_cast<std::size_t>(&shard - entry.shards.data())]];
      if (std::ranges::count(memory, gap_pattern) < static_cast<std::ptrdiff_t>(memory.size() - shard.memory.bytes()))
        return fmt::format("rank {}: tensor \"{}\" box {}: memory between the rows was written", rank, tensor.name, to_string(shard.box));
    }
  }
  for (const ValueSpec& value : spec.values) {
    const Bytes& found = std::get<BytesEntry>(*state.dict.find(value.name)).value;
    if (found != (expected ? expected->values.at(value.name) : Bytes())) {
      return fmt::format("rank {}: value \"{}\" of {} bytes differs from the {}", rank, value.name, found.size(),
                         expected ? "saved one" : "untouched one");
    }
  }
  return std::nullopt;
}

}  // namespace

std::string show(const StateSpec& spec) {
  std::string text = fmt::format("{} ranks", spec.world_size);
  for (const TensorSpec& tensor : spec.tensors) {
    text += fmt::format("\n  \"{}\" {} {} {}", tensor.name, to_string(tensor.dtype), to_string({tensor.shape.data(), tensor.shape.size()}),
                        to_string(tensor.layout));
    if (tensor.row_gap) text += fmt::format(" row gap {}", tensor.row_gap);
  }
  for (const ValueSpec& value : spec.values) text += fmt::format("\n  \"{}\" {} bytes", value.name, value.bytes);
  return text;
}

std::uint64_t logical_bytes(const StateSpec& spec) {
  std::uint64_t bytes = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    bytes += static_cast<std::uint64_t>(volume({tensor.shape.data(), tensor.shape.size()})) * size_bytes(tensor.dtype);
  }
  for (const ValueSpec& value : spec.values) bytes += value.bytes;
  return bytes;
}

WholeValues make_values(const StateSpec& spec, std::uint64_t version) {
  WholeValues values;
  for (const TensorSpec& tensor : spec.tensors) {
    const auto bytes = static_cast<std::size_t>(volume({tensor.shape.data(), tensor.shape.size()})) * size_bytes(tensor.dtype);
    values.tensors.emplace(tensor.name, filled(tensor.name, version, bytes));
  }
  for (const ValueSpec& value : spec.values) values.values.emplace(value.name, filled(value.name, version, value.bytes));
  return values;
}

RankState make_state(const StateSpec& spec, Rank rank, const WholeValues& values) {
  RankState state = lay_out(spec, rank, poison);
  for (const TensorSpec& tensor : spec.tensors) {
    for (const LocalShard& shard : std::get<TensorEntry>(*state.dict.find(tensor.name)).shards) {
      copy_block(whole_box(values.tensors.at(tensor.name), tensor, shard.box), shard.memory);
    }
  }
  for (const ValueSpec& value : spec.values) {
    const Status added = state.dict.add_bytes(value.name, values.values.at(value.name));
    CHECK(added.has_value(), "{}", added.error());
  }
  return state;
}

RankState make_destination(const StateSpec& spec, Rank rank) {
  RankState state = lay_out(spec, rank, poison);
  for (const ValueSpec& value : spec.values) {
    const Status added = state.dict.add_bytes(value.name, {});
    CHECK(added.has_value(), "{}", added.error());
  }
  return state;
}

std::optional<std::string> difference(const RankState& state, const StateSpec& spec, Rank rank, const WholeValues& expected) {
  return compare(state, spec, rank, &expected);
}

std::optional<std::string> touched(const RankState& destination, const StateSpec& spec, Rank rank) {
  return compare(destination, spec, rank, nullptr);
}

}  // namespace holdfast::properties::gen

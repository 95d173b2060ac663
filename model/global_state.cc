#include "model/global_state.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::model {
namespace {

std::string text(const Dims& dims) { return to_string({dims.data(), dims.size()}); }

/// Calls visit(coordinate, number) for every element of a tensor of `shape`, row-major.
template <typename Visit>
void for_each_element(const Dims& shape, Visit&& visit) {
  const std::int64_t elements = volume({shape.data(), shape.size()});
  for (std::int64_t number = 0; number < elements; ++number) {
    Dims coordinate(shape.size(), 0);
    std::int64_t rest = number;
    for (std::size_t d = shape.size(); d-- > 0;) {
      coordinate[d] = rest % shape[d];
      rest /= shape[d];
    }
    visit(coordinate, static_cast<std::size_t>(number));
  }
}

bool holds(const Box& box, const Dims& coordinate) {
  for (std::size_t d = 0; d < coordinate.size(); ++d) {
    if (coordinate[d] < box.offset[d] || coordinate[d] >= box.offset[d] + box.size[d]) return false;
  }
  return true;
}

LocalTensor cut_tensor(const GlobalTensor& tensor, const Layout* layout, Rank rank) {
  LocalTensor local{tensor.dtype, tensor.shape, layout && !std::holds_alternative<ReplicatedLayout>(*layout), {}};
  for (Box& box : boxes_of(layout ? *layout : Layout{ReplicatedLayout{}}, tensor.shape, rank)) {
    Bytes bytes = cut(tensor, box);
    local.boxes.push_back({std::move(box), std::move(bytes)});
  }
  return local;
}

/// Puts the local boxes into the whole tensor, noting what has been seen.
Status put_boxes(const std::string& key, const LocalTensor& local, GlobalTensor& whole_tensor, std::vector<bool>& seen) {
  if (local.dtype != whole_tensor.dtype || local.shape != whole_tensor.shape) {
    return fail(ErrorCode::invalid_argument, "gather \"{}\": ranks differ in dtype or shape", key);
  }
  const std::size_t element_bytes = size_bytes(local.dtype);
  for (const LocalBox& part : local.boxes) {
    std::size_t at = 0;
    Status status;
    for_each_element(whole_tensor.shape, [&](const Dims& coordinate, std::size_t number) {
      if (!holds(part.box, coordinate)) return;
      const auto from = part.bytes.begin() + static_cast<std::ptrdiff_t>(at);
      const auto to = whole_tensor.bytes.begin() + static_cast<std::ptrdiff_t>(number * element_bytes);
      if (seen[number] && !std::equal(from, from + static_cast<std::ptrdiff_t>(element_bytes), to)) {
        status = fail(ErrorCode::invalid_argument, "gather \"{}\": two values for element {}", key, text(coordinate));
      }
      std::copy_n(from, element_bytes, to);
      seen[number] = true;
      at += element_bytes;
    });
    TRY(std::move(status));
  }
  return {};
}

Result<GlobalTensor> gather_tensor(const std::string& key, std::span<const LocalState> ranks, const LocalTensor& first) {
  const auto elements = static_cast<std::size_t>(whole(first.shape).volume());
  GlobalTensor tensor{first.dtype, first.shape, Bytes(elements * size_bytes(first.dtype))};
  std::vector<bool> seen(elements, false);
  for (const LocalState& rank : ranks) {
    const auto entry = rank.find(key);
    if (entry == rank.end()) continue;
    const auto* local = std::get_if<LocalTensor>(&entry->second);
    if (!local) return fail(ErrorCode::invalid_argument, "gather \"{}\": a tensor on one rank, a byte value on another", key);
    TRY(put_boxes(key, *local, tensor, seen));
  }
  if (std::ranges::find(seen, false) != seen.end()) {
    return fail(ErrorCode::invalid_argument, "gather \"{}\": an element is held by nobody", key);
  }
  return tensor;
}

Result<Bytes> gather_bytes(const std::string& key, std::span<const LocalState> ranks, const Bytes& first) {
  for (const LocalState& rank : ranks) {
    const auto entry = rank.find(key);
    if (entry == rank.end()) continue;
    const auto* value = std::get_if<Bytes>(&entry->second);
    if (!value || *value != first) return fail(ErrorCode::invalid_argument, "gather \"{}\": ranks hold different values", key);
  }
  return first;
}

void invert(Bytes& bytes) {
  for (std::byte& byte : bytes) byte = ~byte;
}

}  // namespace

bool has_boxes(const Layout& layout) { return !std::holds_alternative<MeshLayout>(layout) && !std::holds_alternative<FlatLayout>(layout); }

std::vector<Box> boxes_of(const Layout& layout, const Dims& shape, Rank rank) {
  if (const auto* listed = std::get_if<EnumerableLayout>(&layout)) {
    std::vector<Box> boxes;
    for (const EnumerableLayout::Part& part : listed->parts) {
      if (part.rank == rank) boxes.push_back(part.box);
    }
    return boxes;
  }
  CHECK(has_boxes(layout), "layout {} is a rule for elements, not for boxes (held_elements)", to_string(layout));
  const auto* chunked = std::get_if<ChunkLayout>(&layout);
  if (!chunked) return {Box{Dims(shape.size(), 0), shape}};
  const auto dim = static_cast<std::size_t>(chunked->dim);
  const auto chunks = static_cast<std::int64_t>(chunked->placements.size());
  CHECK(dim < shape.size() && chunks > 0, "layout {} does not fit shape {}", to_string(layout), text(shape));
  std::vector<Box> boxes;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    if (chunked->placements[static_cast<std::size_t>(chunk)] != rank) continue;
    std::int64_t first = shape[dim];  // where an empty chunk stands
    std::int64_t count = 0;
    for (std::int64_t coordinate = 0; coordinate < shape[dim]; ++coordinate) {
      const std::int64_t a_chunk = shape[dim] / chunks + (shape[dim] % chunks != 0 ? 1 : 0);
      if (coordinate / a_chunk != chunk) continue;
      first = std::min(first, coordinate);
      ++count;
    }
    Box box{Dims(shape.size(), 0), shape};
    box.offset[dim] = first;
    box.size[dim] = count;
    boxes.push_back(std::move(box));
  }
  return boxes;
}

Bytes cut(const GlobalTensor& tensor, const Box& box) {
  const std::size_t element_bytes = size_bytes(tensor.dtype);
  Bytes bytes;
  for_each_element(tensor.shape, [&](const Dims& coordinate, std::size_t number) {
    if (!holds(box, coordinate)) return;
    const auto from = tensor.bytes.begin() + static_cast<std::ptrdiff_t>(number * element_bytes);
    bytes.insert(bytes.end(), from, from + static_cast<std::ptrdiff_t>(element_bytes));
  });
  return bytes;
}

LocalState cut(const GlobalState& state, const Layouts& layouts, Rank rank) {
  LocalState local;
  for (const auto& [key, value] : state) {
    const auto layout = layouts.find(key);
    if (const auto* tensor = std::get_if<GlobalTensor>(&value)) {
      local[key] = cut_tensor(*tensor, layout == layouts.end() ? nullptr : &layout->second, rank);
    } else {
      local[key] = std::get<Bytes>(value);
    }
  }
  return local;
}

Result<GlobalState> gather(std::span<const LocalState> ranks) {
  GlobalState state;
  for (const LocalState& rank : ranks) {
    for (const auto& [key, value] : rank) {
      if (state.contains(key)) continue;
      if (const auto* tensor = std::get_if<LocalTensor>(&value)) {
        state[key] = TRY(gather_tensor(key, ranks, *tensor));
      } else {
        state[key] = TRY(gather_bytes(key, ranks, std::get<Bytes>(value)));
      }
    }
  }
  return state;
}

Result<LocalState> reshard(std::span<const LocalState> saved, const Layouts& layouts, Rank rank) {
  const GlobalState state = TRY(gather(saved));
  return cut(state, layouts, rank);
}

Result<StateDict> state_dict_over(LocalState& local) {
  StateDict state;
  for (auto& [key, value] : local) {
    if (const auto* bytes = std::get_if<Bytes>(&value)) {
      TRY(state.add_bytes(key, *bytes));
      continue;
    }
    auto& tensor = std::get<LocalTensor>(value);
    TensorEntry entry{tensor.dtype, tensor.shape, tensor.sharded, {}};
    for (LocalBox& part : tensor.boxes) {
      entry.shards.push_back({part.box, packed_block(part.bytes.data(), part.box.size, size_bytes(tensor.dtype))});
    }
    TRY(state.add(key, std::move(entry)));
  }
  return state;
}

LocalState inverted(LocalState local) {
  for (auto& [key, value] : local) {
    if (auto* bytes = std::get_if<Bytes>(&value)) {
      invert(*bytes);
      continue;
    }
    for (LocalBox& part : std::get<LocalTensor>(value).boxes) invert(part.bytes);
  }
  return local;
}

}  // namespace holdfast::model

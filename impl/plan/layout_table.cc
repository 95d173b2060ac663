#include "impl/plan/layout_table.h"

#include <algorithm>
#include <map>

namespace holdfast::plan {
namespace {

constexpr std::size_t interned_bytes_max = 64;
constexpr std::size_t shared_name_bytes_max = 255;

/// Values by the bytes they are sent as.
class InternedOut {
 public:
  void put(Encoder& out, Bytes value) {
    const auto known = numbers_.find(value);
    if (known != numbers_.end()) return out.varint(known->second);
    out.varint(0);
    out.raw(value);
    if (value.size() <= interned_bytes_max) numbers_.emplace(std::move(value), numbers_.size() + 1);
  }

 private:
  std::map<Bytes, std::uint64_t> numbers_;
};

template <typename T>
class InternedIn {
 public:
  explicit InternedIn(Result<T> (*take_value)(Decoder&)) : take_(take_value) {}

  Result<T> take(Decoder& in) {
    const std::uint64_t number = TRY(in.varint());
    if (number > values_.size()) return fail(ErrorCode::corrupt, "decode layouts: value {} of {}", number, values_.size());
    if (number > 0) return values_[number - 1];
    const std::size_t begin = in.offset();
    T value = TRY(take_(in));
    if (in.offset() - begin <= interned_bytes_max) values_.push_back(value);
    return value;
  }

 private:
  Result<T> (*take_)(Decoder&);
  std::vector<T> values_;
};

Bytes text_bytes(std::string_view text) {
  Encoder out;
  out.text(text);
  return out.take();
}

Result<std::string> take_text(Decoder& in) { return in.text(); }

template <typename Numbers>
void put_numbers(Encoder& out, const Numbers& numbers) {
  out.varint(numbers.size());
  for (const auto number : numbers) out.signed_varint(number);
}

template <typename Numbers>
Status take_numbers(Decoder& in, Numbers& numbers) {
  const std::size_t count = TRY(in.count(1));
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t value = TRY(in.signed_varint());
    if (!std::in_range<typename Numbers::value_type>(value)) return fail(ErrorCode::corrupt, "decode layouts: an axis {}", value);
    numbers.push_back(static_cast<typename Numbers::value_type>(value));
  }
  return {};
}

Bytes shape_bytes(const Dims& shape) {
  Encoder out;
  put_numbers(out, shape);
  return out.take();
}

Result<Dims> take_shape(Decoder& in) {
  Dims shape;
  TRY(take_numbers(in, shape));
  return shape;
}

void put_mesh(Encoder& out, const Mesh& mesh) {
  out.signed_varint(mesh.first);
  out.varint(mesh.axes.size());
  for (const MeshAxis& axis : mesh.axes) {
    out.signed_varint(axis.size);
    out.signed_varint(axis.stride);
  }
}

Result<Mesh> take_mesh(Decoder& in) {
  Mesh mesh;
  mesh.first = TRY(in.signed_varint());
  const std::size_t axes = TRY(in.count(2));
  for (std::size_t a = 0; a < axes; ++a) {
    MeshAxis axis;
    axis.size = TRY(in.signed_varint());
    axis.stride = TRY(in.signed_varint());
    mesh.axes.push_back(axis);
  }
  return mesh;
}

void put_placement(Encoder& out, const Placement& placement) {
  out.u8(static_cast<std::uint8_t>(placement.index()));
  if (const auto* shard = std::get_if<Shard>(&placement)) out.signed_varint(shard->dim);
  if (const auto* strided = std::get_if<StridedShard>(&placement)) {
    out.signed_varint(strided->dim);
    out.signed_varint(strided->split);
  }
  if (const auto* segments = std::get_if<Segments>(&placement)) {
    out.signed_varint(segments->dim);
    put_numbers(out, segments->lengths);
  }
}

Result<int> take_dim(Decoder& in) {
  const std::int64_t dim = TRY(in.signed_varint());
  if (!std::in_range<int>(dim)) return fail(ErrorCode::corrupt, "decode layouts: dimension {}", dim);
  return static_cast<int>(dim);
}

Result<Placement> take_placement(Decoder& in) {
  const std::uint8_t kind = TRY(in.u8());
  if (kind == 0) return Placement(Replicate{});
  if (kind > 3) return fail(ErrorCode::corrupt, "decode layouts: placement {}", kind);
  const int dim = TRY(take_dim(in));
  if (kind == 1) return Placement(Shard{dim});
  if (kind == 2) {
    const std::int64_t split = TRY(in.signed_varint());
    return Placement(StridedShard{dim, split});
  }
  Segments segments{dim, {}};
  TRY(take_numbers(in, segments.lengths));
  return Placement(std::move(segments));
}

/// What many tensors of a model have in common.
struct Kind {
  DType dtype = DType::u8;
  Mesh mesh;
  decltype(MeshLayout::placements) placements;
};

Bytes kind_bytes(const LayoutItem& item) {
  Encoder out;
  out.u8(static_cast<std::uint8_t>(item.dtype));
  put_mesh(out, item.layout.mesh);
  out.varint(item.layout.placements.size());
  for (const Placement& placement : item.layout.placements) put_placement(out, placement);
  return out.take();
}

Result<Kind> take_kind(Decoder& in) {
  Kind kind;
  const std::uint8_t code = TRY(in.u8());
  const auto dtype = dtype_from_code(code);
  if (!dtype) return fail(ErrorCode::corrupt, "decode layouts: dtype code {}", code);
  kind.dtype = *dtype;
  kind.mesh = TRY(take_mesh(in));
  const std::size_t placements = TRY(in.count(1));
  for (std::size_t i = 0; i < placements; ++i) kind.placements.push_back(TRY(take_placement(in)));
  return kind;
}

using Flat = std::optional<FlatCut>;

void put_flat(Encoder& out, const Flat& flat) {
  out.u8(!flat ? 0 : flat->inner_axes.empty() && flat->inner_unit == 1 ? 1 : 2);
  if (!flat) return;
  put_numbers(out, flat->axes);
  out.signed_varint(flat->offset);
  out.signed_varint(flat->run);
  out.signed_varint(flat->unit);
  if (flat->inner_axes.empty() && flat->inner_unit == 1) return;
  put_numbers(out, flat->inner_axes);
  out.signed_varint(flat->inner_unit);
}

Bytes flat_bytes(const Flat& flat) {
  Encoder out;
  put_flat(out, flat);
  return out.take();
}

Result<Flat> take_flat(Decoder& in) {
  const std::uint8_t form = TRY(in.u8());
  if (form > 2) return fail(ErrorCode::corrupt, "decode layouts: form {} of a flat cut", form);
  if (form == 0) return Flat();
  FlatCut flat;
  TRY(take_numbers(in, flat.axes));
  flat.offset = TRY(in.signed_varint());
  flat.run = TRY(in.signed_varint());
  flat.unit = TRY(in.signed_varint());
  if (form == 2) {
    TRY(take_numbers(in, flat.inner_axes));
    flat.inner_unit = TRY(in.signed_varint());
  }
  return Flat(std::move(flat));
}

std::size_t shared_prefix(std::string_view name, std::string_view previous) {
  const std::size_t limit = std::min({name.size(), previous.size(), shared_name_bytes_max});
  std::size_t shared = 0;
  while (shared < limit && name[shared] == previous[shared]) ++shared;
  return shared;
}

/// What became of one tensor.
enum class Fate : std::uint8_t { left_out = 0, same = 1, changed = 2 };
struct Change {
  Fate fate = Fate::same;
  Mesh mesh;
  Flat flat;
};

Bytes change_bytes(Fate fate, const MeshLayout* layout) {
  Encoder out;
  out.u8(static_cast<std::uint8_t>(fate));
  if (layout) put_mesh(out, layout->mesh);
  if (layout) put_flat(out, layout->flat);
  return out.take();
}

Result<Change> take_change(Decoder& in) {
  Change change;
  const std::uint8_t fate = TRY(in.u8());
  if (fate > static_cast<std::uint8_t>(Fate::changed)) return fail(ErrorCode::corrupt, "decode layouts: fate {} of a tensor", fate);
  change.fate = static_cast<Fate>(fate);
  if (change.fate != Fate::changed) return change;
  change.mesh = TRY(take_mesh(in));
  change.flat = TRY(take_flat(in));
  return change;
}

}  // namespace

Bytes encode_table(const std::vector<LayoutItem>& table) {
  Encoder out;
  InternedOut tails, kinds, shapes, flats;
  std::string_view previous;
  out.varint(table.size());
  for (const LayoutItem& item : table) {
    const std::size_t shared = shared_prefix(item.fqn, previous);
    out.u8(static_cast<std::uint8_t>(shared));
    tails.put(out, text_bytes(std::string_view(item.fqn).substr(shared)));
    kinds.put(out, kind_bytes(item));
    shapes.put(out, shape_bytes(item.shape));
    flats.put(out, flat_bytes(item.layout.flat));
    previous = item.fqn;
  }
  return out.take();
}

Result<std::vector<LayoutItem>> decode_table(ByteView bytes) {
  constexpr std::size_t item_bytes_min = 5;
  Decoder in(bytes, "layouts");
  InternedIn<std::string> tails(take_text);
  InternedIn<Kind> kinds(take_kind);
  InternedIn<Dims> shapes(take_shape);
  InternedIn<Flat> flats(take_flat);
  const std::size_t count = TRY(in.count(item_bytes_min));
  std::vector<LayoutItem> table;
  table.reserve(count);
  std::string_view previous;
  for (std::size_t i = 0; i < count; ++i) {
    LayoutItem& item = table.emplace_back();
    const std::size_t shared = TRY(in.u8());
    if (shared > previous.size()) return fail(ErrorCode::corrupt, "decode layouts: {} bytes kept of a name of {}", shared, previous.size());
    item.fqn = previous.substr(0, shared);
    item.fqn += TRY(tails.take(in));
    if (i > 0 && item.fqn <= previous) {
      return fail(ErrorCode::corrupt, "decode layouts: \"{}\" after \"{}\": not in name order", item.fqn, previous);
    }
    Kind kind = TRY(kinds.take(in));
    item.dtype = kind.dtype;
    item.layout.mesh = std::move(kind.mesh);
    item.layout.placements = std::move(kind.placements);
    item.shape = TRY(shapes.take(in));
    item.layout.flat = TRY(flats.take(in));
    previous = item.fqn;
  }
  TRY(in.finish());
  return table;
}

std::optional<Bytes> encode_changes(const std::vector<LayoutItem>& local, const std::vector<LayoutItem>& global) {
  Encoder out;
  InternedOut changes;
  std::size_t at = 0;
  for (const LayoutItem& item : local) {
    if (at == global.size() || global[at].fqn != item.fqn) {
      changes.put(out, change_bytes(Fate::left_out, nullptr));
      continue;
    }
    const LayoutItem& now = global[at++];
    if (now.dtype != item.dtype || now.shape != item.shape || now.layout.placements != item.layout.placements) return std::nullopt;
    const bool same = now.layout == item.layout;
    changes.put(out, change_bytes(same ? Fate::same : Fate::changed, same ? nullptr : &now.layout));
  }
  return at == global.size() ? std::optional(out.take()) : std::nullopt;
}

Result<std::vector<LayoutItem>> apply_changes(const std::vector<LayoutItem>& local, ByteView bytes) {
  Decoder in(bytes, "changed layouts");
  InternedIn<Change> changes(take_change);
  std::vector<LayoutItem> global;
  global.reserve(local.size());
  for (const LayoutItem& item : local) {
    Change change = TRY(changes.take(in));
    if (change.fate == Fate::left_out) continue;
    global.push_back(item);
    if (change.fate == Fate::same) continue;
    global.back().layout.mesh = std::move(change.mesh);
    global.back().layout.flat = std::move(change.flat);
  }
  TRY(in.finish());
  return global;
}

}  // namespace holdfast::plan

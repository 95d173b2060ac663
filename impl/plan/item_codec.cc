#include "impl/plan/item_codec.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

namespace holdfast::plan {
namespace {

/// Bits of the byte before an item, taken one after the other by writer and reader alike.
class FlagWriter {
 public:
  bool put(bool flag) {
    bits_ |= flag ? 1u << used_ : 0u;
    ++used_;
    return flag;
  }
  std::uint8_t byte() const { return static_cast<std::uint8_t>(bits_); }

 private:
  unsigned bits_ = 0;
  unsigned used_ = 0;
};

class FlagReader {
 public:
  explicit FlagReader(std::uint8_t byte) : bits_(byte) {}
  bool take() {
    const bool flag = bits_ & 1u;
    bits_ >>= 1;
    return flag;
  }

 private:
  unsigned bits_;
};

/// Longer names are sent in full each time: a short message must not unfold into unbounded memory.
constexpr std::size_t shared_name_bytes_max = 255;

bool repeats(const std::string& name, const std::string& previous) { return name == previous && name.size() <= shared_name_bytes_max; }

void put_name(Encoder& out, const std::string& name, const std::string& previous) {
  const std::size_t limit = std::min({name.size(), previous.size(), shared_name_bytes_max});
  const auto end = previous.begin() + static_cast<std::ptrdiff_t>(limit);
  const auto shared = static_cast<std::size_t>(std::mismatch(previous.begin(), end, name.begin()).first - previous.begin());
  out.u8(static_cast<std::uint8_t>(shared));
  out.text(std::string_view(name).substr(shared));
}

Result<std::string> take_name(Decoder& in, const std::string& previous) {
  const std::size_t shared = TRY(in.u8());
  if (shared > previous.size()) return fail(ErrorCode::corrupt, "decode plan: {} bytes kept of a name of {}", shared, previous.size());
  std::string name = previous.substr(0, shared);
  name += as_text(TRY(in.blob()));
  return name;
}

void put_numbers(Encoder& out, const Dims& dims) {
  for (const std::int64_t value : dims) out.varint(static_cast<std::uint64_t>(value));
}

Result<Dims> take_numbers(Decoder& in, std::size_t count) {
  Dims dims(count, 0);
  for (std::int64_t& value : dims) value = static_cast<std::int64_t>(TRY(in.varint()));
  return dims;
}

/// Several Dims; of one common length when `uniform`.
template <std::size_t N>
void put_dims(Encoder& out, bool uniform, const std::array<const Dims*, N>& all) {
  if (uniform) out.varint(all[0]->size());
  for (const Dims* dims : all) {
    if (!uniform) out.varint(dims->size());
    put_numbers(out, *dims);
  }
}

template <std::size_t N>
Status take_dims(Decoder& in, bool uniform, const std::array<Dims*, N>& all) {
  std::size_t count = uniform ? TRY(in.count(N)) : 0;
  for (Dims* dims : all) {
    if (!uniform) count = TRY(in.count(1));
    *dims = TRY(take_numbers(in, count));
  }
  return {};
}

Result<std::uint32_t> take_hint(Decoder& in) {
  const std::uint64_t hint = TRY(in.varint());
  if (hint > std::numeric_limits<std::uint32_t>::max()) return fail(ErrorCode::corrupt, "decode plan: a hint of {}", hint);
  return static_cast<std::uint32_t>(hint);
}

void put(Encoder& out, const WriteItem& item, const WriteItem& previous) {
  const bool tensor = item.type != WriteItemType::bytes;
  FlagWriter flags;
  flags.put(tensor);
  flags.put(item.type == WriteItemType::shard);
  const bool same_name = flags.put(repeats(item.index.fqn, previous.index.fqn));
  const bool has_hint = flags.put(item.index.hint.has_value());
  const bool own_offset = flags.put(item.index.offset && !(tensor && *item.index.offset == item.chunk.offset));
  flags.put(item.index.offset && !own_offset);
  const bool uniform = flags.put(tensor && item.chunk.offset.size() == item.shape.size() && item.chunk.size.size() == item.shape.size());
  const bool same_tensor =
      flags.put(uniform && previous.type != WriteItemType::bytes && item.dtype == previous.dtype && item.shape == previous.shape);
  out.u8(flags.byte());
  if (!same_name) put_name(out, item.index.fqn, previous.index.fqn);
  if (has_hint) out.varint(*item.index.hint);
  if (own_offset) put_dims<1>(out, false, {&*item.index.offset});
  if (!tensor) {
    out.varint(item.nbytes);
    out.u64(item.digest.low);
    out.u64(item.digest.high);
    return;
  }
  if (!same_tensor) {
    out.u8(static_cast<std::uint8_t>(item.dtype));
    put_dims<1>(out, false, {&item.shape});
  }
  if (uniform) {
    put_numbers(out, item.chunk.offset);
    put_numbers(out, item.chunk.size);
  } else {
    put_dims<2>(out, false, {&item.chunk.offset, &item.chunk.size});
  }
}

Status take_tensor(Decoder& in, WriteItem& item, const WriteItem& previous, bool same_tensor, bool uniform) {
  if (same_tensor) {
    item.dtype = previous.dtype;
    item.shape = previous.shape;
  } else {
    const std::uint8_t code = TRY(in.u8());
    const auto dtype = dtype_from_code(code);
    if (!dtype) return fail(ErrorCode::corrupt, "decode plan: dtype code {}", code);
    item.dtype = *dtype;
    TRY(take_dims<1>(in, false, {&item.shape}));
  }
  if (!uniform) return take_dims<2>(in, false, {&item.chunk.offset, &item.chunk.size});
  item.chunk.offset = TRY(take_numbers(in, item.shape.size()));
  item.chunk.size = TRY(take_numbers(in, item.shape.size()));
  return {};
}

Result<WriteItem> take_write_item(Decoder& in, const WriteItem& previous) {
  FlagReader flags(TRY(in.u8()));
  WriteItem item;
  const bool tensor = flags.take();
  const bool shard = flags.take();
  if (shard && !tensor) return fail(ErrorCode::corrupt, "decode plan: a shard of a byte value");
  item.type = shard ? WriteItemType::shard : tensor ? WriteItemType::tensor : WriteItemType::bytes;
  const bool same_name = flags.take();
  const bool has_hint = flags.take();
  const bool own_offset = flags.take();
  const bool chunk_offset = flags.take();
  const bool uniform = flags.take();
  const bool same_tensor = flags.take();
  if (same_tensor && !uniform) return fail(ErrorCode::corrupt, "decode plan: a repeated shape for a chunk of other dimensions");
  item.index.fqn = same_name ? previous.index.fqn : TRY(take_name(in, previous.index.fqn));
  if (has_hint) item.index.hint = TRY(take_hint(in));
  if (own_offset) TRY(take_dims<1>(in, false, {&item.index.offset.emplace()}));
  if (tensor) {
    TRY(take_tensor(in, item, previous, same_tensor, uniform));
  } else {
    item.nbytes = TRY(in.varint());
    item.digest.low = TRY(in.u64());
    item.digest.high = TRY(in.u64());
  }
  if (chunk_offset) item.index.offset = item.chunk.offset;
  return item;
}

void put(Encoder& out, const ReadItem& item, const ReadItem& previous) {
  const bool tensor = item.type == ReadItemType::tensor;
  const Dims none;
  const Dims& dest_at = item.dest_index.offset ? *item.dest_index.offset : none;
  const Dims& storage_at = item.storage_index.offset ? *item.storage_index.offset : none;
  FlagWriter flags;
  flags.put(tensor);
  const bool same_name = flags.put(repeats(item.dest_index.fqn, previous.dest_index.fqn));
  const bool one_name = flags.put(repeats(item.storage_index.fqn, item.dest_index.fqn));
  flags.put(item.dest_index.offset.has_value());
  const bool dest_hint = flags.put(item.dest_index.hint.has_value());
  flags.put(item.storage_index.offset.has_value());
  const bool storage_hint = flags.put(item.storage_index.hint.has_value());
  const std::array<const Dims*, 5> all = {&dest_at, &storage_at, &item.dest_offset, &item.storage_offset, &item.lengths};
  const bool uniform = flags.put(std::ranges::all_of(all, [&](const Dims* dims) { return dims->size() == item.lengths.size(); }));
  out.u8(flags.byte());
  if (!same_name) put_name(out, item.dest_index.fqn, previous.dest_index.fqn);
  if (!one_name) put_name(out, item.storage_index.fqn, item.dest_index.fqn);
  if (dest_hint) out.varint(*item.dest_index.hint);
  if (storage_hint) out.varint(*item.storage_index.hint);
  put_dims(out, uniform, all);
}

Result<ReadItem> take_read_item(Decoder& in, const ReadItem& previous) {
  FlagReader flags(TRY(in.u8()));
  ReadItem item;
  item.type = flags.take() ? ReadItemType::tensor : ReadItemType::bytes;
  const bool same_name = flags.take();
  const bool one_name = flags.take();
  const bool dest_at = flags.take();
  const bool dest_hint = flags.take();
  const bool storage_at = flags.take();
  const bool storage_hint = flags.take();
  const bool uniform = flags.take();
  item.dest_index.fqn = same_name ? previous.dest_index.fqn : TRY(take_name(in, previous.dest_index.fqn));
  item.storage_index.fqn = one_name ? item.dest_index.fqn : TRY(take_name(in, item.dest_index.fqn));
  if (dest_hint) item.dest_index.hint = TRY(take_hint(in));
  if (storage_hint) item.storage_index.hint = TRY(take_hint(in));
  item.dest_index.offset.emplace();
  item.storage_index.offset.emplace();
  TRY(take_dims<5>(in, uniform,
                   {&*item.dest_index.offset, &*item.storage_index.offset, &item.dest_offset, &item.storage_offset, &item.lengths}));
  if (!dest_at) item.dest_index.offset.reset();
  if (!storage_at) item.storage_index.offset.reset();
  return item;
}

void put(Encoder& out, const WriteResult& result, const WriteResult& previous) {
  FlagWriter flags;
  const bool same_name = flags.put(repeats(result.index.fqn, previous.index.fqn));
  const bool has_offset = flags.put(result.index.offset.has_value());
  const bool has_hint = flags.put(result.index.hint.has_value());
  out.u8(flags.byte());
  if (!same_name) put_name(out, result.index.fqn, previous.index.fqn);
  if (has_offset) put_dims<1>(out, false, {&*result.index.offset});
  if (has_hint) out.varint(*result.index.hint);
  out.varint(result.size_in_bytes);
  out.blob(result.storage_data);
}

Result<WriteResult> take_write_result(Decoder& in, const WriteResult& previous) {
  FlagReader flags(TRY(in.u8()));
  WriteResult result;
  const bool same_name = flags.take();
  const bool has_offset = flags.take();
  const bool has_hint = flags.take();
  result.index.fqn = same_name ? previous.index.fqn : TRY(take_name(in, previous.index.fqn));
  if (has_offset) TRY(take_dims<1>(in, false, {&result.index.offset.emplace()}));
  if (has_hint) result.index.hint = TRY(take_hint(in));
  result.size_in_bytes = TRY(in.varint());
  result.storage_data = to_bytes(TRY(in.blob()));
  return result;
}

template <typename Item>
void put_list(Encoder& out, std::span<const Item> items) {
  const Item nothing;
  out.varint(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) put(out, items[i], i ? items[i - 1] : nothing);
}

template <typename Item>
Result<std::vector<Item>> take_list(Decoder& in, Result<Item> (*take)(Decoder&, const Item&)) {
  constexpr std::size_t item_bytes_min = 2;
  const Item nothing;
  std::vector<Item> items;
  const std::size_t count = TRY(in.count(item_bytes_min));
  items.reserve(std::min(count, in.left() / 8));  // real items are longer than the shortest ones
  for (std::size_t i = 0; i < count; ++i) items.push_back(TRY(take(in, i ? items.back() : nothing)));
  return items;
}

}  // namespace

void put_items(Encoder& out, std::span<const WriteItem> items) { put_list(out, items); }
void put_items(Encoder& out, std::span<const ReadItem> items) { put_list(out, items); }
void put_items(Encoder& out, std::span<const WriteResult> items) { put_list(out, items); }

Result<std::vector<WriteItem>> take_write_items(Decoder& in) { return take_list<WriteItem>(in, take_write_item); }
Result<std::vector<ReadItem>> take_read_items(Decoder& in) { return take_list<ReadItem>(in, take_read_item); }
Result<std::vector<WriteResult>> take_write_results(Decoder& in) { return take_list<WriteResult>(in, take_write_result); }

}  // namespace holdfast::plan

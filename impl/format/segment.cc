#include "impl/format/segment.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "impl/core/check.h"
#include "impl/core/encoding.h"
#include "impl/core/mutate.h"
#include "impl/format/safetensors.h"

namespace holdfast::format {
namespace {

constexpr std::string_view segment_version = "2";
constexpr std::size_t digest_digits = 32;
constexpr std::uint64_t length_bytes = 8;

/// As safetensors stores it: complex128, which it does not have, as pairs of F64.
struct Stored {
  std::string_view dtype;
  Dims size;
  Dims offset;
};

Stored stored(const SegmentTensor& tensor) {
  Stored form{to_string(tensor.dtype), tensor.box.size, tensor.box.offset};
  if (tensor.dtype == DType::c128) {
    form.dtype = to_string(DType::f64);
    form.size.push_back(2);
    form.offset.push_back(0);
  }
  return form;
}

bool plain(std::string_view generation) {
  return generation.size() <= generation_bytes_max && std::ranges::all_of(generation, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  std::string_view("._-+:@/").find(c) != std::string_view::npos;
         });
}

void append(std::string& out, std::uint64_t value) {
  const fmt::format_int digits(value);
  out.append(digits.data(), digits.size());
}

void append(std::string& out, const Dims& dims, std::string_view separator) {
  out += '[';
  for (std::size_t d = 0; d < dims.size(); ++d) {
    if (d != 0) out += separator;
    append(out, static_cast<std::uint64_t>(dims[d]));
  }
  out += ']';
}

/// Lists of integers, one a tensor: "[[8,4],[3]]".
template <typename Get>
void append_lists(std::string& out, const SegmentLayout& layout, Get&& get) {
  out += '[';
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    if (i != 0) out += ',';
    append(out, get(layout.tensors[i]), ",");
  }
  out += ']';
}

std::string header_json(const SegmentLayout& layout, std::span<const BlockDigest> blocks, std::string_view generation) {
  std::string out;
  out.reserve(512 + 512 * layout.tensors.size() + digest_digits * blocks.size());
  out += R"({"__metadata__":{"DCP_SHARDING_INFO":"{)";
  const auto each = [&](auto&& write) {
    for (std::size_t i = 0; i < layout.tensors.size(); ++i) write(layout.tensors[i], i == 0 ? "" : ",");
  };
  each([&](const SegmentTensor& tensor, std::string_view comma) {
    // A JSON string within a JSON string, spaced as PyTorch writes it.
    out += comma.empty() ? R"(\")" : R"(, \")";
    out += json_escaped(json_escaped(tensor.name));
    out += R"(\": {\"saved_offsets\": )";
    append(out, stored(tensor).offset, ", ");
    out += '}';
  });
  out += fmt::format(R"(}}","DCP_VERSION":"1.0","format":"pt","holdfast":"{}","holdfast_block_bytes":"{}","holdfast_blocks":")",
                     segment_version, layout.block_bytes);
  for (const BlockDigest& digest : blocks) out += to_string(digest);
  out += R"(","holdfast_complex128":"[)";
  std::string_view separator;
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    if (layout.tensors[i].dtype != DType::c128) continue;
    fmt::format_to(std::back_inserter(out), "{}{}", separator, i);
    separator = ",";
  }
  out += fmt::format(R"(]","holdfast_generation":"{}","holdfast_offsets":")", generation);
  append_lists(out, layout, [](const SegmentTensor& tensor) -> const Dims& { return tensor.box.offset; });
  out += R"(","holdfast_shapes":")";
  append_lists(out, layout, [](const SegmentTensor& tensor) -> const Dims& { return tensor.shape; });
  out += R"("})";
  each([&](const SegmentTensor& tensor, std::string_view) {
    const Stored form = stored(tensor);
    out += R"(,")";
    out += json_escaped(tensor.name);
    out += R"(":{"dtype":")";
    out += form.dtype;
    out += R"(","shape":)";
    append(out, form.size, ",");
    out += R"(,"data_offsets":[)";
    append(out, tensor.offset);
    out += ',';
    append(out, tensor.offset + tensor.bytes);
    out += "]}";
  });
  out += '}';
  return out;
}

/// Room for `json_bytes` of JSON that was written with a generation of `generation_bytes`, had that been the longest one.
std::uint64_t room(std::uint64_t json_bytes, std::size_t generation_bytes) {
  const std::uint64_t needed = length_bytes + json_bytes - generation_bytes + generation_bytes_max;
  return (needed + segment_alignment - 1) / segment_alignment * segment_alignment;
}

Status check_names(const std::vector<SegmentTensor>& tensors) {
  std::vector<std::string_view> names;
  for (const SegmentTensor& tensor : tensors) {
    if (!is_utf8(tensor.name))
      return fail(ErrorCode::invalid_argument, "lay out segment: tensor name \"{}\" is not UTF-8", json_escaped(tensor.name));
    if (tensor.name == "__metadata__") return fail(ErrorCode::invalid_argument, "lay out segment: no tensor can be named \"__metadata__\"");
    names.push_back(tensor.name);
  }
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end()) {
    return fail(ErrorCode::invalid_argument, "lay out segment: tensor \"{}\" twice; a segment holds one box of a tensor", *twice);
  }
  return {};
}

constexpr std::uint64_t data_bytes_max = std::uint64_t{1} << 62;

/// Numbers the blocks of tensors that have their places.
void number_blocks(SegmentLayout& layout) {
  std::uint64_t blocks = 0;
  for (SegmentTensor& tensor : layout.tensors) {
    tensor.first_block = blocks;
    blocks += layout.blocks_of(tensor);
  }
}

/// Gives the tensors their places, one after the other.
Status place_tensors(SegmentLayout& layout) {
  if (layout.block_bytes == 0) return fail(ErrorCode::invalid_argument, "lay out segment: blocks of 0 bytes");
  TRY(check_names(layout.tensors));
  layout.data_bytes = 0;
  for (SegmentTensor& tensor : layout.tensors) {
    const auto elements = checked_volume({tensor.shape.data(), tensor.shape.size()});
    if (!elements) return fail(within(elements.error(), "lay out segment: tensor \"{}\"", tensor.name));
    if (!in_bounds(tensor.box, tensor.shape)) {
      return fail(ErrorCode::invalid_argument, "lay out segment: tensor \"{}\": box {} outside shape {}", tensor.name,
                  to_string(tensor.box), to_string({tensor.shape.data(), tensor.shape.size()}));
    }
    const auto boxed = static_cast<std::uint64_t>(tensor.box.volume());
    if (boxed > (data_bytes_max - layout.data_bytes) / size_bytes(tensor.dtype)) {
      return fail(ErrorCode::invalid_argument, "lay out segment: over 2^62 bytes with tensor \"{}\"", tensor.name);
    }
    tensor.offset = layout.data_bytes;
    tensor.bytes = boxed * size_bytes(tensor.dtype);
    layout.data_bytes += tensor.bytes;
  }
  number_blocks(layout);
  return {};
}

/// Reads "[[8,4],[3]]" or, with one level, "[2,7]". Lax: the caller compares what it means with what was written.
std::vector<Dims> int_lists(std::string_view text) {
  std::vector<Dims> lists;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '[') lists.emplace_back();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), value);
    if (error != std::errc()) continue;
    if (lists.empty()) lists.emplace_back();
    lists.back().push_back(value);
    i = static_cast<std::size_t>(end - text.data()) - 1;
  }
  return lists;
}

/// The metadata of ours in a header, by key; null when absent.
const std::string* ours(const SafetensorsHeader& header, std::string_view key) {
  const auto found = header.metadata.find(key);
  return found == header.metadata.end() ? nullptr : &found->second;
}

/// What the header says, as far as it can be read; whether it says it in the one right way is checked by writing it again.
std::optional<SegmentHeader> interpret(SafetensorsHeader&& header) {
  const std::string* block_bytes = ours(header, "holdfast_block_bytes");
  const std::string* blocks = ours(header, "holdfast_blocks");
  const std::string* complex128 = ours(header, "holdfast_complex128");
  const std::string* generation = ours(header, "holdfast_generation");
  const std::string* offsets = ours(header, "holdfast_offsets");
  const std::string* shapes = ours(header, "holdfast_shapes");
  if (!block_bytes || !blocks || !complex128 || !generation || !offsets || !shapes) return std::nullopt;
  SegmentHeader result{{{}, header.header_bytes, header.data_bytes, 0}, {}, *generation};
  std::from_chars(block_bytes->data(), block_bytes->data() + block_bytes->size(), result.layout.block_bytes);
  if (result.layout.block_bytes == 0 || !plain(*generation) || blocks->size() % digest_digits != 0) return std::nullopt;
  for (std::size_t i = 0; i < blocks->size(); i += digest_digits) {
    const auto digest = block_digest_from_string(std::string_view(*blocks).substr(i, digest_digits));
    if (!digest) return std::nullopt;
    result.blocks.push_back(*digest);
  }
  const std::vector<Dims> all_offsets = int_lists(*offsets);
  const std::vector<Dims> all_shapes = int_lists(*shapes);
  const std::vector<Dims> pairs = int_lists(*complex128);
  if (all_offsets.size() != header.tensors.size() || all_shapes.size() != header.tensors.size()) return std::nullopt;
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    SafetensorsTensor& from = header.tensors[i];
    const auto dtype = from.known_dtype();
    if (!dtype) return std::nullopt;
    SegmentTensor tensor{std::move(from.name), *dtype, all_shapes[i], {all_offsets[i], std::move(from.shape)}, from.begin,
                         from.end - from.begin};
    if (!pairs.empty() && std::ranges::binary_search(pairs[0], static_cast<std::int64_t>(i))) {
      if (tensor.box.size.empty() || tensor.box.size.back() != 2 || tensor.dtype != DType::f64) return std::nullopt;
      tensor.dtype = DType::c128;
      tensor.box.size.pop_back();
    }
    if (!checked_volume({tensor.shape.data(), tensor.shape.size()}) || !in_bounds(tensor.box, tensor.shape)) return std::nullopt;
    result.layout.tensors.push_back(std::move(tensor));
  }
  number_blocks(result.layout);
  if (result.blocks.size() != result.layout.block_count()) return std::nullopt;
  return result;
}

/// Walks over text that is as it was written, or anything else: then what it takes makes no sense, and the caller notices.
class Skimmer {
 public:
  explicit Skimmer(std::string_view text) : rest_(text) {}
  void skip_past(std::string_view mark) {
    const std::size_t at = rest_.find(mark);
    rest_ = at == std::string_view::npos ? std::string_view() : rest_.substr(at + mark.size());
  }
  bool take(std::string_view mark) {
    if (!rest_.starts_with(mark)) return false;
    rest_.remove_prefix(mark.size());
    return true;
  }
  std::string_view take_until(char end) {
    const std::string_view taken = rest_.substr(0, rest_.find(end));
    rest_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view rest_;
};

/// Takes a header that encode_segment_header wrote apart without parsing JSON, which costs several times as much. Of any other header it gives
/// something else or nothing; names that JSON escapes are not for it.
std::optional<SegmentHeader> skim(ByteView header) {
  SafetensorsHeader found;
  found.header_bytes = header.size();
  Skimmer in(as_text(header));
  for (const char* key :
       {"holdfast_block_bytes", "holdfast_blocks", "holdfast_complex128", "holdfast_generation", "holdfast_offsets", "holdfast_shapes"}) {
    in.skip_past(key);
    in.skip_past(R"(":")");
    found.metadata.emplace_hint(found.metadata.end(), key, in.take_until('"'));
  }
  in.skip_past("}");
  while (in.take(R"(,")")) {
    SafetensorsTensor tensor;
    tensor.name = in.take_until('"');
    in.skip_past(R"("dtype":")");
    tensor.dtype = in.take_until('"');
    in.skip_past(R"("shape":)");
    const std::vector<Dims> shape = int_lists(in.take_until(']'));
    if (!shape.empty()) tensor.shape = shape[0];
    in.skip_past(R"("data_offsets":)");
    const std::vector<Dims> range = int_lists(in.take_until(']'));
    if (range.size() != 1 || range[0].size() != 2) return std::nullopt;
    tensor.begin = static_cast<std::uint64_t>(range[0][0]);
    tensor.end = found.data_bytes = static_cast<std::uint64_t>(range[0][1]);
    in.skip_past("}");
    found.tensors.push_back(std::move(tensor));
  }
  return interpret(std::move(found));
}

/// Where the bytes after the length field first differ from what the header would be written as; none when they are that, padding included.
std::optional<std::size_t> first_difference(const SegmentHeader& header, ByteView bytes) {
  const std::string json = header_json(header.layout, header.blocks, header.generation);
  const std::string_view found = as_text(bytes.subspan(length_bytes));
  const bool same = found.starts_with(json) && room(json.size(), header.generation.size()) == bytes.size();
  const bool padded = MUTATE("format.padding_unchecked", same && found.find_first_not_of(' ', json.size()) == std::string_view::npos, true);
  if (same && padded) return std::nullopt;
  return static_cast<std::size_t>(std::ranges::mismatch(found, json).in1 - found.begin());
}

/// skim(), when what it gave is sound and would be written exactly so.
std::optional<SegmentHeader> decode_quickly(ByteView bytes) {
  const auto length = segment_header_bytes(bytes, {});
  if (!length || *length != bytes.size()) return std::nullopt;
  auto header = skim(bytes);
  // Placed anew, tensors that did not fill the data in order differ from what is written.
  if (!header || !place_tensors(header->layout) || header->blocks.size() != header->layout.block_count()) return std::nullopt;
  if (first_difference(*header, bytes)) return std::nullopt;
  return header;
}

}  // namespace

std::size_t SegmentLayout::blocks_of(const SegmentTensor& tensor) const {
  return static_cast<std::size_t>(tensor.bytes / block_bytes + (tensor.bytes % block_bytes != 0));
}

std::size_t SegmentLayout::block_count() const {
  return tensors.empty() ? 0 : static_cast<std::size_t>(tensors.back().first_block) + blocks_of(tensors.back());
}

SegmentBlock SegmentLayout::block(std::size_t number) const {
  // Empty tensors share the number of the next one's first block, and come before it.
  const auto after = std::ranges::upper_bound(tensors, number, {}, &SegmentTensor::first_block);
  CHECK(after != tensors.begin() && number < block_count(), "block {} of {}", number, block_count());
  const SegmentTensor& tensor = *std::prev(after);
  const std::uint64_t begin = (number - tensor.first_block) * block_bytes;
  return {static_cast<std::size_t>(std::prev(after) - tensors.begin()), tensor.offset + begin,
          std::min<std::uint64_t>(block_bytes, tensor.bytes - begin)};
}

Result<SegmentLayout> lay_out_segment(std::vector<SegmentTensor> tensors, std::uint32_t block_bytes) {
  SegmentLayout layout{std::move(tensors), 0, 0, block_bytes};
  TRY(place_tensors(layout));
  const std::uint64_t json_bytes_max = safetensors_header_bytes_max - segment_alignment;
  const std::uint64_t blocks_bytes =
      data_bytes_max / digest_digits < layout.block_count() ? data_bytes_max : layout.block_count() * digest_digits;
  const std::uint64_t json_bytes = header_json(layout, {}, "").size() + blocks_bytes;
  if (json_bytes > json_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                "lay out segment: a header of {} bytes for {} tensors and {} blocks; at most {} can be read back", json_bytes,
                layout.tensors.size(), layout.block_count(), json_bytes_max);
  }
  layout.header_bytes = room(json_bytes, 0);
  return layout;
}

Bytes encode_segment_header(const SegmentLayout& layout, std::span<const BlockDigest> blocks, std::string_view generation) {
  CHECK(blocks.size() == layout.block_count(), "{} digests for {} blocks", blocks.size(), layout.block_count());
  CHECK(plain(generation), "generation \"{}\"", generation);
  const std::string json = header_json(layout, blocks, generation);
  CHECK(room(json.size(), generation.size()) == layout.header_bytes, "a layout that lay_out_segment did not make");
  Encoder out;
  out.u64(layout.header_bytes - length_bytes);
  out.raw(as_bytes(json));
  Bytes bytes = out.take();
  bytes.resize(layout.header_bytes, std::byte{' '});
  return bytes;
}

Result<SegmentHeader> decode_segment_header(ByteView bytes, std::string_view path) {
  if (auto header = decode_quickly(bytes)) return *std::move(header);
  // Something is wrong with it, or JSON escapes a name.
  SafetensorsHeader safetensors = TRY(decode_safetensors_header(bytes, path));
  const std::string* version = ours(safetensors, "holdfast");
  if (!version)
    return fail(ErrorCode::corrupt, "\"{}\": a safetensors file, but no segment of a checkpoint: it has no key \"holdfast\"", path);
  if (*version != segment_version) {
    return fail(ErrorCode::unsupported, "\"{}\": segment format version \"{}\", this program reads version {}", path, *version,
                segment_version);
  }
  auto result = interpret(std::move(safetensors));
  if (!result) return fail(ErrorCode::corrupt, "\"{}\": the segment header's own entries (holdfast_*) do not fit its tensors", path);
  if (const auto difference = first_difference(*result, bytes)) {
    return fail(ErrorCode::corrupt, "\"{}\": the segment header is not as it was written: it differs from byte {} on", path,
                length_bytes + *difference);
  }
  return *std::move(result);
}

Result<std::uint64_t> segment_header_bytes(ByteView first_8_bytes, std::string_view path) {
  if (first_8_bytes.size() < length_bytes) {
    return fail(ErrorCode::corrupt, "\"{}\": {} bytes, too short for a safetensors file", path, first_8_bytes.size());
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) length |= std::to_integer<std::uint64_t>(first_8_bytes[i]) << (8 * i);
  if (length < 2 || length > safetensors_header_bytes_max) {
    return fail(ErrorCode::corrupt, "\"{}\": a header length of {} bytes, expected 2 to {}", path, length, safetensors_header_bytes_max);
  }
  return length_bytes + length;
}

}  // namespace holdfast::format

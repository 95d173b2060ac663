#include "impl/format/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "impl/format/flat_json.h"
#include "impl/format/segment.h"

namespace holdfast::format {
namespace {

constexpr std::string_view metadata_key = "__metadata__";
constexpr std::string_view sharding_key = "DCP_SHARDING_INFO";

/// Bits of one element; 0 for a dtype that safetensors does not have.
std::int64_t dtype_bits(std::string_view name) {
  struct Foreign {
    std::string_view name;
    std::int64_t bits;
  };
  constexpr std::array foreign = {Foreign{"F4", 4}, Foreign{"F6_E2M3", 6}, Foreign{"F6_E3M2", 6}};
  const auto found = std::ranges::find(foreign, name, &Foreign::name);
  if (found != foreign.end()) return found->bits;
  const auto dtype = dtype_from_string(name);
  return dtype && *dtype != DType::c128 ? std::int64_t{8} * size_bytes(*dtype) : 0;
}

Result<Dims> dims(const std::vector<std::uint64_t>& list, std::string_view tensor, std::string_view path) {
  Dims result;
  for (const std::uint64_t value : list) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return fail(ErrorCode::corrupt, "\"{}\": tensor \"{}\": {} is no size in elements", path, tensor, value);
    }
    result.push_back(static_cast<std::int64_t>(value));
  }
  return result;
}

Result<SafetensorsTensor> tensor_of(const FlatObject& object, std::string_view path) {
  const FlatField* dtype = object.find("dtype");
  const FlatField* shape = object.find("shape");
  const FlatField* offsets = object.find("data_offsets");
  if (object.fields.size() != 3 || !dtype || !shape || !offsets || dtype->is_list || !shape->is_list || offsets->list.size() != 2) {
    return fail(ErrorCode::corrupt, "\"{}\": tensor \"{}\": expected a dtype, a shape and two data_offsets", path, object.name);
  }
  SafetensorsTensor tensor{object.name, dtype->text, TRY(dims(shape->list, object.name, path)), offsets->list[0], offsets->list[1]};
  const std::int64_t bits = dtype_bits(tensor.dtype);
  if (bits == 0) return fail(ErrorCode::unsupported, "\"{}\": tensor \"{}\": unknown dtype \"{}\"", path, tensor.name, tensor.dtype);
  const auto elements = checked_volume({tensor.shape.data(), tensor.shape.size()});
  if (!elements || *elements > (std::int64_t{1} << 62) / bits) {
    return fail(ErrorCode::corrupt, "\"{}\": tensor \"{}\": the element count of shape {} overflows", path, tensor.name,
                to_string({tensor.shape.data(), tensor.shape.size()}));
  }
  const auto total_bits = static_cast<std::uint64_t>(*elements * bits);
  if (tensor.end < tensor.begin || total_bits % 8 != 0 || tensor.end - tensor.begin != total_bits / 8) {
    return fail(ErrorCode::corrupt, "\"{}\": tensor \"{}\": shape {} of {} needs {} bits, data_offsets are [{}, {})", path, tensor.name,
                to_string({tensor.shape.data(), tensor.shape.size()}), tensor.dtype, total_bits, tensor.begin, tensor.end);
  }
  return tensor;
}

Status take_metadata(const FlatObject& object, SafetensorsHeader& header, std::string_view path) {
  for (const FlatField& field : object.fields) {
    if (field.is_list) return fail(ErrorCode::corrupt, "\"{}\": __metadata__ \"{}\" is a list, expected a string", path, field.key);
    header.metadata.emplace(field.key, field.text);
  }
  return {};
}

/// Orders the tensors as they lie and refuses holes and overlaps.
Status check_cover(SafetensorsHeader& header, std::string_view path) {
  std::ranges::stable_sort(header.tensors,
                           [](const auto& a, const auto& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::string_view previous;
  for (const SafetensorsTensor& tensor : header.tensors) {
    if (tensor.begin < header.data_bytes) {
      return fail(ErrorCode::corrupt, "\"{}\": tensors \"{}\" and \"{}\" overlap in bytes [{}, {})", path, previous, tensor.name,
                  tensor.begin, header.data_bytes);
    }
    if (tensor.begin > header.data_bytes) {
      return fail(ErrorCode::corrupt, "\"{}\": bytes [{}, {}) belong to no tensor", path, header.data_bytes, tensor.begin);
    }
    header.data_bytes = tensor.end;
    previous = tensor.name;
  }
  return {};
}

}  // namespace

Result<SafetensorsHeader> decode_safetensors_header(ByteView bytes, std::string_view path) {
  SafetensorsHeader header;
  header.header_bytes = TRY(segment_header_bytes(bytes, path));
  if (header.header_bytes != bytes.size()) {
    return fail(ErrorCode::corrupt, "\"{}\": the header is {} bytes long, {} are there", path, header.header_bytes, bytes.size());
  }
  const std::string_view json = as_text(bytes.subspan(8));
  if (!is_utf8(json)) return fail(ErrorCode::corrupt, "\"{}\": the header is not UTF-8", path);
  if (json.front() != '{') return fail(ErrorCode::corrupt, "\"{}\": the header is not JSON: it does not begin with {{", path);
  const std::string_view unpadded = json.substr(0, json.find_last_not_of(' ') + 1);
  for (const FlatObject& object : TRY(parse_flat_json(unpadded, fmt::format("\"{}\": header", path)))) {
    if (object.name == metadata_key) {
      TRY(take_metadata(object, header, path));
    } else {
      header.tensors.push_back(TRY(tensor_of(object, path)));
    }
  }
  TRY(check_cover(header, path));
  return header;
}

Status check_file_bytes(const SafetensorsHeader& header, std::uint64_t file_bytes, std::string_view path) {
  if (file_bytes < header.file_bytes()) {
    return fail(ErrorCode::corrupt, "\"{}\": the file ends at byte {}, its header needs {}", path, file_bytes, header.file_bytes());
  }
  if (file_bytes > header.file_bytes()) {
    return fail(ErrorCode::corrupt, "\"{}\": {} bytes after the last tensor", path, file_bytes - header.file_bytes());
  }
  return {};
}

Result<std::vector<Dims>> saved_offsets(const SafetensorsHeader& header, std::string_view path) {
  std::vector<Dims> offsets;
  const auto text = header.metadata.find(sharding_key);
  if (text == header.metadata.end()) {
    for (const SafetensorsTensor& tensor : header.tensors) offsets.emplace_back(tensor.shape.size(), 0);
    return offsets;
  }
  std::map<std::string_view, const FlatObject*> by_name;
  const auto objects = TRY(parse_flat_json(text->second, fmt::format("\"{}\": {}", path, sharding_key)));
  for (const FlatObject& object : objects) by_name.emplace(object.name, &object);
  for (const SafetensorsTensor& tensor : header.tensors) {
    const auto found = by_name.find(tensor.name);
    const FlatField* saved = found == by_name.end() ? nullptr : found->second->find("saved_offsets");
    if (!saved || !saved->is_list)
      return fail(ErrorCode::corrupt, "\"{}\": tensor \"{}\" has no entry in {}", path, tensor.name, sharding_key);
    if (saved->list.size() != tensor.shape.size()) {
      return fail(ErrorCode::corrupt, "\"{}\": tensor \"{}\" has {} dimensions, its saved_offsets {}", path, tensor.name,
                  tensor.shape.size(), saved->list.size());
    }
    offsets.push_back(TRY(dims(saved->list, tensor.name, path)));
  }
  return offsets;
}

bool is_utf8(std::string_view text) {
  constexpr std::uint64_t high_bits = 0x8080808080808080u;
  for (std::size_t i = 0; i < text.size();) {
    std::uint64_t word = high_bits;
    if (text.size() - i >= sizeof(word)) std::memcpy(&word, text.data() + i, sizeof(word));
    if ((word & high_bits) == 0) {  // eight ASCII characters
      i += sizeof(word);
      continue;
    }
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
    if (more < 0 || text.size() - i < static_cast<std::size_t>(more)) return false;
    const auto second = static_cast<unsigned char>(text[i]);
    // Overlong forms, surrogates and code points over U+10FFFF show in the second byte.
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    for (int k = 0; k < more; ++k) {
      if ((static_cast<unsigned char>(text[i++]) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

std::string json_escaped(std::string_view text) {
  const auto is_special = [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20; };
  if (std::ranges::none_of(text, is_special)) return std::string(text);
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      escaped += '\\';
      escaped += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      escaped += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace holdfast::format

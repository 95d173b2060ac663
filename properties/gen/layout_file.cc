#include "properties/gen/layout_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "impl/format/safetensors.h"
#include "impl/format/segment.h"

namespace holdfast::properties::gen {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t input_bytes_max = 1u << 30;
constexpr std::uint32_t trainer_bytes = 64;
constexpr std::size_t length_bytes = 8;

Layout layout_of(const Dims& shape, int ranks) {
  if (shape.size() < 2) return ReplicatedLayout{};
  ChunkLayout layout;
  for (int r = 0; r < ranks; ++r) layout.placements.push_back(Rank{r});
  return layout;
}

Dims scaled(const Dims& shape, int first_halvings, int other_halvings) {
  Dims small = shape;
  for (std::size_t d = 0; d < small.size(); ++d) {
    // A dimension of no elements stays one: it is part of what the layout tests.
    if (small[d] > 0) small[d] = std::max<std::int64_t>(1, small[d] >> (d == 0 ? first_halvings : other_halvings));
  }
  return small;
}

std::uint64_t tensor_bytes(const std::vector<TensorSpec>& tensors) { return logical_bytes({1, tensors, {}}); }

std::vector<TensorSpec> scaled(const std::vector<TensorSpec>& tensors, int halvings) {
  std::vector<TensorSpec> small = tensors;
  for (TensorSpec& tensor : small) tensor.shape = scaled(tensor.shape, (halvings + 1) / 2, halvings / 2);
  return small;
}

Result<TensorSpec> tensor_of(const Json& row, const std::string& path, int ranks) {
  const std::string name = row.value("name", "");
  const std::string dtype_name = row.value("dtype", "");
  const auto dtype = dtype_from_string(dtype_name);
  if (name.empty() || !dtype || !row.contains("shape") || !row["shape"].is_array()) {
    return fail(ErrorCode::corrupt, "read layout \"{}\": found the tensor {}; expected a name, a dtype of safetensors and a shape", path,
                row.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  TensorSpec tensor{name, *dtype, {}, ReplicatedLayout{}, 0};
  for (const Json& extent : row["shape"]) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() >= (1ull << 40)) {
      return fail(ErrorCode::corrupt, "read layout \"{}\": tensor \"{}\" has the dimension {}; expected a number of elements", path, name,
                  extent.dump());
    }
    tensor.shape.push_back(extent.get<std::int64_t>());
  }
  tensor.layout = layout_of(tensor.shape, ranks);
  return tensor;
}

Status check_ranks(const std::string& path, int ranks) {
  if (ranks < 1) return fail(ErrorCode::invalid_argument, "lay out \"{}\" over {} ranks; expected at least 1", path, ranks);
  return {};
}

}  // namespace

Result<std::string> read_text_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) {
    const int reason = errno;
    return fail(reason == ENOENT ? ErrorCode::not_found : ErrorCode::io_error, "open \"{}\": {}", path, std::strerror(reason));
  }
  std::string text;
  std::array<char, 1 << 16> part;
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), file.get())) {
    text.append(part.data(), got);
    if (text.size() > input_bytes_max) {
      return fail(ErrorCode::unsupported, "read \"{}\": it is larger than {} bytes; a simulated disk lies in memory", path,
                  input_bytes_max);
    }
  }
  if (std::ferror(file.get())) return fail(ErrorCode::io_error, "read \"{}\": {}", path, std::strerror(errno));
  return text;
}

Result<StateSpec> read_layout_file(const std::string& path, int ranks, std::uint64_t bytes_min) {
  TRY(check_ranks(path, ranks));
  const std::string text = TRY(read_text_file(path));
  const Json layout = Json::parse(text, nullptr, false);
  if (!layout.is_object() || !layout.contains("tensors") || !layout["tensors"].is_array() || layout["tensors"].empty()) {
    return fail(ErrorCode::corrupt, "read layout \"{}\": found {}; expected a JSON object with a list \"tensors\"", path,
                layout.is_discarded() ? "no JSON" : "other JSON");
  }
  StateSpec spec;
  spec.world_size = ranks;
  for (const Json& row : layout["tensors"]) {
    if (!row.is_object()) return fail(ErrorCode::corrupt, "read layout \"{}\": found the tensor {}; expected an object", path, row.dump());
    spec.tensors.push_back(TRY(tensor_of(row, path, ranks)));
  }
  constexpr int halvings_max = 80;
  int halvings = 0;
  while (halvings < halvings_max && tensor_bytes(scaled(spec.tensors, halvings + 1)) >= bytes_min) ++halvings;
  spec.tensors = scaled(spec.tensors, halvings);
  spec.values = {{"trainer", trainer_bytes}};
  return spec;
}

Result<FileState> read_safetensors_state(const std::string& path, int ranks) {
  TRY(check_ranks(path, ranks));
  const std::string text = TRY(read_text_file(path));
  const auto bytes = std::as_bytes(std::span(text));
  const std::uint64_t header_bytes = TRY(format::segment_header_bytes(bytes.first(std::min(bytes.size(), length_bytes)), path));
  if (header_bytes > bytes.size()) {
    return fail(ErrorCode::corrupt, "\"{}\": the file ends at byte {}, its header needs {}", path, bytes.size(), header_bytes);
  }
  const format::SafetensorsHeader header = TRY(format::decode_safetensors_header(bytes.first(header_bytes), path));
  TRY(format::check_file_bytes(header, bytes.size(), path));
  FileState state;
  state.spec.world_size = ranks;
  for (const format::SafetensorsTensor& tensor : header.tensors) {
    const auto dtype = tensor.known_dtype();
    if (!dtype)
      return fail(ErrorCode::unsupported, "\"{}\": tensor \"{}\" is of type {}, which Holdfast cannot hold", path, tensor.name,
                  tensor.dtype);
    state.spec.tensors.push_back({tensor.name, *dtype, tensor.shape, layout_of(tensor.shape, ranks), 0});
    const ByteView data = bytes.subspan(header_bytes + tensor.begin, tensor.end - tensor.begin);
    state.values.tensors.emplace(tensor.name, Bytes(data.begin(), data.end()));
  }
  if (!state.values.tensors.contains("trainer")) {
    state.spec.values = {{"trainer", trainer_bytes}};
    state.values.values.emplace("trainer", Bytes(trainer_bytes, std::byte{0x74}));
  }
  return state;
}

WholeValues changed(const WholeValues& values, std::uint64_t version) {
  constexpr std::uint64_t versions = 251;
  WholeValues result = values;
  const auto mask = static_cast<std::byte>(version == 1 ? 0 : 1 + version % versions);
  for (auto* map : {&result.tensors, &result.values}) {
    for (auto& [name, bytes] : *map) std::ranges::transform(bytes, bytes.begin(), [mask](std::byte b) { return b ^ mask; });
  }
  return result;
}

}  // namespace holdfast::properties::gen

#include "impl/cli/inventory.h"

#include <set>

#include "impl/cli/source_file.h"

namespace holdfast::cli {
namespace {

using Input = nlohmann::json;

Result<Inventory::Tensor> tensor_of(const Input& entry, std::size_t number, const std::string& path) {
  const auto wrong = [&](std::string_view expected) {
    return fail(ErrorCode::invalid_argument, "layout \"{}\": tensor {} is {}; expected {}", path, number,
                one_line(entry.dump(-1, ' ', true, Input::error_handler_t::replace), 80), expected);
  };
  if (!entry.is_object()) return wrong("an object");
  const auto name = entry.find("name"), dtype = entry.find("dtype"), shape = entry.find("shape");
  if (name == entry.end() || !name->is_string()) return wrong("a \"name\"");
  if (dtype == entry.end() || !dtype->is_string()) return wrong("a \"dtype\"");
  if (shape == entry.end() || !shape->is_array()) return wrong("a \"shape\", a list of sizes");
  Inventory::Tensor tensor{*name, DType::f32, {}};
  const auto known = dtype_from_string(dtype->get_ref<const std::string&>());
  if (!known)
    return fail(ErrorCode::unsupported, "layout \"{}\": tensor \"{}\": unknown dtype {}", path, tensor.name,
                dtype->dump(-1, ' ', true, Input::error_handler_t::replace));
  tensor.dtype = *known;
  for (const Input& size : *shape) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > std::uint64_t{1} << 62) return wrong("sizes that are integers from 0");
    tensor.shape.push_back(size.get<std::int64_t>());
  }
  const auto elements = checked_volume({tensor.shape.data(), tensor.shape.size()});
  if (!elements || *elements > (std::int64_t{1} << 62) / size_bytes(tensor.dtype)) return wrong("fewer than 2^62 bytes");
  return tensor;
}

/// Names that stand for the values of another tensor of the layout.
Result<std::set<std::string>> seconds_of(const Input& layout, const std::string& path) {
  std::set<std::string> seconds;
  const auto tied = layout.find("tied");
  if (tied == layout.end()) return seconds;
  const auto wrong = [&] { return fail(ErrorCode::invalid_argument, "layout \"{}\": \"tied\" is no list of pairs of names", path); };
  if (!tied->is_array()) return wrong();
  for (const Input& pair : *tied) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) return wrong();
    seconds.insert(pair[1].get<std::string>());
  }
  return seconds;
}

std::uint64_t elements_of(const Inventory& inventory) {
  std::uint64_t elements = 0;
  for (const Inventory::Tensor& tensor : inventory.tensors) elements += static_cast<std::uint64_t>(tensor.elements());
  return elements;
}

Inventory from_manifest(const std::string& directory, const format::Manifest& manifest) {
  Inventory inventory;
  inventory.name = directory;
  for (const auto& [name, record] : manifest.tensors) inventory.tensors.push_back({name, record.metadata.dtype, record.metadata.shape});
  for (const auto& [name, record] : manifest.bytes) inventory.values.push_back({name, record.bytes});
  inventory.elements = inventory.parameters = elements_of(inventory);
  return inventory;
}

Result<Inventory> from_safetensors(const std::string& path) {
  const SafetensorsFile file = TRY(open_safetensors(path));
  Inventory inventory;
  inventory.name = path;
  for (const format::SafetensorsTensor& tensor : file.header.tensors) {
    if (!tensor.known_dtype())
      return fail(ErrorCode::unsupported, "\"{}\": tensor \"{}\": unknown dtype {}", path, tensor.name, tensor.dtype);
    inventory.tensors.push_back({tensor.name, *tensor.known_dtype(), tensor.shape});
  }
  inventory.elements = inventory.parameters = elements_of(inventory);
  return inventory;
}

Result<Inventory> from_file(const std::string& path) {
  const SourceFile file = TRY(SourceFile::open(path, "a checkpoint, a layout file or a safetensors file"));
  const std::string_view text = as_text(file.bytes());
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos && text[start] == '{') return parse_layout(text, path);
  Result<Inventory> inventory = from_safetensors(path);
  if (!inventory && inventory.error().code == ErrorCode::invalid_argument) {
    return fail(ErrorCode::invalid_argument, "\"{}\" is neither a layout (a JSON object with \"tensors\") nor a safetensors file", path);
  }
  return inventory;
}

}  // namespace

Result<Inventory> parse_layout(std::string_view json, const std::string& path) {
  const Input layout = Input::parse(json.begin(), json.end(), nullptr, false);
  if (layout.is_discarded()) return fail(ErrorCode::invalid_argument, "layout \"{}\": it is not JSON", path);
  const auto list = layout.is_object() ? layout.find("tensors") : layout.end();
  if (!layout.is_object() || list == layout.end() || !list->is_array()) {
    return fail(ErrorCode::invalid_argument, "layout \"{}\": it has no list \"tensors\"", path);
  }
  const std::set<std::string> seconds = TRY(seconds_of(layout, path));
  Inventory inventory;
  const auto name = layout.find("name");
  inventory.name = name != layout.end() && name->is_string() ? name->get<std::string>() : path;
  for (const Input& entry : *list) {
    Inventory::Tensor tensor = TRY(tensor_of(entry, inventory.tensors.size(), path));
    const auto buffer = entry.find("buffer");
    const bool is_parameter = (buffer == entry.end() || *buffer != true) && !seconds.contains(tensor.name);
    if (is_parameter) inventory.parameters += static_cast<std::uint64_t>(tensor.elements());
    inventory.tensors.push_back(std::move(tensor));
  }
  inventory.elements = elements_of(inventory);
  return inventory;
}

Result<Inventory> take_inventory(const std::string& path, const Console& console) {
  const Location location = TRY(locate(path));
  if (location.kind == PathKind::file) return from_file(path);
  Progress progress(console, 0);
  OpenFolder folder = TRY(OpenFolder::open(location, progress));
  const std::string directory = TRY(choose(folder.checkpoints(), location, console));
  return from_manifest(directory, TRY(folder.checkpoints().manifest(directory)));
}

}  // namespace holdfast::cli

#include "impl/cli/inventory.h"

#include "impl/cli/source_file.h"

namespace holdfast::cli {
namespace {

Inventory from_manifest(const std::string& directory, format::Manifest manifest) {
  Inventory inventory;
  inventory.model.name = directory;
  for (const auto& [name, record] : manifest.tensors) {
    inventory.model.tensors.push_back({name, record.metadata.dtype, record.metadata.shape, false, false});
  }
  for (const auto& [name, record] : manifest.bytes) inventory.values.push_back({name, record.bytes});
  inventory.manifest = std::move(manifest);
  return inventory;
}

Result<Inventory> from_safetensors(const std::string& path) {
  const SafetensorsFile file = TRY(open_safetensors(path));
  Inventory inventory;
  inventory.model.name = path;
  for (const format::SafetensorsTensor& tensor : file.header.tensors) {
    if (!tensor.known_dtype())
      return fail(ErrorCode::unsupported, "\"{}\": tensor \"{}\": unknown dtype {}", path, tensor.name, tensor.dtype);
    inventory.model.tensors.push_back({tensor.name, *tensor.known_dtype(), tensor.shape, false, false});
  }
  return inventory;
}

Result<Inventory> from_file(const std::string& path) {
  const SourceFile file = TRY(SourceFile::open(path, "a checkpoint, a layout file or a safetensors file"));
  const std::string_view text = as_text(file.bytes());
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string_view::npos && text[start] == '{') {
    Inventory inventory;
    inventory.model = TRY(spec::parse_model(text, path));
    return inventory;
  }
  Result<Inventory> inventory = from_safetensors(path);
  if (!inventory && inventory.error().code == ErrorCode::invalid_argument) {
    return fail(ErrorCode::invalid_argument, "\"{}\" is neither a layout (a JSON object with \"tensors\") nor a safetensors file", path);
  }
  return inventory;
}

}  // namespace

Result<Inventory> take_inventory(const std::string& path, const Console& console) {
  const Location location = TRY(locate(path));
  if (location.kind == PathKind::file) return from_file(path);
  Progress progress(console, 0);
  OpenFolder folder = TRY(OpenFolder::open(location, progress));
  const std::string directory = TRY(choose(folder.checkpoints(), location, console));
  return from_manifest(directory, TRY(folder.checkpoints().manifest(directory)));
}

}  // namespace holdfast::cli

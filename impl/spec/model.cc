#include "impl/spec/model.h"

#include <set>

#include "impl/spec/json.h"

namespace holdfast::spec {
namespace {

constexpr std::int64_t tensor_bytes_max = std::int64_t{1} << 62;

Result<ModelTensor> tensor_of(const JsonAt& entry) {
  ModelTensor tensor;
  tensor.name = TRY(entry.text("name"));
  const JsonAt named = entry.named(fmt::format("{}, \"{}\"", entry.where(), tensor.name));
  tensor.dtype = TRY(named.dtype("dtype"));
  const std::vector<std::int64_t> shape = TRY(named.numbers("shape", 0));
  tensor.shape.assign(shape.begin(), shape.end());
  const auto elements = checked_volume({tensor.shape.data(), tensor.shape.size()});
  if (!elements || *elements > tensor_bytes_max / size_bytes(tensor.dtype)) return named.wrong("shape", "fewer than 2^62 bytes");
  if (named.has("buffer") && !named.json()["buffer"].is_boolean()) return named.wrong("buffer", "true or false");
  tensor.buffer = named.has("buffer") && named.json()["buffer"].get<bool>();
  return tensor;
}

/// Names that stand for the values of another tensor of the layout.
Result<std::set<std::string>> seconds_of(const JsonAt& layout) {
  std::set<std::string> seconds;
  if (!layout.has("tied")) return seconds;
  for (const JsonAt& pair : TRY(layout.list("tied", "pair"))) {
    const auto& names = pair.json();
    if (!names.is_array() || names.size() != 2 || !names[0].is_string() || !names[1].is_string()) {
      return layout.wrong("tied", "a list of pairs of names");
    }
    seconds.insert(names[1].get<std::string>());
  }
  return seconds;
}

}  // namespace

std::uint64_t Model::parameters() const {
  std::uint64_t count = 0;
  for (const ModelTensor& tensor : tensors) count += tensor.buffer || tensor.tied ? 0 : tensor.elements();
  return count;
}

std::uint64_t Model::elements() const {
  std::uint64_t count = 0;
  for (const ModelTensor& tensor : tensors) count += tensor.elements();
  return count;
}

std::uint64_t Model::bytes() const {
  std::uint64_t sum = 0;
  for (const ModelTensor& tensor : tensors) sum += tensor.bytes();
  return sum;
}

Result<Model> parse_model(std::string_view json, const std::string& path) {
  const std::string where = fmt::format("layout \"{}\"", path);
  const nlohmann::json document = TRY(parse_json(json, where));
  const JsonAt layout(document, where);
  Model model;
  model.name = layout.has("name") ? TRY(layout.text("name")) : path;
  std::set<std::string> names;
  const std::set<std::string> seconds = TRY(seconds_of(layout));
  for (const JsonAt& entry : TRY(layout.list("tensors", "tensor"))) {
    ModelTensor tensor = TRY(tensor_of(entry));
    tensor.tied = seconds.contains(tensor.name);
    if (!names.insert(tensor.name).second) {
      return fail(ErrorCode::invalid_argument, "{}: the name \"{}\" was there before", entry.where(), tensor.name);
    }
    model.tensors.push_back(std::move(tensor));
  }
  return model;
}

}  // namespace holdfast::spec

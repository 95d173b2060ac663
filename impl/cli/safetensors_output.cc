#include "impl/cli/safetensors_output.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace holdfast::cli {

SafetensorsPlan plan_safetensors(const format::Manifest& manifest, const StringMap& metadata) {
  std::vector<std::pair<std::string, const TensorMetadata*>> order;
  for (const auto& [name, record] : manifest.tensors) order.emplace_back(name, &record.metadata);
  std::ranges::stable_sort(order, std::greater(), [](const auto& tensor) { return size_bytes(tensor.second->dtype); });

  SafetensorsPlan plan;
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (const auto& [name, tensor] : order) {
    const bool pairs = tensor->dtype == DType::c128;
    std::vector<std::int64_t> shape(tensor->shape.begin(), tensor->shape.end());
    if (pairs) shape.push_back(2);
    const std::uint64_t end = at + static_cast<std::uint64_t>(whole(tensor->shape).volume()) * size_bytes(tensor->dtype);
    header[name] = {{"dtype", to_string(pairs ? DType::f64 : tensor->dtype)}, {"shape", shape}, {"data_offsets", {at, end}}};
    plan.offsets[name] = at;
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  for (int byte = 0; byte < 8; ++byte) plan.header.push_back(static_cast<std::byte>(std::uint64_t{text.size()} >> (8 * byte)));
  const ByteView json = as_bytes(text);
  plan.header.insert(plan.header.end(), json.begin(), json.end());
  for (auto& [name, offset] : plan.offsets) offset += plan.header.size();
  plan.file_bytes = plan.header.size() + at;
  return plan;
}

}  // namespace holdfast::cli

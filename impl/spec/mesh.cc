#include "impl/spec/mesh.h"

#include <algorithm>
#include <array>
#include <set>

#include "impl/spec/json.h"

namespace holdfast::spec {
namespace {

constexpr std::int64_t ranks_max = std::int64_t{1} << 30;

std::string text_of(const std::vector<MeshDim>& dims) {
  std::string text;
  for (const MeshDim& dim : dims) text += fmt::format("{}{}={}", text.empty() ? "" : " ", dim.name, dim.size);
  return text;
}

/// The product of the sizes, or none above ranks_max.
std::optional<std::int64_t> product(const std::vector<MeshDim>& dims) {
  std::int64_t ranks = 1;
  for (const MeshDim& dim : dims) {
    if (dim.size > ranks_max / ranks) return std::nullopt;
    ranks *= dim.size;
  }
  return ranks;
}

Result<std::vector<MeshDim>> dims_of(const JsonAt& mesh, const char* key, std::int64_t ranks) {
  std::vector<MeshDim> dims;
  std::set<std::string> names;
  for (const JsonAt& entry : TRY(mesh.list(key, "dim"))) {
    MeshDim dim;
    dim.name = TRY(entry.text("name"));
    dim.size = TRY(entry.number("size", 1));
    if (!names.insert(dim.name).second) return mesh.wrong(key, "no name twice");
    dims.push_back(std::move(dim));
  }
  if (product(dims) != ranks) return fail(ErrorCode::invalid_argument, "{}: {} are not {} ranks", mesh.where(), text_of(dims), ranks);
  return dims;
}

Result<std::vector<MeshSpec::Flattened>> flattened_of(const JsonAt& mesh, const MeshSpec& spec) {
  std::vector<MeshSpec::Flattened> all;
  if (!mesh.has("flattened")) return all;
  const JsonAt table = TRY(mesh.at("flattened"));
  if (!table.json().is_object()) return mesh.wrong("flattened", "an object");
  for (const auto& [name, unused] : table.json().items()) {
    MeshSpec::Flattened flattened;
    flattened.name = name;
    flattened.dims = TRY(table.texts(name.c_str()));
    for (const std::string& dim : flattened.dims) {
      if (std::ranges::find(spec.dims, dim, &MeshDim::name) == spec.dims.end())
        return table.wrong(name.c_str(), "names of dims of the mesh");
    }
    all.push_back(std::move(flattened));
  }
  return all;
}

Status read_optimizer(const JsonAt& mesh, MeshSpec& spec) {
  if (!mesh.has("optimizer")) return {};
  const JsonAt optimizer = TRY(mesh.at("optimizer"));
  if (optimizer.has("parameters")) spec.parameters = TRY(optimizer.dtype("parameters"));
  for (const JsonAt& entry : TRY(optimizer.list("states", "state"))) {
    OptimizerState state;
    state.name = TRY(entry.text("name"));
    state.dtype = TRY(entry.dtype("dtype"));
    if (entry.has("shape")) {
      const std::vector<std::int64_t> shape = TRY(entry.numbers("shape", 0));
      state.shape.emplace(shape.begin(), shape.end());
    }
    spec.states.push_back(std::move(state));
  }
  return {};
}

Result<MeshSpec> mesh_of(const JsonAt& entry) {
  MeshSpec spec;
  spec.name = TRY(entry.text("name"));
  const JsonAt mesh = entry.named(fmt::format("{}, \"{}\"", entry.where(), spec.name));
  spec.model = TRY(mesh.text("model"));
  spec.rules = TRY(mesh.text("rules"));
  spec.ranks = TRY(mesh.number("ranks", 1));
  spec.dims = TRY(dims_of(mesh, "dims", spec.ranks));
  if (mesh.has("expert_dims")) spec.expert_dims = TRY(dims_of(mesh, "expert_dims", spec.ranks));
  spec.flattened = TRY(flattened_of(mesh, spec));
  if (mesh.has("layers_per_chunk")) spec.layers_per_chunk = TRY(mesh.numbers("layers_per_chunk", 0));
  TRY(read_optimizer(mesh, spec));
  return spec;
}

/// Gives `dim` the size that makes the dims `ranks`.
Status resize(const MeshSpec& mesh, std::vector<MeshDim>& dims, std::string_view name, std::int64_t ranks) {
  const auto dim = std::ranges::find(dims, name, &MeshDim::name);
  std::int64_t others = 1;
  for (const MeshDim& other : dims) others *= other.name == name ? 1 : other.size;
  if (ranks % others != 0) {
    return fail(ErrorCode::invalid_argument, "mesh \"{}\" ({}) on {} ranks: its dims without {} take {}; expected a multiple of that",
                mesh.name, text_of(dims), ranks, name, others);
  }
  dim->size = ranks / others;
  return {};
}

bool has_dim(const std::vector<MeshDim>& dims, std::string_view name) {
  return std::ranges::find(dims, name, &MeshDim::name) != dims.end();
}

}  // namespace

Result<std::vector<MeshSpec>> parse_meshes(std::string_view json, const std::string& path) {
  const std::string where = fmt::format("meshes \"{}\"", path);
  const nlohmann::json document = TRY(parse_json(json, where));
  std::vector<MeshSpec> meshes;
  for (const JsonAt& entry : TRY(JsonAt(document, where).list("meshes", "mesh"))) meshes.push_back(TRY(mesh_of(entry)));
  return meshes;
}

Result<MeshSpec> find_mesh(const std::vector<MeshSpec>& meshes, std::string_view name, std::string_view model) {
  const MeshSpec* found = nullptr;
  for (const MeshSpec& mesh : meshes) {
    if (mesh.name == name && (!found || mesh.model == model)) found = &mesh;
  }
  if (found) return *found;
  std::vector<std::string_view> names;
  for (const MeshSpec& mesh : meshes) {
    if (mesh.model == model) names.push_back(mesh.name);
  }
  for (const MeshSpec& mesh : meshes) {
    if (mesh.model != model) names.push_back(mesh.name);
  }
  return fail(ErrorCode::not_found, "there is no mesh \"{}\"; expected one of {}", name, fmt::join(names, ", "));
}

Result<MeshSpec> with_ranks(MeshSpec mesh, std::int64_t ranks) {
  if (ranks < 1 || ranks > ranks_max) return fail(ErrorCode::invalid_argument, "mesh \"{}\" on {} ranks", mesh.name, ranks);
  constexpr std::array names = {"dp_shard", "fsdp", "dp", "dp_replicate"};
  const auto name = std::ranges::find_if(names, [&](const char* dim) { return has_dim(mesh.dims, dim); });
  if (name == names.end()) {
    return fail(ErrorCode::invalid_argument, "mesh \"{}\" ({}) on {} ranks: it has none of the dims {}", mesh.name, text_of(mesh.dims),
                ranks, fmt::join(names, ", "));
  }
  TRY(resize(mesh, mesh.dims, *name, ranks));
  if (has_dim(mesh.expert_dims, "edp")) TRY(resize(mesh, mesh.expert_dims, "edp", ranks));
  if (!mesh.expert_dims.empty() && product(mesh.expert_dims) != ranks) {
    return fail(ErrorCode::invalid_argument, "mesh \"{}\" on {} ranks: its experts' dims are {}, without an edp", mesh.name, ranks,
                text_of(mesh.expert_dims));
  }
  mesh.ranks = ranks;
  return mesh;
}

}  // namespace holdfast::spec

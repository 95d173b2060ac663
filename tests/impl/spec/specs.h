// The committed specs of real models, read for tests.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "impl/spec/job.h"

namespace holdfast::spec::testing {

inline const std::vector<std::string>& model_names() {
  static const std::vector<std::string> names = {"gpt2", "llama-3.1-8b", "llama-3.1-70b", "llama-3.1-405b", "mixtral-8x7b"};
  return names;
}

inline std::string read_spec(const std::string& name) {
  std::ifstream file(std::string(HOLDFAST_SPECS) + "/" + name + ".json");
  if (!file) throw std::runtime_error("cannot open the spec " + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <typename T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return *std::move(result);
}

inline Model model(const std::string& name) { return value_of(parse_model(read_spec(name), name + ".json")); }
inline std::vector<MeshSpec> meshes() { return value_of(parse_meshes(read_spec("meshes"), "meshes.json")); }
inline Sharding sharding() { return value_of(parse_sharding(read_spec("sharding"), "sharding.json")); }

/// A mesh over dims of the given sizes, without optimizer.
inline MeshSpec mesh_of(const std::string& rules, std::vector<MeshDim> dims, std::vector<std::int64_t> layers_per_chunk = {}) {
  MeshSpec mesh;
  mesh.name = "test";
  mesh.rules = rules;
  mesh.dims = std::move(dims);
  for (const MeshDim& dim : mesh.dims) mesh.ranks *= dim.size;
  mesh.layers_per_chunk = std::move(layers_per_chunk);
  return mesh;
}

inline const JobTensor& tensor(const Job& job, const std::string& fqn) {
  for (const JobTensor& candidate : job.tensors) {
    if (candidate.item.fqn == fqn) return candidate;
  }
  throw std::runtime_error("no tensor " + fqn);
}

}  // namespace holdfast::spec::testing

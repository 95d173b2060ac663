#include "tests/bench/llama_405b.h"

#include "impl/plan/ownership.h"
#include "impl/spec/job.h"
#include "properties/gen/layout_file.h"

namespace holdfast::bench {
namespace {

Result<std::string> spec_file(const char* name) { return properties::gen::read_text_file(fmt::format("{}/{}", HOLDFAST_SPECS, name)); }

}  // namespace

Result<std::vector<LayoutItem>> llama_405b_held(std::int64_t dp) {
  const spec::Model model = TRY(spec::parse_model(TRY(spec_file("llama-3.1-405b.json")), "llama-3.1-405b.json"));
  const std::vector<spec::MeshSpec> meshes = TRY(spec::parse_meshes(TRY(spec_file("meshes.json")), "meshes.json"));
  const spec::Sharding sharding = TRY(spec::parse_sharding(TRY(spec_file("sharding.json")), "sharding.json"));
  const spec::MeshSpec paper = TRY(spec::find_mesh(meshes, "llama3-paper-16384", model.name));
  const spec::MeshSpec mesh = TRY(spec::with_ranks(paper, dp * llama_405b_ranks_a_dp));
  std::vector<LayoutItem> items;
  for (spec::JobTensor& tensor : TRY(spec::make_job(model, mesh, sharding)).tensors) items.push_back(std::move(tensor.item));
  return items;
}

Result<std::vector<LayoutItem>> llama_405b_written(std::int64_t dp) {
  std::vector<LayoutItem> items = TRY(llama_405b_held(dp));
  std::vector<const LayoutItem*> held;
  for (const LayoutItem& item : items) held.push_back(&item);
  std::vector<MeshLayout> writers = plan::writer_layouts(held, plan::DedupPolicy::least_bytes);
  for (std::size_t i = 0; i < items.size(); ++i) items[i].layout = std::move(writers[i]);
  return items;
}

}  // namespace holdfast::bench

#include "impl/cli/planning.h"

#include <algorithm>
#include <charconv>

#include "impl/cli/source_file.h"
#include "impl/core/check.h"
#include "impl/plan/validate.h"
#include "reports/text.h"

namespace holdfast::cli {
namespace {

constexpr double imbalance_warning = 2;
constexpr double hot_file_warning = 4;  // times the mean of all files
constexpr std::string_view optimizer_prefix = "optimizer.state.";

/// The files of --meshes and --sharding.
struct Specs {
  std::vector<spec::MeshSpec> meshes;
  spec::Sharding sharding;
};

Result<Specs> read_specs(const PlanArguments& arguments) {
  const SourceFile meshes = TRY(SourceFile::open(arguments.meshes, "a file of meshes"));
  const SourceFile sharding = TRY(SourceFile::open(arguments.sharding, "a file of sharding rules"));
  Specs specs;
  specs.meshes = TRY(spec::parse_meshes(as_text(meshes.bytes()), arguments.meshes));
  specs.sharding = TRY(spec::parse_sharding(as_text(sharding.bytes()), arguments.sharding));
  return specs;
}

/// Every tensor cut along dimension 0, those with fewer rows than ranks replicated.
Side rows_side(const spec::Model& model, int ranks) {
  Side side;
  side.job = {model.name, "", "", ranks, {}};
  side.what = ranks == 1 ? "1 rank" : fmt::format("{} ranks, each a part of the rows", reports::grouped(static_cast<std::uint64_t>(ranks)));
  const std::int64_t sizes[] = {ranks};
  for (const spec::ModelTensor& tensor : model.tensors) {
    const bool cut = !tensor.shape.empty() && tensor.shape[0] >= ranks;
    spec::JobTensor& key = side.job.tensors.emplace_back();
    key.item = {tensor.name, tensor.dtype, tensor.shape, {packed_mesh(sizes), {cut ? Placement(Shard{0}) : Placement(Replicate{})}, {}}};
    key.model_shape = tensor.shape;
  }
  std::ranges::sort(side.job.tensors, {}, [](const spec::JobTensor& tensor) -> const std::string& { return tensor.item.fqn; });
  return side;
}

std::vector<reports::NamedRanks> stages_of(const spec::MeshSpec& mesh) {
  std::vector<reports::NamedRanks> stages;
  std::int64_t inner = 1;
  for (auto dim = mesh.dims.rbegin(); dim != mesh.dims.rend(); ++dim) {
    if (dim->name == "pp" && dim->size > 1) {
      for (std::int64_t stage = 0; stage < dim->size; ++stage) stages.push_back({fmt::format("pp {}", stage), {}});
      for (std::int64_t rank = 0; rank < mesh.ranks; ++rank) {
        stages[static_cast<std::size_t>(rank / inner % dim->size)].ranks.push_back(static_cast<std::size_t>(rank));
      }
    }
    inner *= dim->size;
  }
  return stages;
}

/// A checkpoint's own tensors of optimizer state follow from the mesh's, as those of a layout file do.
spec::Model without_state(const spec::Model& model) {
  spec::Model bare = model;
  std::erase_if(bare.tensors, [](const spec::ModelTensor& tensor) { return tensor.name.starts_with(optimizer_prefix); });
  return bare;
}

Result<Side> mesh_side(const spec::Model& model, spec::MeshSpec mesh, const PlanArguments& arguments, const Specs& specs) {
  if (!arguments.rules.empty()) mesh.rules = arguments.rules;
  if (mesh.ranks > planned_ranks_max) {
    return fail(ErrorCode::invalid_argument, "mesh \"{}\" has {} ranks; expected at most {}", mesh.name, mesh.ranks, planned_ranks_max);
  }
  Side side;
  side.job = TRY(spec::make_job(without_state(model), mesh, specs.sharding));
  std::string dims;
  for (const spec::MeshDim& dim : mesh.dims) dims += fmt::format("{}{}={}", dims.empty() ? "" : " ", dim.name, dim.size);
  side.what = fmt::format("mesh {} ({}), rules {}", mesh.name, dims, mesh.rules);
  side.stages = stages_of(mesh);
  return side;
}

std::optional<int> as_number(const std::string& text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Status check_arguments(const PlanArguments& arguments) {
  const auto wrong = [](std::string_view what) { return fail(ErrorCode::invalid_argument, "{}", what); };
  if (arguments.meshes.empty() != arguments.sharding.empty()) return wrong("--meshes and --sharding go together");
  if (!arguments.mesh.empty() && arguments.meshes.empty()) return wrong("--mesh needs --meshes and --sharding");
  if (!arguments.rules.empty() && arguments.meshes.empty()) return wrong("--rules needs --meshes and --sharding");
  const auto ranks = as_number(arguments.to);
  if (!ranks && !arguments.to.empty() && arguments.meshes.empty()) {
    return fail(ErrorCode::invalid_argument, "--to \"{}\": expected a number of ranks, or the name of a mesh with --meshes and --sharding",
                arguments.to);
  }
  if (ranks && (*ranks < 1 || *ranks > planned_ranks_max)) {
    return fail(ErrorCode::invalid_argument, "--to {}: expected 1 to {} ranks", arguments.to, planned_ranks_max);
  }
  return {};
}

Side stored_side(const format::Manifest& manifest) {
  Side side;
  side.stored = true;
  side.job.ranks = manifest.world_size;
  side.what = fmt::format("as {} stored it", reports::counted(static_cast<std::uint64_t>(manifest.world_size), "rank"));
  return side;
}

Result<Side> saving_side(const Inventory& inventory, const PlanArguments& arguments, const Specs& specs) {
  if (!arguments.mesh.empty()) {
    spec::MeshSpec mesh = TRY(spec::find_mesh(specs.meshes, arguments.mesh, inventory.model.name));
    if (arguments.ranks) mesh = TRY(spec::with_ranks(std::move(mesh), *arguments.ranks));
    return mesh_side(inventory.model, std::move(mesh), arguments, specs);
  }
  if (inventory.manifest && !arguments.ranks) return stored_side(*inventory.manifest);
  return rows_side(inventory.model, arguments.ranks.value_or(1));
}

Result<std::optional<Side>> loading_side(const Inventory& inventory, const PlanArguments& arguments, const Specs& specs) {
  if (arguments.to.empty()) return std::optional<Side>();
  const auto ranks = as_number(arguments.to);
  if (ranks && arguments.mesh.empty()) return std::optional<Side>(rows_side(inventory.model, *ranks));
  spec::MeshSpec mesh = TRY(spec::find_mesh(specs.meshes, ranks ? arguments.mesh : arguments.to, inventory.model.name));
  if (ranks) mesh = TRY(spec::with_ranks(std::move(mesh), *ranks));
  return std::optional<Side>(TRY(mesh_side(inventory.model, std::move(mesh), arguments, specs)));
}

std::uint64_t bytes_of(const LayoutItem& item) { return static_cast<std::uint64_t>(whole(item.shape).volume()) * size_bytes(item.dtype); }

/// A save of the job, planned as a coordinator would.
Status plan_save(Planned& planned) {
  for (const LayoutTable& table : spec::local_tables(planned.saving.job)) {
    SavePlan& local = planned.local.emplace_back();
    local.layouts = table;
  }
  for (const Inventory::Value& value : planned.inventory.values) {
    WriteItem item;
    item.index.fqn = value.name;
    item.nbytes = value.bytes;
    planned.local[0].items.push_back(std::move(item));
    planned.logical_bytes += value.bytes;
  }
  planned.global = TRY(plan::global_save_plan(planned.local));
  planned.writes = reports::writes_of(planned.global.plans, &planned.local);
  for (const spec::JobTensor& tensor : planned.saving.job.tensors) {
    planned.logical_bytes += bytes_of(tensor.item);
    const auto& saved = std::get<TensorMetadata>(planned.global.metadata.entries.at(tensor.item.fqn));
    CHECK(saved.chunks.mesh(), "\"{}\" is planned box by box", tensor.item.fqn);
    planned.stored.push_back({tensor.item.fqn, saved.dtype, saved.shape, saved.chunks, {}});
  }
  return {};
}

/// What a checkpoint holds, and who wrote it.
Status take_stored(Planned& planned) {
  const format::Manifest& manifest = *planned.inventory.manifest;
  const auto ranks = static_cast<std::size_t>(manifest.world_size);
  planned.writes = reports::Writes(ranks);
  for (const auto& [name, record] : manifest.tensors) {
    const TensorMetadata& saved = record.metadata;
    planned.global.metadata.entries.emplace(name, saved);
    planned.logical_bytes += static_cast<std::uint64_t>(whole(saved.shape).volume()) * size_bytes(saved.dtype);
    reports::StoredTensor stored{name, saved.dtype, saved.shape, saved.chunks, {}};
    if (const ChunkSet::OfMesh* rule = saved.chunks.mesh()) {
      planned.writes.add_rule({name, saved.dtype, saved.shape, rule->layout}, nullptr);
    } else {
      Status located;
      saved.chunks.for_each([&](ChunkSet::Id id, const Box& box) {
        const auto segment = manifest.segment_of(record, id);
        if (!segment) {
          located = fail(segment.error());
          return;
        }
        const format::SegmentId file = manifest.segments[*segment].id;
        WriteItem item{{name, box.offset, {}}, WriteItemType::shard, box, saved.dtype, saved.shape, 0};
        planned.writes.add_item(static_cast<std::size_t>(file.rank.value), item, {}, file.number);
        stored.files.push_back(static_cast<std::uint32_t>(file.number * ranks + static_cast<std::size_t>(file.rank.value)));
      });
      TRY(located);
    }
    planned.stored.push_back(std::move(stored));
  }
  for (const auto& [name, record] : manifest.bytes) {
    WriteItem item;
    item.index.fqn = name;
    item.nbytes = record.bytes;
    planned.writes.add_item(static_cast<std::size_t>(record.rank.value), item, {}, reports::Writes::value_file + record.number);
    planned.global.metadata.entries.emplace(name, BytesMetadata{});
    planned.logical_bytes += record.bytes;
  }
  const Status sound = plan::validate(planned.global.metadata);
  if (!sound) planned.save_findings.push_back({plan::Severity::error, "chunks", sound.error().message});
  return {};
}

void add_imbalance(const reports::Spread& spread, std::vector<plan::Finding>& findings) {
  if (spread.imbalance > imbalance_warning) {
    findings.push_back({plan::Severity::warning, "imbalance", fmt::format("{:.1f}", spread.imbalance)});
  }
}

void look_at_save(Planned& planned) {
  planned.save = reports::summarise(planned.writes);
  for (const reports::Writes::Fault& fault : planned.writes.faults()) {
    planned.save_findings.push_back(
        {plan::Severity::error, fault.overlap ? "overlap" : "uncovered",
         fmt::format("\"{}\": {}", fault.tensor, fault.overlap ? "an element is written twice" : "an element is not written")});
  }
  add_imbalance(planned.save.spread, planned.save_findings);
}

/// Padding aside, the shape that is stored and the one that is wanted are one.
bool same_shape(const Dims& stored, const spec::JobTensor& wanted) {
  if (stored.size() != wanted.item.shape.size()) return false;
  for (std::size_t d = 0; d < stored.size(); ++d) {
    if (stored[d] != wanted.item.shape[d] && std::min(stored[d], wanted.item.shape[d]) < wanted.model_shape[d]) return false;
  }
  return true;
}

std::string text_of(const Dims& dims) { return to_string({dims.data(), dims.size()}); }

/// Keys with one fault, told by the first.
struct Refused {
  const char* id;
  plan::Severity severity;
  std::size_t keys = 0;
  std::string first;

  void add(const std::string& key, const std::string& what) {
    if (keys++ == 0) first = fmt::format("\"{}\": {}", key, what);
  }
  void tell(std::vector<plan::Finding>& findings) const {
    if (keys > 0)
      findings.push_back({severity, id, keys == 1 ? first : fmt::format("{} keys; the first: {}", reports::grouped(keys), first)});
  }
};

void match_wanted(Planned& planned) {
  Refused dtype{"dtype", plan::Severity::error, 0, ""}, shape{"shape", plan::Severity::error, 0, ""};
  Refused missing{"missing", plan::Severity::warning, 0, ""};
  for (const spec::JobTensor& tensor : planned.loading->job.tensors) {
    const auto found = std::ranges::lower_bound(planned.stored, tensor.item.fqn, {}, &reports::StoredTensor::name);
    if (found == planned.stored.end() || found->name != tensor.item.fqn) {
      missing.add(tensor.item.fqn, "wanted, and not stored");
    } else if (found->dtype != tensor.item.dtype) {
      dtype.add(found->name,
                fmt::format("{} is stored, {} wanted; nothing is cast", to_string(found->dtype), to_string(tensor.item.dtype)));
    } else if (!same_shape(found->shape, tensor)) {
      shape.add(found->name, fmt::format("{} is stored, {} wanted", text_of(found->shape), text_of(tensor.item.shape)));
    } else {
      planned.wanted.push_back({&*found, &tensor});
    }
  }
  for (const Refused& refused : {dtype, shape, missing}) refused.tell(planned.load_findings);
}

void look_at_load(Planned& planned) {
  match_wanted(planned);
  planned.reads.emplace(static_cast<std::size_t>(planned.loading->job.ranks), static_cast<std::size_t>(planned.saving.job.ranks));
  for (const Wanted& wanted : planned.wanted)
    planned.reads->add_rule(*wanted.stored, wanted.tensor->item.layout, wanted.tensor->item.shape);
  planned.load = reports::summarise(*planned.reads);
  const reports::LoadSummary& load = planned.load;
  add_imbalance(load.spread, planned.load_findings);
  const double mean = load.files > 0 ? static_cast<double>(load.bytes_needed) / static_cast<double>(load.files) : 0;
  if (static_cast<double>(load.hottest.needed) > hot_file_warning * mean) {
    planned.load_findings.push_back(
        {plan::Severity::warning, "hot-file",
         fmt::format("{} are needed of {}, by {}; {} of a file on average", reports::human_bytes(load.hottest.needed), load.hottest.name,
                     reports::counted(load.hottest.ranks, "rank"), reports::human_bytes(static_cast<std::uint64_t>(mean)))});
  }
  if (planned.reads->padding_bytes() > 0) {
    planned.load_findings.push_back({plan::Severity::warning, "padding",
                                     fmt::format("{} that the ranks hold are padding of their mesh and are not read",
                                                 reports::human_bytes(planned.reads->padding_bytes()))});
  }
}

}  // namespace

Result<std::unique_ptr<Planned>> make_plan(const PlanArguments& arguments, const Console& console) {
  TRY(check_arguments(arguments));
  auto planned = std::make_unique<Planned>();
  planned->inventory = TRY(take_inventory(arguments.source, console));
  const Specs specs = arguments.meshes.empty() ? Specs() : TRY(read_specs(arguments));
  planned->saving = TRY(saving_side(planned->inventory, arguments, specs));
  planned->loading = TRY(loading_side(planned->inventory, arguments, specs));
  if (planned->saving.stored) {
    TRY(take_stored(*planned));
  } else {
    TRY(plan_save(*planned));
  }
  look_at_save(*planned);
  if (planned->loading) look_at_load(*planned);
  return planned;
}

}  // namespace holdfast::cli

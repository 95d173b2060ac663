#include "impl/spec/job.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "impl/spec/axes.h"

namespace holdfast::spec {
namespace {

constexpr std::int64_t bucket_alignment = 64;  // elements
constexpr std::int64_t bucket_multiple = 128;  // elements

std::int64_t round_up(std::int64_t value, std::int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

/// A tensor with its rule, before and after it is laid over the mesh.
struct Placed {
  const ModelTensor* tensor = nullptr;
  Matched matched;
  bool expert = false;
  std::int64_t chunk = 0;  ///< of the pipeline
  Dims shape;              ///< padded
  MeshLayout layout;
  std::vector<int> state_axes;  ///< along which the optimizer's state is cut flat; none: it lies as the parameter
};

class Builder {
 public:
  Builder(const Model& model, const MeshSpec& mesh, const RuleSet& rules)
      : model_(model), mesh_(mesh), rules_(rules), longest_(rules.rules.size(), 0) {}

  Result<Job> build() {
    for (const ModelTensor& tensor : model_.tensors) {
      Placed placed;
      placed.tensor = &tensor;
      placed.matched = TRY(told(match(rules_, tensor)));
      placed.expert = std::ranges::any_of(placed.matched.rule->places, [&](const Place& place) { return only_experts_know(place.dim); });
      note(placed);
      placed_.push_back(std::move(placed));
    }
    for (Placed& placed : placed_) TRY(lay(placed));
    job_ = {model_.name, mesh_.name, rules_.name, mesh_.ranks, {}};
    for (const Placed& placed : placed_) add(placed);
    TRY(add_states());
    for (const JobTensor& tensor : job_.tensors) {
      const Status fits = check(tensor.item.layout, tensor.item.shape, mesh_.ranks);
      if (!fits) return wrong(tensor.item.fqn, fits.error().message);
    }
    std::ranges::sort(job_.tensors, {}, [](const JobTensor& tensor) -> const std::string& { return tensor.item.fqn; });
    return std::move(job_);
  }

 private:
  template <typename T>
  Result<T> told(Result<T> result) const {
    if (!result) return fail(within(result.error(), "mesh \"{}\"", mesh_.name));
    return result;
  }

  tl::unexpected<Error> wrong(std::string_view tensor, std::string_view what) const {
    return fail(ErrorCode::invalid_argument, "mesh \"{}\", rules {}: tensor \"{}\": {}", mesh_.name, rules_.name, tensor, what);
  }

  bool only_experts_know(const std::string& dim) const {
    return std::ranges::find(rules_.mesh, dim) == rules_.mesh.end() &&
           std::ranges::find(rules_.expert_mesh, dim) != rules_.expert_mesh.end();
  }

  /// What one tensor says of all: how many experts there are, and the most heads under one rule.
  void note(const Placed& placed) {
    const Rule& rule = *placed.matched.rule;
    if (rule.place(Place::Kind::expert) && !placed.matched.captured.empty()) {
      experts_ = std::max(experts_, placed.matched.captured.back() + 1);
    }
    if (const Place* cut = rule.place(Place::Kind::shard); cut && in_shape(*cut, placed.tensor->shape)) {
      std::int64_t& most = longest_[number_of(rule)];
      most = std::max(most, placed.tensor->shape[static_cast<std::size_t>(cut->tensor_dim)]);
    }
  }

  std::size_t number_of(const Rule& rule) const { return static_cast<std::size_t>(&rule - rules_.rules.data()); }
  static bool in_shape(const Place& place, const Dims& shape) { return static_cast<std::size_t>(place.tensor_dim) < shape.size(); }

  Status lay(Placed& placed) {
    const Rule& rule = *placed.matched.rule;
    const ModelTensor& tensor = *placed.tensor;
    placed.shape = tensor.shape;
    Axes axes(mesh_, placed.expert && !mesh_.expert_dims.empty() ? mesh_.expert_dims : mesh_.dims);
    for (const Place& place : rule.places) TRY(pick(placed, place, axes));
    const Place* flat = nullptr;
    for (const Place& place : rule.places) {
      if (place.kind == Place::Kind::flat) flat = &place;
      const Status cut = cut_along(placed, place, axes);
      if (!cut) return wrong(tensor.name, cut.error().message);
    }
    placed.layout = axes.layout();
    if (flat) return cut_flat(placed, axes.numbers(flat->dim));
    if (rules_.flat_optimizer.empty()) return {};
    if (!placed.expert) {
      placed.state_axes = axes.numbers(rules_.flat_optimizer);
      return {};
    }
    for (const std::string& dim : axes.uncut()) {
      if (only_experts_know(dim)) std::ranges::copy(axes.numbers(dim), std::back_inserter(placed.state_axes));
    }
    return {};
  }

  /// Layer, First, Last, Expert: which coordinate.
  Status pick(Placed& placed, const Place& place, Axes& axes) const {
    const ModelTensor& tensor = *placed.tensor;
    const std::int64_t ranks = axes.size(place.dim);
    const auto chunks = static_cast<std::int64_t>(std::max<std::size_t>(1, mesh_.layers_per_chunk.size()));
    if (place.kind == Place::Kind::expert) {
      const std::int64_t expert = placed.matched.captured.empty() ? -1 : placed.matched.captured.back();
      if (expert < 0) return wrong(tensor.name, "its rule captures no number of an expert");
      if (experts_ % ranks != 0)
        return wrong(tensor.name, fmt::format("{} experts do not divide over the {} ranks of {}", experts_, ranks, place.dim));
      axes.fix(place.dim, expert * ranks / experts_);
    } else if (place.kind == Place::Kind::layer) {
      placed.chunk = TRY(chunk_of(placed));
      axes.fix(place.dim, placed.chunk % ranks);
    } else if (place.kind == Place::Kind::first) {
      axes.fix(place.dim, 0);
    } else if (place.kind == Place::Kind::last) {
      placed.chunk = chunks - 1;
      axes.fix(place.dim, mesh_.layers_per_chunk.empty() ? ranks - 1 : placed.chunk % ranks);
    }
    return {};
  }

  Result<std::int64_t> chunk_of(const Placed& placed) const {
    const std::int64_t layer = placed.matched.captured.empty() ? -1 : placed.matched.captured.front();
    if (layer < 0) return wrong(placed.tensor->name, "its rule captures no number of a layer");
    if (mesh_.layers_per_chunk.empty()) {
      if (Axes(mesh_, mesh_.dims).size("pp") == 1) return 0;
      return wrong(placed.tensor->name, "the mesh has pipeline stages and no layers_per_chunk");
    }
    std::int64_t end = 0;
    for (std::size_t chunk = 0; chunk < mesh_.layers_per_chunk.size(); ++chunk) {
      end += mesh_.layers_per_chunk[chunk];
      if (layer < end) return static_cast<std::int64_t>(chunk);
    }
    return wrong(placed.tensor->name, fmt::format("layers_per_chunk holds {} layers", end));
  }

  Status cut_along(Placed& placed, const Place& place, Axes& axes) const {
    if (place.kind == Place::Kind::shard) return cut_shard(placed, place, axes);
    if (place.kind == Place::Kind::strided_shard) return axes.cut(place.dim, StridedShard{place.tensor_dim, axes.size(place.within)});
    if (place.kind != Place::Kind::segments) return {};
    const Rule& rule = *placed.matched.rule;
    Segments segments{place.tensor_dim, {rule.segments.begin(), rule.segments.end()}};
    for (const std::int64_t length : segments.lengths) {
      if (length % (rule.unit * axes.size(place.dim)) != 0 && rule.unit > 1) return unit_error(length, rule.unit, place.dim, axes);
    }
    return axes.cut(place.dim, std::move(segments));
  }

  Status cut_shard(Placed& placed, const Place& place, Axes& axes) const {
    const Rule& rule = *placed.matched.rule;
    const std::int64_t ranks = axes.size(place.dim);
    if (!in_shape(place, placed.shape))
      return fail(ErrorCode::invalid_argument, "its rule cuts dimension {}, of {} there are", place.tensor_dim, placed.shape.size());
    std::int64_t& extent = placed.shape[static_cast<std::size_t>(place.tensor_dim)];
    if (rule.pad_to) extent = round_up(extent, *rule.pad_to * ranks);
    if (rule.unit == 1 || extent % (rule.unit * ranks) == 0) return axes.cut(place.dim, Shard{place.tensor_dim});
    const std::int64_t heads = extent / rule.unit;
    const bool repeated = extent % rule.unit == 0 && ranks % heads == 0 && longest_[number_of(rule)] % (rule.unit * ranks) == 0;
    if (!repeated) return unit_error(extent, rule.unit, place.dim, axes);
    return axes.cut_repeated(place.dim, heads, Shard{place.tensor_dim});
  }

  static tl::unexpected<Error> unit_error(std::int64_t extent, std::int64_t unit, const std::string& dim, const Axes& axes) {
    return fail(ErrorCode::invalid_argument, "{} do not divide over the {} ranks of {} in units of {}", extent, axes.size(dim), dim, unit);
  }

  /// ZeRO 3: every parameter by itself in equal runs.
  Status cut_flat(Placed& placed, const std::vector<int>& axes) const {
    if (axes.empty()) return {};
    FlatCut flat;
    flat.axes.assign(axes.begin(), axes.end());
    flat.run = std::max<std::int64_t>(1, round_up(TRY(equal_part(placed)), runs(placed, axes)) / runs(placed, axes));
    placed.layout.flat = flat;
    return {};
  }

  static std::int64_t runs(const Placed& placed, const std::vector<int>& axes) {
    std::int64_t ranks = 1;
    for (const int axis : axes) ranks *= placed.layout.mesh.axes[static_cast<std::size_t>(axis)].size;
    return ranks;
  }

  /// Elements that the placements leave to each rank. Errors: when they differ. (The last position has the smallest part.)
  Result<std::int64_t> equal_part(const Placed& placed) const {
    const std::int64_t most = uncut_elements(placed.layout, placed.shape, 0);
    const std::int64_t least = uncut_elements(placed.layout, placed.shape, placed.layout.mesh.size() - 1);
    if (most == least) return most;
    return wrong(placed.tensor->name, fmt::format("its parts have {} to {} elements; a flat cut needs equal ones", least, most));
  }

  void add(const Placed& placed) {
    JobTensor tensor;
    tensor.item.fqn = placed.tensor->name;
    tensor.item.dtype = placed.tensor->buffer ? placed.tensor->dtype : mesh_.parameters.value_or(placed.tensor->dtype);
    tensor.item.shape = placed.shape;
    tensor.item.layout = placed.layout;
    tensor.kind = placed.tensor->buffer ? KeyKind::buffer : placed.tensor->tied ? KeyKind::tied : KeyKind::parameter;
    tensor.model_shape = placed.tensor->shape;
    job_.tensors.push_back(std::move(tensor));
  }

  void add_states(const Placed& placed, const MeshLayout& layout) {
    for (const OptimizerState& state : mesh_.states) {
      JobTensor tensor;
      tensor.item.fqn = fmt::format("optimizer.state.{}.{}", placed.tensor->name, state.name);
      tensor.item.dtype = state.dtype;
      tensor.item.shape = state.shape.value_or(placed.shape);
      tensor.item.layout = layout;
      tensor.kind = KeyKind::optimizer;
      tensor.model_shape = state.shape.value_or(placed.tensor->shape);
      if (state.shape) {
        std::ranges::fill(tensor.item.layout.placements, Placement(Replicate{}));
        tensor.item.layout.flat.reset();
      }
      job_.tensors.push_back(std::move(tensor));
    }
  }

  Status add_states() {
    struct Bucket {
      std::vector<const Placed*> parameters;  ///< in reverse order of the model
      std::vector<std::int64_t> offsets;
      std::int64_t elements = 0;
    };
    // The parameters that the same ranks hold of one chunk, dense and expert ones apart.
    std::map<std::tuple<std::int64_t, bool, std::int64_t>, Bucket> buckets;
    for (std::size_t i = placed_.size(); i-- > 0;) {
      const Placed& placed = placed_[i];
      if (placed.tensor->buffer || placed.tensor->tied) continue;
      if (placed.state_axes.empty()) {
        add_states(placed, placed.layout);
        continue;
      }
      Bucket& bucket = buckets[{placed.chunk, placed.expert, placed.layout.mesh.first}];
      const std::int64_t offset = round_up(bucket.elements, bucket_alignment);
      bucket.elements = offset + TRY(equal_part(placed));
      bucket.parameters.push_back(&placed);
      bucket.offsets.push_back(offset);
    }
    for (const auto& [key, bucket] : buckets) {
      for (std::size_t i = 0; i < bucket.parameters.size(); ++i) {
        const Placed& placed = *bucket.parameters[i];
        const std::int64_t ranks = runs(placed, placed.state_axes);
        MeshLayout layout = placed.layout;
        FlatCut flat;
        flat.axes.assign(placed.state_axes.begin(), placed.state_axes.end());
        flat.offset = bucket.offsets[i];
        flat.run = round_up(std::max<std::int64_t>(1, bucket.elements), std::lcm(ranks, bucket_multiple)) / ranks;
        layout.flat = flat;
        add_states(placed, layout);
      }
    }
    return {};
  }

  const Model& model_;
  const MeshSpec& mesh_;
  const RuleSet& rules_;
  std::vector<Placed> placed_;
  std::vector<std::int64_t> longest_;  ///< the longest extent that each rule cuts
  std::int64_t experts_ = 0;
  Job job_;
};

}  // namespace

Result<Job> make_job(const Model& model, const MeshSpec& mesh, const Sharding& sharding) {
  const RuleSet* rules = TRY(find_rules(sharding, mesh.rules));
  return Builder(model, mesh, *rules).build();
}

std::vector<LayoutTable> local_tables(const Job& job) {
  std::vector<const Mesh*> meshes;  // distinct ones; few whatever the number of tensors
  std::vector<std::size_t> mesh_of;
  for (const JobTensor& tensor : job.tensors) {
    const auto same = std::ranges::find_if(meshes, [&](const Mesh* mesh) { return *mesh == tensor.item.layout.mesh; });
    mesh_of.push_back(static_cast<std::size_t>(same - meshes.begin()));
    if (same == meshes.end()) meshes.push_back(&tensor.item.layout.mesh);
  }
  std::map<std::vector<bool>, LayoutTable> tables;
  std::vector<LayoutTable> of_rank;
  for (std::int64_t rank = 0; rank < job.ranks; ++rank) {
    std::vector<bool> in;
    for (const Mesh* mesh : meshes) in.push_back(mesh->position(Rank{static_cast<std::int32_t>(rank)}).has_value());
    LayoutTable& table = tables[in];
    if (!table) {
      auto items = std::make_shared<std::vector<LayoutItem>>();
      for (std::size_t t = 0; t < job.tensors.size(); ++t) {
        if (in[mesh_of[t]]) items->push_back(job.tensors[t].item);
      }
      table = std::move(items);
    }
    of_rank.push_back(table);
  }
  return of_rank;
}

}  // namespace holdfast::spec

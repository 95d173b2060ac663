#include "tests/bench/llama_405b.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

namespace holdfast::bench {
namespace {

constexpr std::int64_t tp = 8, stages = 16, layers = 126;
constexpr std::int64_t hidden = 16384, intermediate = 53248, key_value = 1024, vocabulary = 128256;

struct Parameter {
  std::string name;
  Dims shape;
  int tp_dim = -1;  ///< cut along tensor parallelism; -1: replicated
};

/// One chunk of the pipeline: the embedding, a layer, or the output. In the order of registration.
std::vector<Parameter> parameters_of_chunk(std::int64_t chunk) {
  if (chunk == 0) return {{"model.embed_tokens.weight", {vocabulary, hidden}, 0}};
  if (chunk == layers + 1) return {{"model.norm.weight", {hidden}}, {"lm_head.weight", {vocabulary, hidden}, 0}};
  const std::string layer = fmt::format("model.layers.{}.", chunk - 1);
  return {{layer + "input_layernorm.weight", {hidden}},
          {layer + "self_attn.q_proj.weight", {hidden, hidden}, 0},
          {layer + "self_attn.k_proj.weight", {key_value, hidden}, 0},
          {layer + "self_attn.v_proj.weight", {key_value, hidden}, 0},
          {layer + "self_attn.o_proj.weight", {hidden, hidden}, 1},
          {layer + "post_attention_layernorm.weight", {hidden}},
          {layer + "mlp.gate_proj.weight", {intermediate, hidden}, 0},
          {layer + "mlp.up_proj.weight", {intermediate, hidden}, 0},
          {layer + "mlp.down_proj.weight", {hidden, intermediate}, 1}};
}

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

std::int64_t local_elements(const Parameter& parameter) {
  return volume({parameter.shape.data(), parameter.shape.size()}) / (parameter.tp_dim < 0 ? 1 : tp);
}

/// The parameters that a stage of the pipeline holds: chunk c lies on stage c modulo their number.
std::vector<Parameter> parameters_of_stage(std::int64_t stage) {
  std::vector<Parameter> parameters;
  for (std::int64_t chunk = stage; chunk < layers + 2; chunk += stages) {
    std::ranges::move(parameters_of_chunk(chunk), std::back_inserter(parameters));
  }
  return parameters;
}

/// The local parameters of a stage lie end to end, in reverse order of registration, each at a multiple of 64 elements; every rank along dp owns an equal
/// run of that line, whose end is padded.
void append_stage(std::int64_t stage, std::int64_t dp, std::vector<LayoutItem>& items) {
  const std::vector<Parameter> parameters = parameters_of_stage(stage);
  std::map<std::string_view, std::int64_t> offsets;
  std::int64_t line = 0;
  for (auto parameter = parameters.rbegin(); parameter != parameters.rend(); ++parameter) {
    offsets[parameter->name] = line;
    line = round_up(line + local_elements(*parameter), 64);
  }
  const std::int64_t run = round_up(line, std::lcm<std::int64_t>(dp, 128)) / dp;
  const Mesh mesh{stage * tp, {{dp, llama_405b_ranks_a_dp}, {tp, 1}}};
  for (const Parameter& parameter : parameters) {
    MeshLayout layout{mesh, {}, {}};
    layout.placements.emplace_back(Replicate{});
    if (parameter.tp_dim < 0) {
      layout.placements.emplace_back(Replicate{});
    } else {
      layout.placements.emplace_back(Shard{parameter.tp_dim});
    }
    items.push_back({parameter.name, DType::bf16, parameter.shape, layout});
    layout.flat = FlatCut{{0}, offsets.at(parameter.name), run, 1, {}, 1};
    for (const char* state : {"exp_avg", "exp_avg_sq", "master"}) {
      items.push_back({fmt::format("optimizer.{}.{}", state, parameter.name), DType::f32, parameter.shape, layout});
    }
  }
}

MeshLayout without_replicas(const LayoutItem& item) {
  MeshLayout layout = item.layout;
  const std::vector<int> axes = replicated_axes(layout);
  if (axes.empty()) return layout;
  if (layout.flat) {
    layout.flat->inner_axes.assign(axes.begin(), axes.end());
    return layout;
  }
  std::int64_t ranks = 1;
  for (const int axis : axes) ranks *= layout.mesh.axes[static_cast<std::size_t>(axis)].size;
  const Dims sizes = uncut_sizes(layout, item.shape, 0);
  const std::int64_t row = volume({sizes.data() + 1, sizes.size() - 1});
  const std::int64_t rows = (sizes[0] + ranks - 1) / ranks;
  layout.flat = FlatCut{{axes.begin(), axes.end()}, 0, rows * row, row, {}, 1};
  return layout;
}

}  // namespace

std::vector<LayoutItem> llama_405b_held(std::int64_t dp) {
  std::vector<LayoutItem> items;
  for (std::int64_t stage = 0; stage < stages; ++stage) append_stage(stage, dp, items);
  std::ranges::sort(items, {}, &LayoutItem::fqn);
  return items;
}

std::vector<LayoutItem> llama_405b_written(std::int64_t dp) {
  std::vector<LayoutItem> items = llama_405b_held(dp);
  for (LayoutItem& item : items) item.layout = without_replicas(item);
  return items;
}

}  // namespace holdfast::bench

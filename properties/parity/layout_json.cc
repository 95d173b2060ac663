#include "properties/parity/layout_json.h"

#include <algorithm>

namespace holdfast::properties::parity {
namespace {

using Json = nlohmann::json;
using spec::JsonAt;

constexpr std::int64_t dims_max = 16;

Json numbers(const auto& values) { return std::vector<std::int64_t>(values.begin(), values.end()); }

Json ranks_json(const std::vector<Rank>& ranks) {
  Json list = Json::array();
  for (const Rank rank : ranks) list.push_back(rank.value);
  return list;
}

Json json_of(const ReplicatedLayout& /*layout*/) { return {{"kind", "replicated"}}; }

Json json_of(const ChunkLayout& layout) { return {{"kind", "chunk"}, {"dim", layout.dim}, {"ranks", ranks_json(layout.placements)}}; }

Json json_of(const EnumerableLayout& layout) {
  Json boxes = Json::array();
  for (const auto& part : layout.parts)
    boxes.push_back({{"rank", part.rank.value}, {"offset", numbers(part.box.offset)}, {"size", numbers(part.box.size)}});
  return {{"kind", "boxes"}, {"boxes", std::move(boxes)}};
}

Json json_of(const FlatLayout& layout) {
  Json ranges = Json::array();
  for (const auto& range : layout.ranges) ranges.push_back({{"rank", range.rank.value}, {"begin", range.begin}, {"length", range.length}});
  return {{"kind", "flat"}, {"ranges", std::move(ranges)}};
}

Json json_of(const Placement& placement) {
  if (const auto* shard = std::get_if<Shard>(&placement)) return {{"kind", "shard"}, {"dim", shard->dim}};
  if (const auto* strided = std::get_if<StridedShard>(&placement))
    return {{"kind", "strided_shard"}, {"dim", strided->dim}, {"split", strided->split}};
  if (const auto* segments = std::get_if<Segments>(&placement))
    return {{"kind", "segments"}, {"dim", segments->dim}, {"lengths", numbers(segments->lengths)}};
  return {{"kind", "replicate"}};
}

Json json_of(const MeshLayout& layout) {
  Json axes = Json::array(), placements = Json::array();
  for (const MeshAxis& axis : layout.mesh.axes) axes.push_back({{"size", axis.size}, {"stride", axis.stride}});
  for (const Placement& placement : layout.placements) placements.push_back(json_of(placement));
  Json json = {{"kind", "mesh"}, {"first", layout.mesh.first}, {"axes", std::move(axes)}, {"placements", std::move(placements)}};
  if (const auto& cut = layout.flat) {
    json["cut"] = {{"axes", numbers(cut->axes)},
                   {"offset", cut->offset},
                   {"run", cut->run},
                   {"unit", cut->unit},
                   {"inner_axes", numbers(cut->inner_axes)},
                   {"inner_unit", cut->inner_unit}};
  }
  return json;
}

Result<Rank> rank_of(const JsonAt& json, int ranks) {
  return Rank{static_cast<std::int32_t>(TRY(number_between(json, "rank", 0, ranks - 1)))};
}

Result<int> dim_of(const JsonAt& json) { return static_cast<int>(TRY(number_between(json, "dim", 0, dims_max))); }

template <typename List>
Result<List> list_of(const JsonAt& json, const char* key, std::int64_t least) {
  const std::vector<std::int64_t> values = TRY(bounded_numbers(json, key, least));
  return List(values.begin(), values.end());
}

Result<Layout> chunks(const JsonAt& json, int ranks) {
  TRY(check_members(json, {"kind", "dim", "ranks"}));
  ChunkLayout layout{TRY(dim_of(json)), {}};
  for (const std::int64_t rank : TRY(bounded_numbers(json, "ranks", 0))) {
    if (rank >= ranks) return json.wrong("ranks", fmt::format("ranks below {}", ranks));
    layout.placements.push_back(Rank{static_cast<std::int32_t>(rank)});
  }
  return layout;
}

Result<Layout> boxes(const JsonAt& json, int ranks) {
  TRY(check_members(json, {"kind", "boxes"}));
  EnumerableLayout layout;
  for (const JsonAt& part : TRY(json.list("boxes", "box"))) {
    TRY(check_members(part, {"rank", "offset", "size"}));
    layout.parts.push_back({TRY(rank_of(part, ranks)), {TRY(list_of<Dims>(part, "offset", 0)), TRY(list_of<Dims>(part, "size", 0))}});
  }
  return layout;
}

Result<Layout> ranges(const JsonAt& json, int ranks) {
  TRY(check_members(json, {"kind", "ranges"}));
  FlatLayout layout;
  for (const JsonAt& range : TRY(json.list("ranges", "range"))) {
    TRY(check_members(range, {"rank", "begin", "length"}));
    layout.ranges.push_back({TRY(rank_of(range, ranks)), TRY(number_between(range, "begin", 0, number_max)),
                             TRY(number_between(range, "length", 0, number_max))});
  }
  return layout;
}

Result<Placement> placement_of(const JsonAt& json) {
  const std::string kind = TRY(json.text("kind"));
  if (kind == "replicate") return Placement(Replicate{});
  if (kind == "shard") return Placement(Shard{TRY(dim_of(json))});
  if (kind == "strided_shard") return Placement(StridedShard{TRY(dim_of(json)), TRY(number_between(json, "split", 1, number_max))});
  if (kind == "segments") return Placement(Segments{TRY(dim_of(json)), TRY(list_of<decltype(Segments::lengths)>(json, "lengths", 0))});
  return json.wrong("kind", "replicate, shard, strided_shard or segments");
}

Result<FlatCut> cut_of(const JsonAt& json) {
  TRY(check_members(json, {"axes", "offset", "run", "unit", "inner_axes", "inner_unit"}));
  FlatCut cut;
  cut.axes = TRY(list_of<decltype(cut.axes)>(json, "axes", 0));
  cut.offset = TRY(number_between(json, "offset", 0, number_max));
  cut.run = TRY(number_between(json, "run", 1, number_max));
  cut.unit = TRY(number_between(json, "unit", 1, number_max));
  cut.inner_axes = TRY(list_of<decltype(cut.inner_axes)>(json, "inner_axes", 0));
  cut.inner_unit = TRY(number_between(json, "inner_unit", 1, number_max));
  return cut;
}

Result<Layout> mesh(const JsonAt& json, int ranks) {
  TRY(check_members(json, {"kind", "first", "axes", "placements", "cut"}));
  MeshLayout layout;
  layout.mesh.first = TRY(number_between(json, "first", 0, ranks - 1));
  for (const JsonAt& axis : TRY(json.list("axes", "axis"))) {
    TRY(check_members(axis, {"size", "stride"}));
    layout.mesh.axes.push_back({TRY(number_between(axis, "size", 1, ranks)), TRY(number_between(axis, "stride", 1, ranks))});
    if (layout.mesh.size() > ranks) return json.wrong("axes", fmt::format("axes of {} ranks in all at most", ranks));
  }
  for (const JsonAt& placement : TRY(json.list("placements", "placement"))) {
    TRY(check_members(placement, {"kind", "dim", "split", "lengths"}));
    layout.placements.push_back(TRY(placement_of(placement)));
  }
  if (json.has("cut")) layout.flat = TRY(cut_of(TRY(json.at("cut")).named(json.where() + ": cut")));
  return layout;
}

}  // namespace

Result<std::int64_t> number_between(const JsonAt& json, const char* key, std::int64_t least, std::int64_t most) {
  const Result<std::int64_t> number = json.number(key, least);
  if (!number || *number > most) return json.wrong(key, fmt::format("an integer from {} to {}", least, most));
  return *number;
}

Result<std::vector<std::int64_t>> bounded_numbers(const JsonAt& json, const char* key, std::int64_t least) {
  std::vector<std::int64_t> values = TRY(json.numbers(key, least));
  if (std::ranges::any_of(values, [](std::int64_t value) { return value > number_max; }))
    return json.wrong(key, fmt::format("a list of integers from {} to {}", least, number_max));
  return values;
}

Status check_members(const JsonAt& json, std::initializer_list<std::string_view> known) {
  if (!json.json().is_object()) return json.wrong("", "an object");
  for (const auto& [key, unused] : json.json().items()) {
    if (std::ranges::find(known, key) == known.end())
      return fail(ErrorCode::invalid_argument, "{}: found the member \"{}\"; expected {}", json.where(), key, fmt::join(known, ", "));
  }
  return {};
}

Json to_json(const Layout& layout) {
  return std::visit([](const auto& of_kind) { return json_of(of_kind); }, layout);
}

Result<Layout> layout_from_json(const JsonAt& json, int ranks) {
  const std::string kind = TRY(json.text("kind"));
  if (kind == "replicated") {
    TRY(check_members(json, {"kind"}));
    return ReplicatedLayout{};
  }
  if (kind == "chunk") return chunks(json, ranks);
  if (kind == "boxes") return boxes(json, ranks);
  if (kind == "flat") return ranges(json, ranks);
  if (kind == "mesh") return mesh(json, ranks);
  return json.wrong("kind", "replicated, chunk, boxes, flat or mesh");
}

}  // namespace holdfast::properties::parity

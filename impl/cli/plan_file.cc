#include "impl/cli/plan_file.h"

#include <algorithm>
#include <map>

#include "impl/plan/load_plan.h"
#include "impl/spec/json.h"

namespace holdfast::cli {
namespace {

using spec::JsonAt;

constexpr int plan_version = 1;

/// Memory that a plan names and nobody touches.
std::byte* nowhere() { return reinterpret_cast<std::byte*>(std::uintptr_t{4096}); }

Json json_of(const Dims& dims) { return std::vector<std::int64_t>(dims.begin(), dims.end()); }

Json boxes_json(const std::string& key, const Box& box) {
  return {{"key", key}, {"offset", json_of(box.offset)}, {"size", json_of(box.size)}};
}

Json items_json(const SavePlan& plan) {
  Json items = Json::array();
  for (const WriteItem& item : plan.items) {
    items.push_back(item.type == WriteItemType::bytes ? Json{{"key", item.index.fqn}} : boxes_json(item.index.fqn, item.chunk));
  }
  return items;
}

Json items_json(const LoadPlan& plan) {
  Json items = Json::array();
  for (const ReadItem& item : plan.items) {
    Json& json = items.emplace_back(Json{{"key", item.storage_index.fqn}});
    if (item.type == ReadItemType::bytes) continue;
    json["to"] = json_of(item.dest_index.offset.value_or(Dims()));
    json["to_at"] = json_of(item.dest_offset);
    json["from"] = json_of(item.storage_index.offset.value_or(Dims()));
    json["from_at"] = json_of(item.storage_offset);
    json["size"] = json_of(item.lengths);
  }
  return items;
}

Result<StateDict> destination_of(const spec::Job& job, const Metadata& stored, Rank rank) {
  StateDict state;
  for (const spec::JobTensor& tensor : job.tensors) {
    if (!stored.entries.contains(tensor.item.fqn) || !tensor.item.layout.mesh.position(rank)) continue;
    TRY(state.add(tensor.item.fqn, nowhere(), tensor.item.dtype, tensor.item.shape, tensor.item.layout, rank));
  }
  return state;
}

Json wanted_json(const StateDict& state) {
  Json boxes = Json::array();
  for (const auto& [name, entry] : state.entries()) {
    const auto* tensor = std::get_if<TensorEntry>(&entry);
    if (!tensor) continue;
    for (const LocalShard& shard : tensor->shards) boxes.push_back(boxes_json(name, shard.box));
  }
  return boxes;
}

Status add_load(const Planned& planned, Json& json) {
  Json wanted = Json::array(), load = Json::array();
  for (Rank rank{0}; rank.value < planned.loading->job.ranks; ++rank.value) {
    const StateDict state = TRY(destination_of(planned.loading->job, planned.global.metadata, rank));
    const Result<LoadPlan> plan = plan::local_load_plan(state, planned.global.metadata);
    if (!plan) return fail(within(plan.error(), "rank {}", rank));
    wanted.push_back(wanted_json(state));
    load.push_back(items_json(*plan));
  }
  json["wanted"] = std::move(wanted);
  json["load"] = std::move(load);
  return {};
}

// Reading.

Result<Dims> dims_of(const JsonAt& item, const char* key, std::size_t dims) {
  const std::vector<std::int64_t> numbers = TRY(item.numbers(key, 0));
  if (numbers.size() != dims) return item.wrong(key, fmt::format("{} numbers, one a dimension of the tensor", dims));
  return Dims(numbers.begin(), numbers.end());
}

/// The lists of a member that has one a rank, each named "<where>: save of rank 3".
Result<std::vector<JsonAt>> by_rank(const JsonAt& plan, const char* key) {
  std::vector<JsonAt> ranks;
  for (const JsonAt& rank : TRY(plan.list(key, "rank"))) {
    ranks.push_back(rank.named(fmt::format("{}: {} of rank {}", plan.where(), key, ranks.size())));
    if (!rank.json().is_array()) return plan.wrong(key, "a list a rank");
  }
  return ranks;
}

std::vector<JsonAt> items_of(const JsonAt& rank) {
  std::vector<JsonAt> items;
  for (const auto& item : rank.json()) items.emplace_back(item, fmt::format("{}, item {}", rank.where(), items.size()));
  return items;
}

class Reader {
 public:
  explicit Reader(JsonAt plan) : plan_(std::move(plan)) {}

  Result<PlanFile> read() {
    TRY(read_keys());
    if (plan_.has("save")) TRY(read_save());
    if (plan_.has("load")) TRY(read_load());
    if (!plan_.has("save") && !plan_.has("load")) return plan_.wrong("save", "that, or \"load\" and \"wanted\"");
    return std::move(file_);
  }

 private:
  struct Tensor {
    DType dtype = DType::f32;
    Dims shape;
  };

  Status read_keys() {
    const JsonAt tensors = TRY(plan_.at("tensors"));
    if (!tensors.json().is_object()) return plan_.wrong("tensors", "an object");
    for (const auto& [name, unused] : tensors.json().items()) {
      const JsonAt entry = TRY(tensors.at(name.c_str())).named(fmt::format("{}: tensor \"{}\"", plan_.where(), name));
      Tensor tensor;
      tensor.dtype = TRY(entry.dtype("dtype"));
      const std::vector<std::int64_t> shape = TRY(entry.numbers("shape", 0));
      tensor.shape.assign(shape.begin(), shape.end());
      if (!checked_volume({tensor.shape.data(), tensor.shape.size()})) return entry.wrong("shape", "fewer than 2^62 elements");
      tensors_.emplace(name, std::move(tensor));
    }
    if (!plan_.has("values")) return {};
    const JsonAt values = TRY(plan_.at("values"));
    if (!values.json().is_object()) return plan_.wrong("values", "an object");
    for (const auto& [name, unused] : values.json().items()) {
      values_.emplace(name, static_cast<std::uint64_t>(TRY(values.number(name.c_str(), 0))));
    }
    return {};
  }

  const Tensor* tensor(const std::string& key) const {
    const auto found = tensors_.find(key);
    return found == tensors_.end() ? nullptr : &found->second;
  }

  tl::unexpected<Error> unknown(const JsonAt& item, const std::string& key) const {
    return fail(ErrorCode::invalid_argument, "{}: \"{}\" is neither in \"tensors\" nor in \"values\"", item.where(), key);
  }

  Result<WriteItem> write_item(const JsonAt& json) const {
    WriteItem item;
    item.index.fqn = TRY(json.text("key"));
    const Tensor* known = tensor(item.index.fqn);
    if (!known) {
      const auto value = values_.find(item.index.fqn);
      if (value == values_.end()) return unknown(json, item.index.fqn);
      item.nbytes = value->second;
      return item;
    }
    item.type = WriteItemType::shard;
    item.dtype = known->dtype;
    item.shape = known->shape;
    item.chunk.offset = TRY(dims_of(json, "offset", known->shape.size()));
    item.chunk.size = TRY(dims_of(json, "size", known->shape.size()));
    item.index.offset = item.chunk.offset;
    return item;
  }

  Result<std::vector<SavePlan>> save_plans(const char* key) const {
    std::vector<SavePlan> plans;
    for (const JsonAt& rank : TRY(by_rank(plan_, key))) {
      SavePlan& plan = plans.emplace_back();
      for (const JsonAt& item : items_of(rank)) plan.items.push_back(TRY(write_item(item)));
    }
    return plans;
  }

  Status read_save() {
    plan::GlobalSavePlan global;
    global.plans = TRY(save_plans("save"));
    file_.held = plan_.has("held") ? TRY(save_plans("held")) : global.plans;
    std::map<std::string, std::vector<Box>> boxes;
    for (const SavePlan& plan : global.plans) {
      for (const WriteItem& item : plan.items) {
        if (item.type != WriteItemType::bytes) boxes[item.index.fqn].push_back(item.chunk);
      }
    }
    for (const auto& [name, known] : tensors_) {
      global.metadata.entries.emplace(name, TensorMetadata{known.dtype, known.shape, ChunkSet(boxes[name], known.shape)});
    }
    for (const auto& [name, bytes] : values_) global.metadata.entries.emplace(name, BytesMetadata{});
    file_.stored = global.metadata;
    file_.save = std::move(global);
    return {};
  }

  Status read_stored() {
    const JsonAt stored = TRY(plan_.at("stored"));
    if (!stored.json().is_object()) return plan_.wrong("stored", "an object");
    for (const auto& [name, unused] : stored.json().items()) {
      const Tensor* known = tensor(name);
      if (!known) return unknown(stored, name);
      std::vector<Box> boxes;
      for (const JsonAt& chunk : TRY(stored.list(name.c_str(), "chunk"))) {
        Box box;
        box.offset = TRY(dims_of(chunk, "offset", known->shape.size()));
        box.size = TRY(dims_of(chunk, "size", known->shape.size()));
        boxes.push_back(std::move(box));
      }
      file_.stored.entries.emplace(name, TensorMetadata{known->dtype, known->shape, ChunkSet(std::move(boxes), known->shape)});
    }
    for (const auto& [name, bytes] : values_) file_.stored.entries.emplace(name, BytesMetadata{});
    return {};
  }

  Result<StateDict> destination(const JsonAt& rank) const {
    std::map<std::string, TensorEntry> entries;
    StateDict state;
    for (const JsonAt& json : items_of(rank)) {
      const std::string key = TRY(json.text("key"));
      const Tensor* known = tensor(key);
      if (!known && !values_.contains(key)) return unknown(json, key);
      if (!known) {
        TRY(state.add_bytes(key, {}));
        continue;
      }
      TensorEntry& entry = entries[key];
      entry.dtype = known->dtype;
      entry.shape = known->shape;
      entry.sharded = true;
      LocalShard shard;
      shard.box.offset = TRY(dims_of(json, "offset", known->shape.size()));
      shard.box.size = TRY(dims_of(json, "size", known->shape.size()));
      shard.memory = packed_block(nowhere(), shard.box.size, size_bytes(known->dtype));
      entry.shards.push_back(std::move(shard));
    }
    for (auto& [key, entry] : entries) {
      const Status added = state.add(key, std::move(entry));
      if (!added) return fail(within(added.error(), "{}", rank.where()));
    }
    return state;
  }

  Result<ReadItem> read_item(const JsonAt& json) const {
    ReadItem item;
    const std::string key = TRY(json.text("key"));
    item.dest_index.fqn = item.storage_index.fqn = key;
    const Tensor* known = tensor(key);
    if (!known && !values_.contains(key)) return unknown(json, key);
    if (!known) return item;
    const std::size_t dims = known->shape.size();
    item.type = ReadItemType::tensor;
    item.dest_index.offset = TRY(dims_of(json, "to", dims));
    item.dest_offset = TRY(dims_of(json, "to_at", dims));
    item.storage_index.offset = TRY(dims_of(json, "from", dims));
    item.storage_offset = TRY(dims_of(json, "from_at", dims));
    item.lengths = TRY(dims_of(json, "size", dims));
    return item;
  }

  Status read_load() {
    if (!file_.save) TRY(read_stored());
    for (const JsonAt& rank : TRY(by_rank(plan_, "wanted"))) file_.wanted.push_back(TRY(destination(rank)));
    std::vector<LoadPlan> plans;
    for (const JsonAt& rank : TRY(by_rank(plan_, "load"))) {
      LoadPlan& plan = plans.emplace_back();
      for (const JsonAt& item : items_of(rank)) plan.items.push_back(TRY(read_item(item)));
    }
    if (plans.size() != file_.wanted.size()) {
      return fail(ErrorCode::invalid_argument, "{}: \"load\" has {} ranks, \"wanted\" {}", plan_.where(), plans.size(),
                  file_.wanted.size());
    }
    file_.load = std::move(plans);
    return {};
  }

  JsonAt plan_;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::uint64_t> values_;
  PlanFile file_;
};

}  // namespace

Result<Json> plan_to_json(const Planned& planned) {
  const std::size_t items = planned.save.chunks + static_cast<std::size_t>(planned.load.reads);
  if (items > plan_items_max) {
    return fail(ErrorCode::invalid_argument, "--full: the plan has {} items; expected at most {}", items, plan_items_max);
  }
  Json json{{"holdfast_plan", plan_version}, {"tensors", Json::object()}, {"values", Json::object()}};
  for (const reports::StoredTensor& tensor : planned.stored) {
    json["tensors"][tensor.name] = {{"dtype", to_string(tensor.dtype)}, {"shape", json_of(tensor.shape)}};
  }
  for (const Inventory::Value& value : planned.inventory.values) json["values"][value.name] = value.bytes;
  if (planned.saving.stored) {
    Json& stored = json["stored"] = Json::object();
    for (const reports::StoredTensor& tensor : planned.stored) {
      Json& chunks = stored[tensor.name] = Json::array();
      tensor.chunks.for_each(
          [&](ChunkSet::Id, const Box& box) { chunks.push_back({{"offset", json_of(box.offset)}, {"size", json_of(box.size)}}); });
    }
  } else {
    for (Rank rank{0}; rank.value < planned.saving.job.ranks; ++rank.value) {
      const auto r = static_cast<std::size_t>(rank.value);
      json["held"].push_back(items_json(expand(planned.local[r], rank)));
      json["save"].push_back(items_json(expand(planned.global.plans[r], rank)));
    }
  }
  if (planned.loading) TRY(add_load(planned, json));
  return json;
}

Result<PlanFile> parse_plan(std::string_view text, const std::string& path) {
  const std::string where = fmt::format("plan \"{}\"", path);
  const nlohmann::json document = TRY(spec::parse_json(text, where));
  JsonAt plan(document, where);
  if (plan.has("plan")) plan = TRY(plan.at("plan"));
  if (TRY(plan.number("holdfast_plan", 1)) != plan_version) return plan.wrong("holdfast_plan", fmt::format("{}", plan_version));
  return Reader(plan).read();
}

}  // namespace holdfast::cli

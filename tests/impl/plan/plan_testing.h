// Short ways to write down plans and states in tests.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "impl/core/plan_values.h"
#include "impl/core/state_dict.h"
#include "impl/plan/finding.h"
#include "impl/plan/save_plan.h"

namespace holdfast::plan {

inline WriteItem shard_item(std::string key, Box box, Dims shape, DType dtype = DType::f32) {
  WriteItem item;
  item.index = {std::move(key), box.offset, 0};
  item.type = WriteItemType::shard;
  item.chunk = std::move(box);
  item.dtype = dtype;
  item.shape = std::move(shape);
  return item;
}

inline WriteItem whole_item(std::string key, Dims shape, DType dtype = DType::f32) {
  WriteItem item = shard_item(std::move(key), whole(shape), shape, dtype);
  item.type = WriteItemType::tensor;
  return item;
}

inline WriteItem bytes_item(std::string key, std::uint64_t nbytes) {
  WriteItem item;
  item.index.fqn = std::move(key);
  item.nbytes = nbytes;
  return item;
}

inline SavePlan plan_of(std::vector<WriteItem> items) {
  SavePlan plan;
  plan.items = std::move(items);
  return plan;
}

/// "wte@[0,0] trainer": what a plan writes, in order.
inline std::string names(const SavePlan& plan) {
  std::string text;
  for (const WriteItem& item : plan.items) text += (text.empty() ? "" : " ") + to_string(item.index);
  return text;
}

/// A tensor entry without memory: enough to plan with.
inline TensorEntry tensor_entry(Dims shape, std::vector<Box> boxes, DType dtype = DType::f32, bool sharded = true) {
  TensorEntry entry{dtype, std::move(shape), sharded, {}};
  for (Box& box : boxes) {
    const StridedBlock memory = packed_block(nullptr, box.size, size_bytes(dtype));
    entry.shards.push_back({std::move(box), memory});
  }
  return entry;
}

inline TensorEntry plain_entry(const Dims& shape, DType dtype = DType::f32) { return tensor_entry(shape, {whole(shape)}, dtype, false); }

inline TensorEntry laid_out(const Dims& shape, const Layout& layout, Rank rank, DType dtype = DType::f32) {
  return tensor_entry(shape, local_boxes(layout, shape, rank).value(), dtype, !std::holds_alternative<ReplicatedLayout>(layout));
}

inline TensorMetadata saved_tensor(const Dims& shape, std::vector<Box> boxes, DType dtype = DType::f32) {
  return {dtype, shape, ChunkSet(std::move(boxes), shape)};
}

inline std::string ids(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) text += (text.empty() ? "" : " ") + finding.id;
  return text;
}

}  // namespace holdfast::plan

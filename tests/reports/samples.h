// Plans, traces and names for the tests of reports.
#pragma once

#include <string>
#include <vector>

#include "impl/core/event.h"
#include "impl/core/layout.h"
#include "impl/core/plan_values.h"
#include "reports/reads.h"

namespace holdfast::reports::samples {

/// Names that break what does not escape.
inline std::vector<std::string> hostile_names() {
  return {"a\"b",
          "<b>&amp;</b>",
          "back\\slash\\N",
          "two\nlines\r\ttabs",
          "]]>-->",
          "{}|<port>",
          "'); DROP",
          std::string(300, 'x'),
          std::string("nul\0byte", 8),
          "\xFF\xFE not utf-8 \xC0\xAF",
          "\xED\xA0\x80 surrogate",
          "\xF0\x9F\x94\xA5 fire",
          "",
          " ",
          "<script>alert(1)</script>"};
}

struct Saved {
  std::vector<SavePlan> local;
  std::vector<SavePlan> plans;
  Metadata metadata;
  FileOf files;
};

/// `tensors` matrices cut by rows over the ranks, and a replicated vector that rank 0 writes.
inline Saved sharded_save(int ranks, int tensors, const std::string& stem = "layers") {
  Saved saved;
  saved.local.resize(static_cast<std::size_t>(ranks));
  saved.plans.resize(static_cast<std::size_t>(ranks));
  const Dims shape{4 * ranks, 32};
  for (int t = 0; t < tensors; ++t) {
    const std::string name = stem + "." + std::to_string(t) + ".weight";
    std::vector<Box> boxes;
    for (int rank = 0; rank < ranks; ++rank) {
      const Box box{{4 * rank, 0}, {4, 32}};
      boxes.push_back(box);
      const WriteItem item{{name, box.offset, std::nullopt}, WriteItemType::shard, box, DType::f32, shape, 0};
      saved.local[static_cast<std::size_t>(rank)].items.push_back(item);
      saved.plans[static_cast<std::size_t>(rank)].items.push_back(item);
      saved.files[item.index] = "segment-" + std::to_string(rank);
    }
    saved.metadata.entries[name] = TensorMetadata{DType::f32, shape, ChunkSet(boxes, shape)};
  }
  const Box norm = whole({8});
  const WriteItem item{{"norm", norm.offset, std::nullopt}, WriteItemType::tensor, norm, DType::f32, {8}, 0};
  for (SavePlan& plan : saved.local) plan.items.push_back(item);
  saved.plans[0].items.push_back(item);
  saved.files[item.index] = "segment-0";
  saved.metadata.entries["norm"] = TensorMetadata{DType::f32, {8}, ChunkSet({norm}, {8})};
  return saved;
}

/// Each of `readers` ranks reads its columns of every matrix of sharded_save(ranks, tensors).
inline std::vector<LoadPlan> column_load(const Saved& saved, int readers) {
  std::vector<LoadPlan> plans(static_cast<std::size_t>(readers));
  for (const auto& [name, entry] : saved.metadata.entries) {
    const auto& tensor = std::get<TensorMetadata>(entry);
    if (tensor.shape.size() != 2) continue;
    const ChunkSplit split = chunk_split(tensor.shape[1], readers);
    for (int reader = 0; reader < readers; ++reader) {
      if (split.size(reader) == 0) continue;
      for (std::size_t i = 0; i < tensor.chunks.size(); ++i) {
        const Box chunk = tensor.chunks.box(i);
        const Dims wanted{0, split.begin(reader)};
        ReadItem item;
        item.type = ReadItemType::tensor;
        item.dest_index = {name, wanted, std::nullopt};
        item.dest_offset = {chunk.offset[0], 0};
        item.storage_index = {name, chunk.offset, std::nullopt};
        item.storage_offset = wanted;
        item.lengths = {chunk.size[0], split.size(reader)};
        plans[static_cast<std::size_t>(reader)].items.push_back(item);
      }
    }
  }
  return plans;
}

inline TraceRecord trace_of(int ranks, const std::string& fault = "crash") {
  TraceRecord trace{"a run", "0x7", ranks, 0xabc, {}};
  for (int rank = 0; rank < ranks; ++rank) {
    for (int i = 0; i < 3; ++i) {
      const std::int64_t begin = 1000 * i + rank;
      trace.events.push_back(
          {begin, begin + 500, Rank{rank}, 0, std::to_string(4 + i) + " step", "storage.write", "segment", 4096, "ok", ""});
    }
  }
  trace.events.push_back({5000, 5000, Rank{ranks - 1}, 1, "6 publish", "storage.link", "MANIFEST", 0, "aborted", fault});
  return trace;
}

}  // namespace holdfast::reports::samples

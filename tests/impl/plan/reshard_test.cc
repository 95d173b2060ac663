// For every small shape and every way to cut it over a few ranks: what the plans move, applied by hand to byte arrays, is what the model
// says ("gather the whole tensor, cut it again"); and the oracles of check.h agree.
#include <gtest/gtest.h>

#include <map>

#include "impl/plan/check.h"
#include "impl/plan/load_plan.h"
#include "impl/plan/lookup.h"
#include "impl/plan/save_plan.h"
#include "model/expected_metadata.h"
#include "model/global_state.h"

namespace holdfast::plan {
namespace {

constexpr std::int32_t world_size = 4;

/// Every way to deal `count` chunks to ranks 1, 2, ... up to renaming them, so that rank 0 always lacks the tensor; and the same from 0 on.
std::vector<std::vector<Rank>> placements_of(std::size_t count) {
  std::vector<std::vector<Rank>> all = {{}};
  for (std::size_t chunk = 0; chunk < count; ++chunk) {
    std::vector<std::vector<Rank>> longer;
    for (const auto& begun : all) {
      std::int32_t used = 0;
      for (const Rank rank : begun) used = std::max(used, rank.value + 1);
      for (std::int32_t rank = 0; rank <= std::min(used, world_size - 1); ++rank) {
        longer.push_back(begun);
        longer.back().push_back(Rank{rank});
      }
    }
    all = std::move(longer);
  }
  const std::size_t from_zero = all.size();
  for (std::size_t i = 0; i < from_zero; ++i) {
    std::vector<Rank> shifted = all[i];
    for (Rank& rank : shifted) ++rank.value;
    if (std::ranges::all_of(shifted, [](Rank rank) { return rank.value < world_size; })) all.push_back(std::move(shifted));
  }
  return all;
}

/// Plain, and chunked along each dimension over up to `placements_max` placements, some ranks named twice, some not at all.
std::vector<Layout> all_layouts(std::size_t dims, std::size_t placements_max) {
  std::vector<Layout> layouts = {ReplicatedLayout{}};
  for (std::size_t dim = 0; dim < dims; ++dim) {
    for (std::size_t count = 1; count <= placements_max; ++count) {
      for (auto& placements : placements_of(count)) layouts.push_back(ChunkLayout{static_cast<int>(dim), std::move(placements)});
    }
  }
  return layouts;
}

model::GlobalState state_of(const Dims& shape, DType dtype) {
  model::GlobalTensor tensor{dtype, shape, {}};
  const auto bytes = static_cast<std::size_t>(whole(shape).volume()) * size_bytes(dtype);
  for (std::size_t i = 0; i < bytes; ++i) tensor.bytes.push_back(static_cast<std::byte>(i + 1));
  model::GlobalState state;
  state["w"] = std::move(tensor);
  state["b"] = Bytes(3, std::byte{7});
  return state;
}

struct Ranks {
  explicit Ranks(const model::GlobalState& state, const Layout& layout, bool invert = false) {
    for (std::int32_t rank = 0; rank < world_size; ++rank) {
      auto local = model::cut(state, {{"w", layout}}, Rank{rank});
      memory.push_back(invert ? model::inverted(std::move(local)) : std::move(local));
    }
    for (auto& local : memory) dicts.push_back(model::state_dict_over(local).value());
  }
  std::vector<model::LocalState> memory;
  std::vector<StateDict> dicts;
};

using Stored = std::map<MetadataIndex, std::pair<Box, Bytes>>;

Stored store(Ranks& ranks, const GlobalSavePlan& global) {
  Stored stored;
  for (std::size_t rank = 0; rank < ranks.dicts.size(); ++rank) {
    for (const WriteItem& item : global.plans[rank].items) {
      Bytes bytes(item.stored_bytes());
      if (item.type == WriteItemType::bytes) {
        bytes = find_bytes(ranks.dicts[rank], item.index).value()->value;
      } else {
        const LocalShard* shard = find_shard(ranks.dicts[rank], item.index).value();
        EXPECT_EQ(shard->box, item.chunk);
        copy_block(shard->memory, packed_block(bytes.data(), item.chunk.size, size_bytes(item.dtype)));
      }
      EXPECT_TRUE(stored.try_emplace(item.index, item.chunk, std::move(bytes)).second) << to_string(item.index);
    }
  }
  return stored;
}

void load(Stored& stored, const LoadPlan& plan, StateDict& state) {
  for (const ReadItem& item : plan.items) {
    auto& [box, bytes] = stored.at(item.storage_index);
    if (item.type == ReadItemType::bytes) {
      find_bytes(state, item.dest_index).value()->value = bytes;
      continue;
    }
    const LocalShard* shard = find_shard(state, item.dest_index).value();
    const StridedBlock from = packed_block(bytes.data(), box.size, shard->memory.element_bytes);
    copy_block(narrow(from, item.storage_offset, item.lengths), narrow(shard->memory, item.dest_offset, item.lengths));
  }
}

/// Saves under `from`; gives the stored bytes and the metadata, checked against the model.
std::pair<Stored, Metadata> save(const model::GlobalState& state, const Layout& from) {
  Ranks ranks(state, from);
  std::vector<SavePlan> local;
  for (const StateDict& dict : ranks.dicts) local.push_back(local_save_plan(dict).value());
  const GlobalSavePlan global = global_save_plan(local).value();
  EXPECT_FALSE(any_error(check_save_plan(global, local).findings));
  EXPECT_EQ(global.metadata, model::expected_metadata(state, {{"w", from}}, world_size));
  return {store(ranks, global), global.metadata};
}

void expect_loaded(const model::GlobalState& state, Stored& stored, const Metadata& metadata, const Layout& to) {
  Ranks ranks(state, to, /*invert=*/true);
  for (std::int32_t rank = 0; rank < world_size; ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    const auto plan = local_load_plan(ranks.dicts[at], metadata);
    ASSERT_TRUE(plan) << plan.error().message;
    const auto findings = check_load_plan(*plan, ranks.dicts[at], metadata);
    ASSERT_TRUE(findings.empty()) << to_string(findings.front());
    load(stored, *plan, ranks.dicts[at]);
    ranks.memory[at]["b"] = find_bytes(ranks.dicts[at], {"b", {}, {}}).value()->value;
    ASSERT_EQ(ranks.memory[at], model::cut(state, {{"w", to}}, Rank{rank})) << "rank " << rank << " under " << to_string(to);
  }
}

/// Calls with every pair of layouts of tensors of `shape`.
void reshard_all(const Dims& shape, std::size_t placements_max, DType dtype) {
  const auto layouts = all_layouts(shape.size(), placements_max);
  const model::GlobalState state = state_of(shape, dtype);
  for (const Layout& from : layouts) {
    auto [stored, metadata] = save(state, from);
    for (const Layout& to : layouts) {
      ASSERT_NO_FATAL_FAILURE(expect_loaded(state, stored, metadata, to)) << "from " << to_string(from) << " to " << to_string(to);
    }
  }
}

TEST(Reshard, IsRightForEveryPairOfLayoutsOfASmallVector) {
  for (std::int64_t n = 0; n <= 6; ++n) ASSERT_NO_FATAL_FAILURE(reshard_all({n}, 4, DType::u8)) << n;
}

TEST(Reshard, IsRightForEveryPairOfLayoutsOfASmallMatrix) {
  for (std::int64_t rows = 0; rows <= 3; ++rows) {
    for (std::int64_t columns = 0; columns <= 3; ++columns) {
      ASSERT_NO_FATAL_FAILURE(reshard_all({rows, columns}, 3, DType::u16)) << rows << "x" << columns;
    }
  }
}

TEST(Reshard, IsRightForUnevenCutsOverFourRanks) {
  for (const Dims& shape : {Dims{5, 4}, Dims{9, 2}, Dims{7, 1}}) ASSERT_NO_FATAL_FAILURE(reshard_all(shape, 4, DType::u8));
}

TEST(Reshard, IsRightForScalars) { reshard_all({}, 1, DType::i64); }

}  // namespace
}  // namespace holdfast::plan

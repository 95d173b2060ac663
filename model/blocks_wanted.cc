#include "model/blocks_wanted.h"

namespace holdfast::model {
namespace {

/// Calls visit(number in the chunk) for every element of a part of it.
template <typename Visit>
void for_each_element(const Dims& chunk, const Box& part, Visit visit) {
  for (std::int64_t i = 0; i < part.volume(); ++i) {
    std::int64_t rest = i, number = 0, stride = 1;
    for (std::size_t d = chunk.size(); d-- > 0;) {
      number += (part.offset[d] + rest % part.size[d]) * stride;
      rest /= part.size[d];
      stride *= chunk[d];
    }
    visit(static_cast<std::uint64_t>(number));
  }
}

/// What is wanted of a block is wanted of the next one, if an element lies across them; and the other way round.
void join_across(std::vector<std::set<Rank>>& blocks, std::uint32_t block_bytes, std::uint32_t element_bytes) {
  for (std::size_t first = 0, next = 0; first < blocks.size(); first = next) {
    next = first + 1;
    while (next < blocks.size() && next * block_bytes % element_bytes != 0) ++next;
    std::set<Rank> all;
    for (std::size_t block = first; block < next; ++block) all.insert(blocks[block].begin(), blocks[block].end());
    for (std::size_t block = first; block < next; ++block) blocks[block] = all;
  }
}

}  // namespace

BlocksWanted blocks_wanted(std::span<const LoadPlan> plans, const Metadata& metadata, std::uint32_t block_bytes) {
  BlocksWanted wanted;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    for (const ReadItem& item : plans[r].items) {
      if (item.type == ReadItemType::bytes) continue;
      const auto& tensor = std::get<TensorMetadata>(metadata.entries.find(item.storage_index.fqn)->second);
      const Box chunk = tensor.chunks.box(*tensor.chunks.find(*item.storage_index.offset));
      const std::uint64_t element = size_bytes(tensor.dtype);
      std::vector<std::set<Rank>>& blocks = wanted[item.storage_index];
      blocks.resize((static_cast<std::uint64_t>(chunk.volume()) * element + block_bytes - 1) / block_bytes);
      for_each_element(chunk.size, {item.storage_offset, item.lengths}, [&](std::uint64_t number) {
        for (std::uint64_t byte = number * element; byte < (number + 1) * element; ++byte)
          blocks[byte / block_bytes].insert(Rank{static_cast<std::int32_t>(r)});
      });
    }
  }
  for (auto& [chunk, blocks] : wanted)
    join_across(blocks, block_bytes, size_bytes(std::get<TensorMetadata>(metadata.entries.find(chunk.fqn)->second).dtype));
  return wanted;
}

}  // namespace holdfast::model

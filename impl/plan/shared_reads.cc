#include "impl/plan/shared_reads.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>
#include <utility>

#include "impl/core/mark.h"
#include "impl/core/memory.h"
#include "impl/core/mutate.h"
#include "impl/plan/shared_steps.h"

namespace holdfast::plan {
namespace {

auto asked(const ReadItem& item) { return std::tie(item.type, item.storage_index, item.storage_offset, item.lengths); }

/// Orders plans by what they ask of the storage, whatever the memory it goes to.
struct ByWish {
  bool operator()(const LoadPlan* a, const LoadPlan* b) const {
    return std::ranges::lexicographical_compare(a->items, b->items, {}, asked, asked);
  }
};

/// Ranks that ask for the same.
struct Wish {
  const LoadPlan* plan = nullptr;
  std::vector<Rank> ranks;
};

std::vector<Wish> wishes_of(std::span<const LoadPlan> plans) {
  std::map<const LoadPlan*, std::vector<Rank>, ByWish> by_plan;
  for (std::size_t r = 0; r < plans.size(); ++r) by_plan[&plans[r]].push_back(Rank{static_cast<std::int32_t>(r)});
  std::vector<Wish> wishes;
  for (auto& [plan, ranks] : by_plan) wishes.push_back({plan, std::move(ranks)});
  return wishes;
}

/// An item of a wish.
struct Asked {
  const ReadItem* item = nullptr;
  std::uint32_t wish = 0;
};

std::vector<Asked> by_chunk(const std::vector<Wish>& wishes) {
  std::vector<Asked> all;
  for (std::size_t w = 0; w < wishes.size(); ++w) {
    for (const ReadItem& item : wishes[w].plan->items) {
      const bool holds_any = item.type == ReadItemType::tensor && volume({item.lengths.data(), item.lengths.size()}) != 0;
      if (holds_any) all.push_back({&item, static_cast<std::uint32_t>(w)});
    }
  }
  std::ranges::stable_sort(all, {}, [](const Asked& one) { return std::tie(one.item->storage_index, one.wish); });
  return all;
}

Result<ChunkBlocks> chunk_of(const ReadItem& item, const Metadata& metadata, std::uint32_t block_bytes) {
  const auto entry = metadata.entries.find(item.storage_index.fqn);
  const auto* tensor = entry == metadata.entries.end() ? nullptr : std::get_if<TensorMetadata>(&entry->second);
  const auto chunk = tensor && item.storage_index.offset ? tensor->chunks.find(*item.storage_index.offset) : std::nullopt;
  if (!chunk) return fail(ErrorCode::invalid_argument, "share reads {}: the checkpoint holds no such chunk", to_string(item.storage_index));
  return ChunkBlocks{tensor->chunks.box(*chunk).size, size_bytes(tensor->dtype), block_bytes};
}

/// Blocks of a chunk that the same wishes hold.
struct Cell {
  std::size_t chunk = 0;
  BlockRange blocks;
  std::uint64_t bytes = 0;
};

class Sharing {
 public:
  Sharing(std::span<const LoadPlan> plans, const Metadata& metadata, const FileOf& file_of, const SharingOptions& options)
      : wishes_(wishes_of(plans)), metadata_(metadata), file_of_(file_of), options_(options), load_(plans.size(), 0) {}

  Result<SharedReads> run() {
    const std::vector<Asked> all = by_chunk(wishes_);
    for (std::size_t begin = 0, end = 0; begin < all.size(); begin = end) {
      while (end < all.size() && all[end].item->storage_index == all[begin].item->storage_index) ++end;
      TRY(add_chunk(std::span(all).subspan(begin, end - begin)));
    }
    deal_out();
    reads_.steps = schedule(reads_, chunks_, load_.size(), options_);
    return std::move(reads_);
  }

 private:
  /// All that is asked of one chunk.
  Status add_chunk(std::span<const Asked> asked) {
    const ReadItem& first = *asked.front().item;
    const ChunkBlocks chunk = TRY(chunk_of(first, metadata_, options_.block_bytes));
    for (const Asked& one : asked) {
      const Box part{one.item->storage_offset, one.item->lengths};
      if (!in_bounds(part, chunk.size))
        return fail(ErrorCode::invalid_argument, "share reads {}: {} is asked of a chunk of size {}", to_string(first.storage_index),
                    to_string(part), to_string({chunk.size.data(), chunk.size.size()}));
    }
    const std::vector<Rank>& ranks = wishes_[asked.front().wish].ranks;
    if (ranks.size() == 1 && asked.front().wish == asked.back().wish) {  // the common case of N to N: nobody else wants of it
      for (const Asked& one : asked)
        load_of(ranks.front()) +=
            chunk.element_bytes * static_cast<std::uint64_t>(volume({one.item->lengths.data(), one.item->lengths.size()}));
      return {};
    }
    const std::size_t number = chunks_.size();
    bool is_shared = false;
    for (auto& [wishes, ranges] : cells_of(chunk, asked)) {
      std::vector<Rank> group;
      for (const std::uint32_t wish : wishes) group.insert(group.end(), wishes_[wish].ranks.begin(), wishes_[wish].ranks.end());
      std::ranges::sort(group);
      for (const BlockRange& range : ranges) {
        const std::uint64_t bytes = chunk.bytes_of(range);
        if (group.size() == 1) {
          load_of(group.front()) += bytes;
        } else {
          cells_[group].push_back({number, range, bytes});
          is_shared = true;
        }
      }
    }
    if (!is_shared) return {};
    chunks_.push_back(chunk);
    reads_.chunks.push_back(first.storage_index);
    files_.push_back(TRY(file_of_(first.storage_index)));
    return {};
  }

  /// The ranges of blocks that are wanted, by the wishes that want them.
  std::map<std::vector<std::uint32_t>, std::vector<BlockRange>> cells_of(const ChunkBlocks& chunk, std::span<const Asked> asked) const {
    std::map<std::uint64_t, std::vector<std::uint32_t>> turns;  // where a wish begins or ends to want
    for (std::size_t begin = 0, end = 0; begin < asked.size(); begin = end) {
      std::vector<BlockRange> wanted;
      for (; end < asked.size() && asked[end].wish == asked[begin].wish; ++end) {
        const std::vector<BlockRange> more = chunk.holding({asked[end].item->storage_offset, asked[end].item->lengths});
        wanted.insert(wanted.end(), more.begin(), more.end());
      }
      for (const BlockRange& range : whole_units(chunk, std::move(wanted))) {
        turns[range.first].push_back(asked[begin].wish);
        turns[range.end].push_back(asked[begin].wish);
      }
    }
    std::map<std::vector<std::uint32_t>, std::vector<BlockRange>> cells;
    std::set<std::uint32_t> wanting;
    std::uint64_t from = 0;
    for (const auto& [block, wishes] : turns) {
      if (!wanting.empty()) cells[{wanting.begin(), wanting.end()}].push_back({from, block});
      for (const std::uint32_t wish : wishes) {
        if (!wanting.insert(wish).second) wanting.erase(wish);
      }
      from = block;
    }
    return cells;
  }

  /// Groups with few members first: they have the least choice.
  void deal_out() {
    std::vector<std::pair<const std::vector<Rank>, std::vector<Cell>>*> groups;
    for (auto& of_group : cells_) groups.push_back(&of_group);
    std::ranges::stable_sort(groups, {}, [](const auto* of_group) { return of_group->first.size(); });
    for (auto* of_group : groups) deal_out(of_group->first, of_group->second);
  }

  /// Long stretches, each to another reader: in the order of the files, so that few of them meet within a page.
  void deal_out(const std::vector<Rank>& group, std::vector<Cell>& cells) {
    std::ranges::sort(cells, {}, [&](const Cell& cell) { return std::tuple(files_[cell.chunk], cell.chunk, cell.blocks); });
    const std::uint64_t bytes =
        std::accumulate(cells.begin(), cells.end(), std::uint64_t{0}, [](std::uint64_t sum, const Cell& cell) { return sum + cell.bytes; });
    const std::vector<Rank> readers = readers_of(group, bytes);
    const std::vector<std::uint64_t> shares = shares_of(readers, bytes);
    if (readers.size() > 1) MARK("share.several_readers");
    const auto number = static_cast<std::uint32_t>(reads_.groups.size());
    reads_.groups.push_back(group);
    std::size_t turn = 0;
    std::uint64_t given = 0;  // to whose turn it is
    for (const Cell& cell : cells) {
      const ChunkBlocks& chunk = chunks_[cell.chunk];
      for (BlockRange left = cell.blocks; left.first < left.end;) {
        while (turn + 1 < readers.size() && given >= shares[turn]) {
          ++turn;
          given = 0;
        }
        BlockRange taken = left;
        if (turn + 1 < readers.size()) {
          const std::uint64_t unit_bytes = chunk.unit() * chunk.block_bytes;
          const std::uint64_t units = (shares[turn] - given + unit_bytes - 1) / unit_bytes;
          if (units < (left.end - left.first + chunk.unit() - 1) / chunk.unit()) taken.end = left.first + units * chunk.unit();
        }
        add_read(cell.chunk, taken, number, readers[turn]);
        given += chunk.bytes_of(taken);
        left.first = taken.end;
      }
    }
  }

  /// Those with the least to read, as many as the bytes are worth; ascending.
  std::vector<Rank> readers_of(const std::vector<Rank>& group, std::uint64_t bytes) const {
    std::vector<Rank> readers = group;
    std::ranges::stable_sort(readers, {}, [&](Rank rank) { return load_[static_cast<std::size_t>(rank.value)]; });
    const std::uint64_t worth = bytes / std::max<std::uint64_t>(1, options_.reader_bytes_min);
    readers.resize(std::clamp<std::uint64_t>(worth, 1, readers.size()));
    std::ranges::sort(readers);
    return readers;
  }

  /// How much each reads: first who has little to read gets as much as the others, then all get the same.
  std::vector<std::uint64_t> shares_of(const std::vector<Rank>& readers, std::uint64_t bytes) const {
    std::vector<std::size_t> order(readers.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto load = [&](std::size_t i) { return load_[static_cast<std::size_t>(readers[i].value)]; };
    std::ranges::stable_sort(order, {}, load);
    std::uint64_t level = load(order.front()), left = bytes;
    std::size_t filled = 1;  // that reach the level
    for (; filled < order.size(); ++filled) {
      const std::uint64_t up = load(order[filled]) - level;
      if (up > left / filled) break;
      left -= up * filled;
      level = load(order[filled]);
    }
    level += (left + filled - 1) / filled;
    std::vector<std::uint64_t> shares(readers.size(), 0);
    for (std::size_t i = 0; i < readers.size(); ++i) shares[i] = level > load(i) ? level - load(i) : 0;
    return shares;
  }

  void add_read(std::size_t chunk, BlockRange blocks, std::uint32_t group, Rank reader) {
    load_of(reader) += chunks_[chunk].bytes_of(blocks);
    const Rank chosen = MUTATE("share.reader_wants_nothing", reader, Rank{(reader.value + 1) % static_cast<std::int32_t>(load_.size())});
    reads_.reads.push_back({static_cast<std::uint32_t>(chunk), blocks, group, chosen, 0});
    if (MUTATE("share.cell_read_twice", false, blocks.end - blocks.first > chunks_[chunk].unit())) {
      reads_.reads.push_back(reads_.reads.back());
      reads_.reads.back().blocks.end = blocks.first + chunks_[chunk].unit();
    }
  }

  std::uint64_t& load_of(Rank rank) { return load_[static_cast<std::size_t>(rank.value)]; }

  std::vector<Wish> wishes_;
  const Metadata& metadata_;
  const FileOf& file_of_;
  const SharingOptions& options_;
  std::vector<std::uint64_t> load_;  ///< bytes that each rank reads
  std::vector<ChunkBlocks> chunks_;  ///< of reads_.chunks, and their files:
  std::vector<std::uint64_t> files_;
  std::map<std::vector<Rank>, std::vector<Cell>> cells_;
  SharedReads reads_;
};

}  // namespace

std::uint64_t ChunkBlocks::bytes() const { return static_cast<std::uint64_t>(volume({size.data(), size.size()})) * element_bytes; }

std::uint64_t ChunkBlocks::count() const { return (bytes() + block_bytes - 1) / block_bytes; }

std::uint64_t ChunkBlocks::unit() const { return element_bytes / std::gcd(element_bytes, block_bytes); }

std::uint64_t ChunkBlocks::bytes_of(const BlockRange& range) const {
  return std::min(range.end * block_bytes, bytes()) - std::min(range.first * block_bytes, bytes());
}

std::vector<BlockRange> ChunkBlocks::holding(const Box& part) const {
  // A block of one-byte "elements" at address 0: its offsets are element indices.
  const StridedBlock chunk = packed_block(nullptr, size, 1);
  StridedBlock inner = chunk;
  inner.sizes = part.size;
  std::int64_t start = 0;
  for (std::size_t d = 0; d < part.offset.size(); ++d) start += part.offset[d] * chunk.strides_bytes[d];
  std::vector<BlockRange> ranges;
  for_each_run(inner, [&](std::int64_t at, std::int64_t elements) {
    const std::uint64_t begin = static_cast<std::uint64_t>(start + at) * element_bytes;
    const std::uint64_t end = begin + static_cast<std::uint64_t>(elements) * element_bytes;
    const BlockRange range{begin / block_bytes, (end + block_bytes - 1) / block_bytes};
    if (!ranges.empty() && range.first <= ranges.back().end) {
      ranges.back().end = range.end;
    } else {
      ranges.push_back(range);
    }
  });
  return ranges;
}

std::vector<BlockRange> whole_units(const ChunkBlocks& chunk, std::vector<BlockRange> ranges) {
  const std::uint64_t unit = chunk.unit(), count = chunk.count();
  std::ranges::sort(ranges);
  std::vector<BlockRange> whole;
  for (const BlockRange& range : ranges) {
    const BlockRange wide{range.first / unit * unit, std::min(count, (range.end + unit - 1) / unit * unit)};
    if (!whole.empty() && wide.first <= whole.back().end) {
      whole.back().end = std::max(whole.back().end, wide.end);
    } else {
      whole.push_back(wide);
    }
  }
  return whole;
}

Result<SharedReads> share_reads(std::span<const LoadPlan> plans, const Metadata& metadata, const FileOf& file_of,
                                const SharingOptions& options) {
  return Sharing(plans, metadata, file_of, options).run();
}

std::vector<SharedReads> parts_of(const SharedReads& reads, std::size_t ranks) {
  constexpr auto none = static_cast<std::uint32_t>(-1);
  std::vector<std::vector<const SharedRead*>> of_rank(ranks);
  for (const SharedRead& read : reads.reads) {
    for (const Rank rank : reads.groups[read.group]) of_rank[static_cast<std::size_t>(rank.value)].push_back(&read);
  }
  std::vector<SharedReads> parts(ranks);
  std::vector<std::uint32_t> chunks(reads.chunks.size(), none);
  for (std::size_t r = 0; r < ranks; ++r) {
    SharedReads& part = parts[r];
    part.steps = reads.steps;
    std::map<std::uint32_t, std::uint32_t> groups;  // keep their order
    for (const SharedRead* read : of_rank[r]) groups.emplace(read->group, none);
    for (auto& [number, renumbered] : groups) {
      renumbered = static_cast<std::uint32_t>(part.groups.size());
      part.groups.push_back(reads.groups[number]);
    }
    for (const SharedRead* read : of_rank[r]) {
      std::uint32_t& chunk = chunks[read->chunk];
      if (chunk == none) {
        chunk = static_cast<std::uint32_t>(part.chunks.size());
        part.chunks.push_back(reads.chunks[read->chunk]);
      }
      part.reads.push_back({chunk, read->blocks, groups[read->group], read->reader, read->step});
    }
    for (const SharedRead* read : of_rank[r]) chunks[read->chunk] = none;
  }
  return parts;
}

}  // namespace holdfast::plan

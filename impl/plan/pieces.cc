#include "impl/plan/pieces.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::plan {
namespace {

constexpr std::uint64_t part_bytes_min = 1 << 20;

bool is_bytes(const WriteItem& item) { return item.type == WriteItemType::bytes; }

/// One distinct piece and the ranks that hold it, ascending.
struct Piece {
  std::size_t key = 0;  ///< its number
  std::span<const Holding> holders;
  const WriteItem& item() const { return *holders.front().item; }
  std::uint64_t bytes() const { return item().stored_bytes(); }
};

/// What a rank writes of an item: all of it, or a box inside.
struct Share {
  Rank rank;
  const WriteItem* item = nullptr;
  Box box;
};

/// Removes what need not be written: empty boxes, or, of a tensor without elements, all but the first (one of it a rank).
void drop_empty(std::string_view key, std::vector<Holding>& holdings, Problems& problems) {
  const Dims& shape = holdings.front().item->shape;
  if (whole(shape).empty()) {
    std::erase_if(holdings, [](const Holding& holding) { return is_announcement(*holding.item); });
    if (!holdings.empty()) {
      const Box first = holdings.front().item->chunk;
      std::erase_if(holdings, [&](const Holding& holding) { return holding.item->chunk != first; });
      holdings.erase(std::ranges::unique(holdings, {}, &Holding::rank).begin(), holdings.end());
    }
  } else {
    std::erase_if(holdings, [](const Holding& holding) { return holding.item->chunk.empty(); });
  }
  if (holdings.empty()) problems.add("\"{}\": a tensor of shape {} of which no rank holds anything", key, text(shape));
}

void check_held_once_a_rank(std::string_view key, const Piece& piece, Problems& problems) {
  for (std::size_t i = 1; i < piece.holders.size(); ++i) {
    if (piece.holders[i].rank != piece.holders[i - 1].rank) continue;
    problems.add("\"{}\": rank {} lists {} twice", key, piece.holders[i].rank,
                 is_bytes(*piece.holders[i].item) ? "it" : to_string(piece.holders[i].item->chunk));
    return;
  }
}

/// Cuts the holdings, sorted, into runs with equal boxes.
void append_pieces(std::size_t key, std::span<const Holding> holdings, std::vector<Piece>& pieces) {
  for (std::size_t begin = 0; begin < holdings.size();) {
    std::size_t end = begin + 1;
    while (end < holdings.size() && holdings[end].item->chunk == holdings[begin].item->chunk) ++end;
    pieces.push_back({key, holdings.subspan(begin, end - begin)});
    begin = end;
  }
}

/// The pieces of one key. `holdings` is sorted in place and must outlive the pieces.
std::vector<Piece> pieces_of(std::string_view key, std::size_t number, std::vector<Holding>& holdings, Problems& problems) {
  std::vector<Piece> pieces;
  if (!check_agreement(key, holdings, problems)) return pieces;
  if (is_bytes(*holdings.front().item)) {
    pieces.push_back({number, holdings});
    check_held_once_a_rank(key, pieces.front(), problems);
    return pieces;
  }
  const auto by_box = [](const Holding& a, const Holding& b) { return a.item->chunk < b.item->chunk; };
  if (!std::ranges::is_sorted(holdings, by_box)) std::ranges::stable_sort(holdings, by_box);
  drop_empty(key, holdings, problems);
  append_pieces(number, holdings, pieces);
  std::vector<Holding> firsts;
  for (const Piece& piece : pieces) {
    check_held_once_a_rank(key, piece, problems);
    firsts.push_back(piece.holders.front());
  }
  check_tiling(key, firsts, Coverage::whole, problems);
  return pieces;
}

/// The first dimension longer than 1; none when there is at most one row.
std::optional<std::size_t> row_dimension(const Box& box) {
  for (std::size_t d = 0; d < box.size.size(); ++d) {
    if (box.size[d] > 1) return d;
  }
  return std::nullopt;
}

/// Deals out the pieces; counts the bytes of every rank.
class Dealer {
 public:
  Dealer(std::vector<std::uint64_t> bytes, std::span<const Piece> pieces) : bytes_(std::move(bytes)) {
    std::uint64_t total = std::accumulate(bytes_.begin(), bytes_.end(), std::uint64_t{0});
    for (const Piece& piece : pieces) total += piece.bytes();
    mean_ = bytes_.empty() ? 0 : (total + bytes_.size() - 1) / bytes_.size();
    fullest_ = bytes_.empty() ? 0 : std::ranges::max(bytes_);
  }

  void give(const Piece& piece, const Holding& to) { give(to, piece.item().chunk, piece.bytes()); }

  void give_to_least(const Piece& piece) {
    const auto least = std::ranges::min_element(piece.holders, {}, [&](const Holding& holder) { return bytes_of(holder.rank); });
    const Holding& holder = MUTATE("plan.dedup_unbalanced", *least, piece.holders.front());
    const bool fits = bytes_of(holder.rank) + piece.bytes() <= std::max(mean_, fullest_);
    const bool divisible = !is_bytes(piece.item()) && piece.bytes() >= 2 * part_bytes_min && row_dimension(piece.item().chunk);
    if (fits || !divisible || piece.holders.size() == 1) return give(piece, holder);
    divide(piece);
  }

  std::vector<Share> take() { return std::move(shares_); }

 private:
  std::uint64_t& bytes_of(Rank rank) { return bytes_[static_cast<std::size_t>(rank.value)]; }

  void give(const Holding& to, Box box, std::uint64_t bytes) {
    bytes_of(to.rank) += bytes;
    fullest_ = std::max(fullest_, bytes_of(to.rank));
    shares_.push_back({to.rank, to.item, std::move(box)});
  }

  /// The lowest level under which `holders`, in the order of their bytes, have room for `bytes`.
  std::uint64_t filled_up(std::span<const Holding> holders, std::uint64_t bytes) {
    std::uint64_t sum = bytes;
    for (std::size_t i = 0; i < holders.size(); ++i) {
      sum += bytes_of(holders[i].rank);
      const std::uint64_t level = (sum + i) / (i + 1);
      if (i + 1 == holders.size() || level <= bytes_of(holders[i + 1].rank)) return level;
    }
    return sum;
  }

  void divide(const Piece& piece) {
    MARK("plan.piece_divided");
    std::vector<Holding> holders(piece.holders.begin(), piece.holders.end());
    std::ranges::stable_sort(holders, {}, [&](const Holding& holder) { return bytes_of(holder.rank); });
    const std::uint64_t level = std::max({mean_, fullest_, filled_up(holders, piece.bytes())});
    const Box& chunk = piece.item().chunk;
    const std::size_t dim = *row_dimension(chunk);
    const std::uint64_t row_bytes = piece.bytes() / static_cast<std::uint64_t>(chunk.size[dim]);
    const std::uint64_t rows_min = (part_bytes_min + row_bytes - 1) / row_bytes;
    auto left = static_cast<std::uint64_t>(chunk.size[dim]);
    Box box = chunk;
    for (std::size_t i = 0; left > 0; ++i) {
      const std::uint64_t has = bytes_of(holders[i].rank);
      std::uint64_t rows = std::max(rows_min, level > has ? (level - has) / row_bytes : 0);
      if (i + 1 == holders.size() || rows >= left || left - rows < rows_min) rows = left;
      box.size[dim] = static_cast<std::int64_t>(rows);
      give(holders[i], box, rows * row_bytes);
      box.offset[dim] += box.size[dim];
      left -= rows;
    }
  }

  std::vector<std::uint64_t> bytes_;
  std::uint64_t mean_ = 0;
  std::uint64_t fullest_ = 0;
  std::vector<Share> shares_;
};

std::vector<Share> deal(std::vector<Piece>& pieces, DedupPolicy policy, std::vector<std::uint64_t> bytes) {
  Dealer dealer(std::move(bytes), pieces);
  const auto simple = [&](const Piece& piece) { return piece.holders.size() == 1 || policy == DedupPolicy::lowest_rank; };
  for (const Piece& piece : pieces) {
    if (simple(piece)) dealer.give(piece, piece.holders.front());
  }
  std::erase_if(pieces, simple);
  std::ranges::stable_sort(pieces, [](const Piece& a, const Piece& b) { return a.bytes() > b.bytes(); });
  for (const Piece& piece : pieces) dealer.give_to_least(piece);
  return dealer.take();
}

WriteItem item_of(const Share& share) {
  WriteItem item = *share.item;
  if (is_bytes(item) || share.box == item.chunk) return item;
  item.type = WriteItemType::shard;
  item.chunk = share.box;
  item.index.offset = share.box.offset;
  return item;
}

/// Leaves in each plan what its shares say, in the order of its own items.
void keep_shares(std::vector<SavePlan>& plans, std::vector<Share> shares) {
  std::ranges::stable_sort(shares, [](const Share& a, const Share& b) { return a.rank != b.rank ? a.rank < b.rank : a.item < b.item; });
  std::size_t at = 0;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    std::vector<WriteItem> kept;
    for (; at < shares.size() && shares[at].rank.value == static_cast<std::int32_t>(r); ++at) kept.push_back(item_of(shares[at]));
    plans[r].items = std::move(kept);
  }
}

}  // namespace

void choose_pieces(std::vector<SavePlan>& plans, std::map<std::string_view, std::vector<Holding>>& groups, DedupPolicy policy,
                   std::vector<std::uint64_t> bytes, Metadata& metadata, Problems& problems) {
  std::vector<Piece> pieces;
  std::size_t number = 0;
  for (auto& [key, holdings] : groups) std::ranges::copy(pieces_of(key, number++, holdings, problems), std::back_inserter(pieces));
  if (problems.count() > 0) return;
  const std::vector<Share> shares = deal(pieces, policy, std::move(bytes));
  std::map<std::string_view, std::vector<Box>> boxes;
  for (const Share& share : shares) boxes[share.item->index.fqn].push_back(share.box);
  for (auto& [key, holdings] : groups) {
    const WriteItem& item = *holdings.front().item;
    if (is_bytes(item)) {
      metadata.entries.emplace(key, BytesMetadata{});
    } else {
      metadata.entries.emplace(key, TensorMetadata{item.dtype, item.shape, ChunkSet(std::move(boxes[key]), item.shape)});
    }
  }
  keep_shares(plans, shares);
}

}  // namespace holdfast::plan

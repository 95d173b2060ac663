#include "model/naive_plan.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <set>

#include "model/held_elements.h"

namespace holdfast::model {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr std::int64_t kib = 1024;
constexpr std::int64_t mib = 1024 * kib;

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// A tensor by rule, and what makes the choice of its writers.
struct Ruled {
  const LayoutItem* item = nullptr;
  Numbers replicated;     ///< axes
  std::int64_t unit = 1;  ///< elements
  std::int64_t line_offset = 0;
  std::int64_t line_run = 1;
};

bool named(const auto& axes, std::size_t axis) { return std::ranges::find(axes, static_cast<int>(axis)) != axes.end(); }

Numbers replicated_by(const MeshLayout& layout) {
  Numbers axes;
  for (std::size_t a = 0; a < layout.placements.size(); ++a) {
    const bool flat = layout.flat && (named(layout.flat->axes, a) || named(layout.flat->inner_axes, a));
    if (std::holds_alternative<Replicate>(layout.placements[a]) && layout.mesh.axes[a].size > 1 && !flat)
      axes.push_back(static_cast<std::int64_t>(a));
  }
  return axes;
}

std::int64_t ranks_along(const Mesh& mesh, const auto& axes) {
  std::int64_t ranks = 1;
  for (const auto axis : axes) ranks *= mesh.axes[static_cast<std::size_t>(axis)].size;
  return ranks;
}

std::int64_t number_along(const Mesh& mesh, const auto& axes, const Numbers& coordinates) {
  std::int64_t number = 0;
  for (const auto axis : axes) {
    const auto a = static_cast<std::size_t>(axis);
    number = number * mesh.axes[a].size + coordinates[a];
  }
  return number;
}

/// Sizes of what the placements leave to position 0.
Numbers part_sizes(const LayoutItem& item) {
  const Numbers origin(item.layout.mesh.axes.size(), 0);
  Numbers sizes;
  for (std::size_t d = 0; d < item.shape.size(); ++d) sizes.push_back(std::ssize(kept_along(item.layout, item.shape, d, origin)));
  return sizes;
}

std::int64_t product(const Numbers& sizes) { return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>()); }

/// Whether the placements join boxes along a dimension other than the first.
bool joins_inner_dimension(const LayoutItem& item) {
  const auto& placements = item.layout.placements;
  for (std::size_t a = 0; a < placements.size(); ++a) {
    if (const auto* segments = std::get_if<Segments>(&placements[a]); segments && segments->dim > 0 && segments->lengths.size() > 1)
      return true;
    const auto* strided = std::get_if<StridedShard>(&placements[a]);
    if (!strided || strided->dim == 0 || strided->split == 1) continue;
    std::int64_t parts = 1;
    for (std::size_t later = a + 1; later < placements.size(); ++later) {
      const auto* shard = std::get_if<Shard>(&placements[later]);
      if (shard && shard->dim == strided->dim) parts *= item.layout.mesh.axes[later].size;
    }
    if (parts == 1 || parts != strided->split) return true;
  }
  return false;
}

std::int64_t unit_of(const LayoutItem& item) {
  const Numbers sizes = part_sizes(item);
  const std::int64_t element = size_bytes(item.dtype);
  const std::int64_t elements = product(sizes);
  const std::int64_t held = item.layout.flat ? std::min(elements, item.layout.flat->run) : elements;
  if (held * element <= 64 * kib || joins_inner_dimension(item)) return std::max<std::int64_t>(1, elements);
  std::int64_t row = 1;
  for (std::size_t d = sizes.size(); d-- > 1;) {
    if (row * sizes[d] * element > mib) break;
    row *= sizes[d];
  }
  return row * divided_up(64 * kib, row * element);
}

/// All tensors that can be planned by rule: each is on the tables of the ranks that list it the same, nobody lists boxes of it, and of its mesh nobody
/// only announces it.
std::vector<Ruled> ruled_tensors(std::span<const SavePlan> local) {
  std::map<std::string, const LayoutItem*> items;
  std::set<std::string> by_boxes;
  std::set<std::pair<std::string, Rank>> announced;  // that a rank holds nothing
  for (std::size_t r = 0; r < local.size(); ++r) {
    for (const WriteItem& item : local[r].items) {
      const bool announces = item.type == WriteItemType::shard && !item.index.hint && item.chunk.empty();
      if (announces) {
        announced.emplace(item.index.fqn, Rank{static_cast<std::int32_t>(r)});
      } else {
        by_boxes.insert(item.index.fqn);
      }
    }
    if (!local[r].layouts) continue;
    for (const LayoutItem& item : *local[r].layouts) {
      const auto [known, fresh] = items.try_emplace(item.fqn, &item);
      if (!fresh && known->second->layout != item.layout) by_boxes.insert(item.fqn);
    }
  }
  std::vector<Ruled> ruled;
  for (const auto& [name, item] : items) {
    for (std::int64_t p = 0; p < item->layout.mesh.size(); ++p) {
      if (announced.contains({name, item->layout.mesh.rank(p)})) by_boxes.insert(name);
    }
    if (by_boxes.contains(name)) continue;
    ruled.push_back({item, replicated_by(item->layout), unit_of(*item)});
  }
  return ruled;
}

/// Lays the tensors that share a line end to end.
void lay_on_lines(std::vector<Ruled>& ruled) {
  for (Ruled& tensor : ruled) {
    std::int64_t length = 0;
    for (const Ruled& other : ruled) {
      const bool line = !other.item->layout.flat && !other.replicated.empty() && other.item->layout.mesh == tensor.item->layout.mesh &&
                        other.replicated == tensor.replicated && size_bytes(other.item->dtype) == size_bytes(tensor.item->dtype);
      if (!line) continue;
      if (&other == &tensor) tensor.line_offset = length;
      length += product(part_sizes(*other.item));
    }
    tensor.line_run = std::max<std::int64_t>(1, divided_up(length, ranks_along(tensor.item->layout.mesh, tensor.replicated)));
  }
}

/// Part of a tensor in the order of a rank's memory: runs of consecutive elements.
struct Part {
  struct Run {
    std::int64_t at = 0;  ///< in the part
    std::int64_t begin = 0;
    std::int64_t length = 0;
  };
  std::vector<Run> runs;
  std::int64_t elements = 0;

  void add(std::int64_t begin, std::int64_t length) {
    if (!runs.empty() && runs.back().begin + runs.back().length == begin) {
      runs.back().length += length;
    } else if (length > 0) {
      runs.push_back({elements, begin, length});
    }
    elements += length;
  }
  /// Elements [from, to) of the part.
  void give(std::int64_t from, std::int64_t to, Rank rank, std::vector<WrittenRun>& out) const {
    auto run = std::ranges::upper_bound(runs, from, {}, &Run::at);
    if (run != runs.begin()) --run;
    for (; run != runs.end() && run->at < to; ++run) {
      const std::int64_t first = std::max(from - run->at, std::int64_t{0});
      const std::int64_t last = std::min(to - run->at, run->length);
      if (first < last) out.push_back({run->begin + first, run->begin + last, rank});
    }
  }
};

/// Rows one by one; in a row, the coordinates that follow each other.
Part part_at(const LayoutItem& item, const Numbers& coordinates) {
  Part part;
  std::vector<Numbers> kept;
  for (std::size_t d = 0; d < item.shape.size(); ++d) kept.push_back(kept_along(item.layout, item.shape, d, coordinates));
  if (kept.empty()) {
    part.add(0, 1);
    return part;
  }
  if (std::ranges::any_of(kept, [](const Numbers& numbers) { return numbers.empty(); })) return part;
  const Numbers row = kept.back();
  kept.pop_back();
  Numbers at(kept.size(), 0);
  while (true) {
    std::int64_t begin = 0;
    for (std::size_t d = 0; d < kept.size(); ++d) begin = begin * item.shape[d] + kept[d][static_cast<std::size_t>(at[d])];
    begin *= item.shape.back();
    for (std::size_t i = 0; i < row.size();) {
      std::size_t end = i + 1;
      while (end < row.size() && row[end] == row[end - 1] + 1) ++end;
      part.add(begin + row[i], static_cast<std::int64_t>(end - i));
      i = end;
    }
    std::size_t d = kept.size();
    while (d > 0 && ++at[d - 1] == std::ssize(kept[d - 1])) at[--d] = 0;
    if (d == 0) return part;
  }
}

/// The first element of [from, to) for which `reached` holds, which it does from there on; `to` if none.
std::int64_t first_that(std::int64_t from, std::int64_t to, const std::function<bool(std::int64_t)>& reached) {
  while (from < to) {
    const std::int64_t middle = from + (to - from) / 2;
    if (reached(middle)) {
      to = middle;
    } else {
      from = middle + 1;
    }
  }
  return to;
}

/// The last element of the unit that `element` is in.
std::int64_t last_of_unit(std::int64_t element, std::int64_t unit, std::int64_t elements) {
  return std::min((element / unit + 1) * unit, elements) - 1;
}

struct Range {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
/// The elements of `range` whose number is `k`; numbers rise.
Range numbered(Range range, std::int64_t k, const std::function<std::int64_t(std::int64_t)>& number) {
  return {first_that(range.begin, range.end, [&](std::int64_t x) { return number(x) >= k; }),
          first_that(range.begin, range.end, [&](std::int64_t x) { return number(x) > k; })};
}

/// Number of the piece of a run that an element lies in, by the last element of its unit.
std::int64_t piece_of(std::int64_t on_line, std::int64_t run_begin, std::int64_t piece, std::int64_t pieces) {
  return on_line < run_begin ? 0 : std::min(pieces - 1, (on_line - run_begin) / piece);
}

/// What the rank at `coordinates` writes of its part.
Range written_range(const Ruled& tensor, const Part& part, const Numbers& coordinates, WriterChoice choice) {
  const MeshLayout& layout = tensor.item->layout;
  const Mesh& mesh = layout.mesh;
  const std::int64_t all = part.elements;
  Range held{0, all};
  const std::int64_t k = number_along(mesh, tensor.replicated, coordinates);
  const std::int64_t n = ranks_along(mesh, tensor.replicated);
  bool first_writes = choice == WriterChoice::lowest_rank;
  if (layout.flat) {
    const FlatCut& flat = *layout.flat;
    const std::int64_t runs = ranks_along(mesh, flat.axes);
    const std::int64_t run = number_along(mesh, flat.axes, coordinates);
    held =
        numbered(held, run, [&](std::int64_t x) { return std::min(runs - 1, (flat.offset + last_of_unit(x, flat.unit, all)) / flat.run); });
    const auto in_piece = [&](std::int64_t pieces, std::int64_t unit) {
      return [&, pieces, unit](std::int64_t x) {
        return piece_of(flat.offset + last_of_unit(x, unit, all), run * flat.run, divided_up(flat.run, pieces), pieces);
      };
    };
    if (!flat.inner_axes.empty()) {
      held =
          numbered(held, number_along(mesh, flat.inner_axes, coordinates), in_piece(ranks_along(mesh, flat.inner_axes), flat.inner_unit));
      first_writes = true;
    } else if (!first_writes && n > 1) {
      return numbered(held, k, in_piece(n, tensor.unit));
    }
  }
  if (n == 1) return held;
  if (first_writes) return k == 0 ? held : Range{};
  return numbered(
      held, k, [&](std::int64_t x) { return std::min(n - 1, (tensor.line_offset + last_of_unit(x, tensor.unit, all)) / tensor.line_run); });
}

std::vector<WrittenRun> joined(std::vector<WrittenRun> runs) {
  std::ranges::sort(runs, {}, [](const WrittenRun& run) { return std::pair(run.begin, run.end); });
  std::vector<WrittenRun> out;
  for (const WrittenRun& run : runs) {
    if (!out.empty() && out.back().rank == run.rank && out.back().end == run.begin) {
      out.back().end = run.end;
    } else {
      out.push_back(run);
    }
  }
  return out;
}

std::vector<WrittenRun> writers(const Ruled& tensor, WriterChoice choice) {
  const MeshLayout& layout = tensor.item->layout;
  std::map<Numbers, Part> parts;  // by the coordinates that matter to the placements
  std::vector<WrittenRun> runs;
  Numbers coordinates(layout.mesh.axes.size(), 0);
  while (true) {
    Numbers cutting = coordinates;
    std::int64_t rank = layout.mesh.first;
    for (std::size_t a = 0; a < cutting.size(); ++a) {
      if (std::holds_alternative<Replicate>(layout.placements[a])) cutting[a] = 0;
      rank += coordinates[a] * layout.mesh.axes[a].stride;
    }
    auto part = parts.find(cutting);
    if (part == parts.end()) part = parts.emplace(cutting, part_at(*tensor.item, cutting)).first;
    const Range range = written_range(tensor, part->second, coordinates, choice);
    part->second.give(range.begin, range.end, Rank{static_cast<std::int32_t>(rank)}, runs);
    std::size_t a = coordinates.size();
    while (a > 0 && ++coordinates[a - 1] == layout.mesh.axes[a - 1].size) coordinates[--a] = 0;
    if (a == 0) return joined(std::move(runs));
  }
}

void give_box(const Box& box, const Dims& shape, Rank rank, std::vector<WrittenRun>& out) {
  if (box.empty()) return;
  Part part;
  Dims at = box.offset;
  const std::int64_t length = shape.empty() ? 1 : box.size.back();
  for (std::int64_t rows = box.volume() / length; rows > 0; --rows) {
    std::int64_t begin = 0;
    for (std::size_t d = 0; d < shape.size(); ++d) begin = begin * shape[d] + at[d];
    part.add(begin, length);
    for (std::size_t d = shape.size(); d-- > 1;) {
      if (++at[d - 1] < box.offset[d - 1] + box.size[d - 1]) break;
      at[d - 1] = box.offset[d - 1];
    }
  }
  part.give(0, part.elements, rank, out);
}

/// A piece that is listed box by box, and its holders, ascending.
struct Piece {
  const WriteItem* item = nullptr;
  std::vector<Rank> holders;
};

/// Deals out what is listed box by box (impl/plan/pieces.h).
class Dealing {
 public:
  Dealing(std::vector<std::int64_t> bytes, NaivePlan& plan) : bytes_(std::move(bytes)), plan_(plan) {}

  void deal(const std::vector<Piece>& pieces, WriterChoice choice) {
    std::int64_t total = std::accumulate(bytes_.begin(), bytes_.end(), std::int64_t{0});
    for (const Piece& piece : pieces) total += static_cast<std::int64_t>(piece.item->stored_bytes());
    mean_ = divided_up(total, std::ssize(bytes_));
    std::vector<Piece> shared;
    for (const Piece& piece : pieces) {
      if (piece.holders.size() == 1 || choice == WriterChoice::lowest_rank) {
        give(piece, piece.holders.front(), piece.item->chunk);
      } else {
        shared.push_back(piece);
      }
    }
    std::ranges::stable_sort(shared, std::greater(), [](const Piece& piece) { return piece.item->stored_bytes(); });
    for (const Piece& piece : shared) deal(piece);
  }

 private:
  std::int64_t& bytes_of(Rank rank) { return bytes_[static_cast<std::size_t>(rank.value)]; }

  void give(const Piece& piece, Rank rank, const Box& box) {
    if (piece.item->type == WriteItemType::bytes) {
      bytes_of(rank) += static_cast<std::int64_t>(piece.item->nbytes);
      plan_.values[piece.item->index.fqn] = rank;
      return;
    }
    bytes_of(rank) += box.volume() * size_bytes(piece.item->dtype);
    give_box(box, piece.item->shape, rank, plan_.tensors[piece.item->index.fqn]);
  }

  /// The lowest level under which the holders have room for the piece.
  std::int64_t level_for(const Piece& piece) {
    std::int64_t low = 0;
    std::int64_t high = std::ranges::max(bytes_) + static_cast<std::int64_t>(piece.item->stored_bytes());
    return first_that(low, high, [&](std::int64_t level) {
      std::int64_t room = 0;
      for (const Rank holder : piece.holders) room += std::max(std::int64_t{0}, level - bytes_of(holder));
      return room >= static_cast<std::int64_t>(piece.item->stored_bytes());
    });
  }

  void deal(const Piece& piece) {
    const auto size = static_cast<std::int64_t>(piece.item->stored_bytes());
    std::vector<Rank> holders = piece.holders;
    std::ranges::stable_sort(holders, {}, [&](Rank rank) { return bytes_of(rank); });
    std::int64_t level = std::max(mean_, std::ranges::max(bytes_));
    Box box = piece.item->chunk;
    std::size_t dim = 0;
    while (dim < box.size.size() && box.size[dim] <= 1) ++dim;
    if (bytes_of(holders.front()) + size <= level || size < 2 * mib || piece.item->type == WriteItemType::bytes || dim == box.size.size()) {
      return give(piece, holders.front(), box);
    }
    level = std::max(level, level_for(piece));
    std::int64_t left = box.size[dim];
    const std::int64_t row = size / left;
    for (std::size_t i = 0; left > 0; ++i) {
      std::int64_t rows = 0;
      while ((rows + 1) * row <= level - bytes_of(holders[i])) ++rows;
      while (rows * row < mib) ++rows;
      if (rows > left || (left - rows) * row < mib || i + 1 == holders.size()) rows = left;
      box.size[dim] = rows;
      give(piece, holders[i], box);
      box.offset[dim] += rows;
      left -= rows;
    }
  }

  std::vector<std::int64_t> bytes_;
  std::int64_t mean_ = 0;
  NaivePlan& plan_;
};

/// Every plan's items, and the boxes of tensors that are not planned by rule.
std::vector<std::vector<WriteItem>> listed_items(std::span<const SavePlan> local, const std::vector<Ruled>& ruled) {
  std::vector<std::vector<WriteItem>> listed;
  for (std::size_t r = 0; r < local.size(); ++r) {
    auto& items = listed.emplace_back();
    for (WriteItem& item : expand(local[r], Rank{static_cast<std::int32_t>(r)}).items) {
      const auto same = [&](const Ruled& tensor) { return tensor.item->fqn == item.index.fqn; };
      if (std::ranges::none_of(ruled, same)) items.push_back(std::move(item));
    }
  }
  return listed;
}

std::vector<Piece> pieces_of(const std::vector<std::vector<WriteItem>>& listed) {
  std::map<std::pair<std::string, Box>, Piece> pieces;
  std::set<std::string> seen_empty;
  for (std::size_t r = 0; r < listed.size(); ++r) {
    for (const WriteItem& item : listed[r]) {
      const bool empty = item.type != WriteItemType::bytes && item.chunk.empty();
      if (empty && !(whole(item.shape).empty() && seen_empty.insert(item.index.fqn).second)) continue;
      Piece& piece = pieces[{item.index.fqn, item.chunk}];
      if (!piece.item) piece.item = &item;
      piece.holders.push_back(Rank{static_cast<std::int32_t>(r)});
    }
  }
  std::vector<Piece> all;
  for (auto& [key, piece] : pieces) all.push_back(std::move(piece));
  return all;
}

}  // namespace

NaivePlan naive_plan(std::span<const SavePlan> local, WriterChoice choice) {
  NaivePlan plan;
  std::vector<Ruled> ruled = ruled_tensors(local);
  lay_on_lines(ruled);
  std::vector<std::int64_t> bytes(local.size(), 0);
  for (const Ruled& tensor : ruled) {
    plan.tensors[tensor.item->fqn] = writers(tensor, choice);
    const Mesh& mesh = tensor.item->layout.mesh;
    const std::int64_t share = whole(tensor.item->shape).volume() * size_bytes(tensor.item->dtype) / mesh.size();
    for (std::int64_t p = 0; p < mesh.size(); ++p) bytes[static_cast<std::size_t>(mesh.rank(p).value)] += share;
  }
  const auto listed = listed_items(local, ruled);
  Dealing(std::move(bytes), plan).deal(pieces_of(listed), choice);
  for (auto& [name, runs] : plan.tensors) runs = joined(std::move(runs));
  return plan;
}

NaivePlan written_by(std::span<const SavePlan> global) {
  NaivePlan plan;
  for (std::size_t r = 0; r < global.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    for (const WriteItem& item : expand(global[r], rank).items) {
      if (item.type == WriteItemType::bytes) {
        plan.values[item.index.fqn] = rank;
      } else {
        give_box(item.chunk, item.shape, rank, plan.tensors[item.index.fqn]);
      }
    }
  }
  for (auto& [name, runs] : plan.tensors) runs = joined(std::move(runs));
  return plan;
}

}  // namespace holdfast::model

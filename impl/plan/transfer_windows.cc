#include "impl/plan/transfer_windows.h"

#include <algorithm>
#include <tuple>

namespace holdfast::plan {
namespace {

void cut_into(std::vector<Box>& boxes, const Box& box, std::uint32_t element_bytes, std::uint64_t bytes_max) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(box.volume()) * element_bytes;
  const auto outer =
      static_cast<std::size_t>(std::ranges::find_if(box.size, [](std::int64_t size) { return size > 1; }) - box.size.begin());
  if (bytes <= bytes_max || outer == box.size.size()) {
    boxes.push_back(box);
    return;
  }
  const std::uint64_t row_bytes = bytes / static_cast<std::uint64_t>(box.size[outer]);
  const std::int64_t rows = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes_max / row_bytes));
  for (std::int64_t row = 0; row < box.size[outer]; row += rows) {
    Box part = box;
    part.offset[outer] += row;
    part.size[outer] = std::min(rows, box.size[outer] - row);
    cut_into(boxes, part, element_bytes, bytes_max);
  }
}

/// How far one direction of a rank is filled.
struct Fill {
  std::uint64_t window = 0;
  std::uint64_t used = 0;
  std::uint64_t used_in(std::uint64_t of) const { return of == window ? used : 0; }
};

}  // namespace

std::vector<Box> cut_to_fit(const Box& box, std::uint32_t element_bytes, std::uint64_t bytes_max) {
  std::vector<Box> boxes;
  cut_into(boxes, box, element_bytes, bytes_max);
  return boxes;
}

std::uint64_t schedule(std::vector<Move>& moves, std::size_t ranks, std::uint64_t window_bytes) {
  const auto count = static_cast<std::int32_t>(ranks);
  const auto turn = [&](const Move& move) { return std::pair((move.destination.value - move.source.value + count) % count, move.source); };
  std::ranges::stable_sort(moves, {}, turn);
  std::vector<Fill> sends(ranks), receives(ranks);
  std::uint64_t windows = 0;
  for (Move& move : moves) {
    const std::uint64_t room = room_bytes(move.bytes);
    Fill& to = receives[static_cast<std::size_t>(move.destination.value)];
    Fill* from = move.source == move.destination ? nullptr : &sends[static_cast<std::size_t>(move.source.value)];
    std::uint64_t window = from ? std::max(from->window, to.window) : to.window;
    const auto fits = [&](const Fill& fill) { return fill.used_in(window) + room <= window_bytes; };
    if (!fits(to) || (from && !fits(*from))) ++window;
    to = {window, to.used_in(window) + room};
    if (from) *from = {window, from->used_in(window) + room};
    move.window = window;
    windows = std::max(windows, window + 1);
  }
  std::ranges::stable_sort(moves, {}, [](const Move& move) { return std::tuple(move.window, move.source, move.destination); });
  return windows;
}

}  // namespace holdfast::plan

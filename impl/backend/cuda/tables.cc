#include "impl/backend/cuda/tables.h"

#include <algorithm>
#include <bit>

#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {
namespace {

// A share is enough for a block that no time goes with beginning and ending it, and small enough that a large region fills the device several times over.
constexpr std::uint32_t share_words = 4 * block_threads;  // of 16 bytes, or chunks
constexpr std::uint32_t shares_of_region = 2048;
constexpr std::uint64_t run_periods_min = 8;  // of a share: a block of a run reads 64 KiB of keys
constexpr std::uint64_t run_units_min = run_periods_min * key_period;
constexpr std::uint64_t shares_of_run = 1024;
constexpr std::int64_t slab_units_max = std::int64_t{1} << 30;
constexpr std::int64_t chunked_bytes_min = 2 * chunk_bytes_max;  // shorter rows are read unit by unit

template <typename T>
T ceil_divide(T a, T b) {
  return (a + b - 1) / b;
}

std::uint32_t words_of_share(std::uint32_t count) {
  return std::max(share_words, ceil_divide(ceil_divide(count, shares_of_region), block_threads) * block_threads);
}

/// Calls add(first, count) for each share of `count` words.
template <typename Add>
void for_each_share(std::uint32_t count, Add add) {
  const std::uint32_t share = words_of_share(count);
  for (std::uint32_t first = 0; first < count; first += share) add(first, std::min(share, count - first));
}

bool is_row(const Dimension& dimension, std::uint32_t unit_bytes) {
  return dimension.stride_bytes == unit_bytes && dimension.index_stride == 1;
}

std::uint64_t past_chunk(const std::byte* data) { return reinterpret_cast<std::uintptr_t>(data) % chunk_bytes_max; }

template <typename T>
std::byte* append(std::byte* at, const std::vector<T>& values) {
  const std::size_t bytes = values.size() * sizeof(T);
  if (bytes != 0) std::memcpy(at, values.data(), bytes);
  return at + bytes;
}

}  // namespace

void TableBuilder::clear() {
  runs_.clear();
  rows_.clear();
  moves_.clear();
  steps_.clear();
}

void TableBuilder::write(std::byte* image) const { append(append(append(append(image, runs_), rows_), moves_), steps_); }

std::uint32_t TableBuilder::append_steps(std::span<const Dimension> outer) {
  const auto first = static_cast<std::uint32_t>(steps_.size());
  for (const Dimension& dimension : outer) {
    steps_.push_back({make_divisor(static_cast<std::uint32_t>(dimension.size)), dimension.stride_bytes,
                      static_cast<std::uint64_t>(dimension.index_stride)});
  }
  return first;
}

void TableBuilder::digest(std::span<const Dimension> region, const std::byte* data, std::uint64_t index, std::uint32_t unit_bytes,
                          std::uint32_t item) {
  const bool long_rows =
      !region.empty() && is_row(region.back(), unit_bytes) && static_cast<std::uint64_t>(region.back().size) >= run_units_min;
  if (long_rows && region.size() > 1) {
    const Dimension& outer = region.front();
    for (std::int64_t i = 0; i < outer.size; ++i) {
      digest(region.subspan(1), data + i * outer.stride_bytes, index + static_cast<std::uint64_t>(i * outer.index_stride), unit_bytes,
             item);
    }
    return;
  }
  const bool agree = (index * unit_bytes - past_chunk(data)) % chunk_bytes_max == 0;
  if (long_rows && agree) return append_run(data, index, static_cast<std::uint64_t>(region.back().size), unit_bytes, item);
  if (units(region) <= slab_units_max) return append_rows(region, data, index, unit_bytes, item);
  for (const Slab& slab : slabs(Dimensions(region.begin(), region.end()), slab_units_max)) {
    append_rows(slab.dimensions, data + slab.offset_bytes, index + static_cast<std::uint64_t>(slab.index), unit_bytes, item);
  }
}

void TableBuilder::append_run(const std::byte* data, std::uint64_t index, std::uint64_t units, std::uint32_t unit_bytes,
                              std::uint32_t item) {
  const std::uint64_t periods =
      std::clamp<std::uint64_t>(ceil_divide<std::uint64_t>(units / key_period, shares_of_run), run_periods_min, run_periods_max);
  for (std::uint64_t at = index, end = index + units; at < end;) {
    const std::uint64_t next = std::min(end, (at / key_period + periods) * key_period);
    runs_.push_back(
        {reinterpret_cast<const char*>(data + (at - index) * unit_bytes), at, static_cast<std::uint32_t>(next - at), item, unit_bytes});
    at = next;
  }
}

void TableBuilder::append_rows(std::span<const Dimension> region, const std::byte* data, std::uint64_t index, std::uint32_t unit_bytes,
                               std::uint32_t item) {
  const bool in_rows = !region.empty() && is_row(region.back(), unit_bytes);
  const std::span<const Dimension> outer = region.first(region.size() - (in_rows ? 1 : 0));
  const std::int64_t row_units = in_rows ? region.back().size : 1, row_bytes = row_units * unit_bytes;
  const bool chunked = row_bytes >= chunked_bytes_min;
  const bool alike = std::ranges::all_of(outer, [](const Dimension& dimension) { return dimension.stride_bytes % chunk_bytes_max == 0; });
  const auto past = static_cast<std::int64_t>(alike ? past_chunk(data) : chunk_bytes_max - unit_bytes);
  RowsShare share{};
  share.data = reinterpret_cast<const char*>(data);
  share.index = index;
  share.row = make_divisor(static_cast<std::uint32_t>(chunked ? ceil_divide<std::int64_t>(past + row_bytes, chunk_bytes_max) : row_units));
  share.row_units = static_cast<std::uint32_t>(row_units);
  share.steps = append_steps(outer);
  share.dims = static_cast<std::uint32_t>(outer.size());
  share.item = item;
  share.unit_bytes = unit_bytes;
  share.chunk_bytes = chunked ? chunk_bytes_max : unit_bytes;
  for_each_share(static_cast<std::uint32_t>(units(outer)) * share.row.divisor, [&](std::uint32_t first, std::uint32_t count) {
    share.first = first;
    share.count = count;
    rows_.push_back(share);
  });
}

void TableBuilder::move(const Dimensions& region, std::byte* strided, std::byte* packed) {
  const std::uint32_t word = word_bytes(region, strided, packed);
  append_moves(in_words(region, word), word, strided, packed);
}

void TableBuilder::move_packed(std::byte* strided, std::byte* packed, std::size_t bytes) {
  const Dimension run{static_cast<std::int64_t>(bytes), 1, 1};
  const std::uint32_t word = word_bytes({&run, 1}, strided, packed);
  const Dimension words{run.size / word, word, word};
  append_moves({&words, 1}, word, strided, packed);
}

void TableBuilder::append_moves(std::span<const Dimension> words, std::uint32_t word_bytes, std::byte* strided, std::byte* packed) {
  const bool in_rows = !words.empty() && words.back().stride_bytes == word_bytes;
  const std::span<const Dimension> outer = words.first(words.size() - (in_rows ? 1 : 0));
  MoveShare share{};
  share.strided = reinterpret_cast<char*>(strided);
  share.packed = reinterpret_cast<char*>(packed);
  share.row = make_divisor(in_rows ? static_cast<std::uint32_t>(words.back().size) : 1);
  share.steps = append_steps(outer);
  share.dims = static_cast<std::uint32_t>(outer.size());
  share.word_bytes = word_bytes;
  if (MUTATE("cuda.wrong_pitch", false, outer.size() == 1)) steps_.back().stride_bytes = share.row.divisor * word_bytes;
  for_each_share(static_cast<std::uint32_t>(units(words)), [&](std::uint32_t first, std::uint32_t count) {
    share.first = first;
    share.count = count;
    moves_.push_back(share);
  });
}

}  // namespace holdfast::backend::cuda

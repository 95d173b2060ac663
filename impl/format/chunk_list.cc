#include "impl/format/chunk_list.h"

#include <algorithm>
#include <array>

#include "impl/core/check.h"

namespace holdfast::format {
namespace {

/// What is left of a box in one dimension.
struct Range {
  std::int64_t begin = 0;
  std::int64_t size = 0;
  std::int64_t end() const { return begin + size; }
};

// How a range follows from the one before it, in the same dimension. Ranks next to each other hold boxes that continue each other, fill
// rows to their end or repeat a column, so that of the four numbers of a matrix's box hardly more than one has to be told.
enum Begin : std::uint8_t { begin_same = 0, begin_at_end = 1, begin_at_0 = 2, begin_told = 3 };
enum Size : std::uint8_t { size_same = 0, size_to_same_end = 1, size_to_extent = 2, size_told = 3 };

Begin begin_code(const Range& range, const Range& before) {
  return range.begin == before.begin ? begin_same : range.begin == before.end() ? begin_at_end : range.begin == 0 ? begin_at_0 : begin_told;
}
Size size_code(const Range& range, const Range& before, std::int64_t extent) {
  return range.size == before.size     ? size_same
         : range.end() == before.end() ? size_to_same_end
         : range.end() == extent       ? size_to_extent
                                       : size_told;
}

using Ranges = boost::container::small_vector<Range, 4>;

void put_box(Encoder& out, const Box& box, const Dims& shape, Ranges& before) {
  Encoder told;
  std::uint8_t codes = 0;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const Range range{box.offset[d], box.size[d]};
    const Begin begin = begin_code(range, before[d]);
    const Size size = size_code(range, before[d], shape[d]);
    if (begin == begin_told) told.varint(static_cast<std::uint64_t>(range.begin));
    if (size == size_told) told.varint(static_cast<std::uint64_t>(range.size));
    codes = static_cast<std::uint8_t>(codes | (begin | size << 2) << (d % 2 * 4));
    if (d % 2 == 1 || d + 1 == shape.size()) out.u8(std::exchange(codes, std::uint8_t{0}));
    before[d] = range;
  }
  out.raw(told.bytes());
}

/// A number that is told; anything over `most` is refused by the caller's look at the range.
Result<std::int64_t> take_number(Decoder& in, std::int64_t most) {
  return static_cast<std::int64_t>(std::min(TRY(in.varint()), static_cast<std::uint64_t>(most) + 1));
}

Result<Range> take_range(Decoder& in, unsigned code, const Range& before, std::int64_t extent) {
  Range range;
  switch (code & 3) {
    case begin_same: range.begin = before.begin; break;
    case begin_at_end: range.begin = before.end(); break;
    case begin_at_0: range.begin = 0; break;
    default: range.begin = TRY(take_number(in, extent));
  }
  switch (code >> 2) {
    case size_same: range.size = before.size; break;
    case size_to_same_end: range.size = before.end() - range.begin; break;
    case size_to_extent: range.size = extent - range.begin; break;
    default: range.size = TRY(take_number(in, extent));
  }
  if (range.begin > extent || range.size < 0 || range.size > extent - range.begin) {
    return fail(ErrorCode::corrupt, "{}+{} of {} elements", range.begin, range.size, extent);
  }
  return range;
}

Status take_box(Decoder& in, const Dims& shape, Ranges& before, Box& box) {
  const ByteView codes = TRY(in.raw((shape.size() + 1) / 2));
  for (std::size_t d = 0; d < shape.size(); ++d) {
    const unsigned code = std::to_integer<unsigned>(codes[d / 2]) >> (d % 2 * 4) & 15;
    before[d] = TRY(take_range(in, code, before[d], shape[d]));
    box.offset[d] = before[d].begin;
    box.size[d] = before[d].size;
  }
  return {};
}

}  // namespace

void put_chunk_list(Encoder& out, const Dims& shape, const ChunkSet& chunks, std::span<const std::uint32_t> segments) {
  std::vector<std::pair<std::uint32_t, Box>> list;
  chunks.for_each([&](ChunkSet::Id id, const Box& box) {
    CHECK(in_bounds(box, shape), "box {} outside shape {}", to_string(box), to_string({shape.data(), shape.size()}));
    list.emplace_back(segments[id], box);
  });
  std::ranges::sort(list, {}, &std::pair<std::uint32_t, Box>::first);
  Ranges before(shape.size());
  std::uint32_t next = 0;
  for (const auto& [segment, box] : list) {
    CHECK(segment >= next, "two chunks of a tensor in segment {}", segment);
    out.varint(segment - next);
    put_box(out, box, shape, before);
    next = segment + 1;
  }
}

Status take_chunk_list(Decoder& in, const Dims& shape, std::uint64_t count, std::uint64_t segment_count,
                       const std::function<void(std::uint32_t segment, const Box& box)>& visit) {
  Ranges before(shape.size());
  Box box{Dims(shape.size(), 0), Dims(shape.size(), 0)};
  std::uint64_t next = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t skipped = TRY(in.varint());
    if (skipped >= segment_count - next) {
      return fail(ErrorCode::corrupt, "chunk {} in segment {} + {} of {}", i, next, skipped, segment_count);
    }
    if (const Status sound = take_box(in, shape, before, box); !sound) return fail(within(sound.error(), "chunk {}", i));
    visit(static_cast<std::uint32_t>(next + skipped), box);
    next += skipped + 1;
  }
  return {};
}

void put_segments(Encoder& out, std::span<const std::uint32_t> segments) {
  out.varint(segments[0]);
  for (std::size_t i = 1; i < segments.size();) {
    const std::int64_t step = std::int64_t{segments[i]} - segments[i - 1];
    CHECK(step != 0, "two chunks of a tensor in segment {}", segments[i]);
    std::size_t length = 1;
    while (i + length < segments.size() && std::int64_t{segments[i + length]} - segments[i + length - 1] == step) ++length;
    out.signed_varint(step);
    out.varint(length);
    i += length;
  }
}

Status take_segments(Decoder& in, std::uint64_t count, std::uint64_t segment_count,
                     const std::function<void(std::int64_t first, std::int64_t step, std::uint64_t length)>& visit) {
  const std::uint64_t first = TRY(in.varint());
  if (first >= segment_count) return fail(ErrorCode::corrupt, "chunk 0 in segment {} of {}", first, segment_count);
  visit(static_cast<std::int64_t>(first), 0, 1);
  auto last = static_cast<std::int64_t>(first);
  const auto limit = static_cast<std::int64_t>(segment_count);
  for (std::uint64_t done = 1; done < count;) {
    const std::int64_t step = TRY(in.signed_varint());
    const std::uint64_t length = TRY(in.varint());
    const bool fits = length >= 1 && length <= count - done && step != 0 && step > -limit && step < limit;
    const std::int64_t steps_max = !fits ? 0 : step > 0 ? (limit - 1 - last) / step : last / -step;
    if (!fits || length > static_cast<std::uint64_t>(steps_max)) {
      return fail(ErrorCode::corrupt, "chunks {} to {} in steps of {} from segment {} of {}", done, done + length - 1, step, last,
                  segment_count);
    }
    visit(last + step, step, length);
    last += step * static_cast<std::int64_t>(length);
    done += length;
  }
  return {};
}

}  // namespace holdfast::format

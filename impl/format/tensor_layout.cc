#include "impl/format/tensor_layout.h"

#include <limits>

#include "impl/core/check.h"
#include "impl/core/layout.h"
#include "impl/format/manifest_layout.h"

namespace holdfast::format {
namespace {

namespace at = manifest_layout;

Result<std::int64_t> size_from(Decoder& in) {
  const std::uint64_t value = TRY(in.varint());
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return fail(ErrorCode::corrupt, "{} is no size in elements", value);
  }
  return static_cast<std::int64_t>(value);
}

Result<Dims> dims_from(Decoder& in, std::size_t count) {
  Dims dims;
  for (std::size_t d = 0; d < count; ++d) dims.push_back(TRY(size_from(in)));
  return dims;
}

Result<ChunkSet::Grid> grid_from(Decoder& in, const Dims& shape, std::uint64_t chunks) {
  const std::uint64_t dim = TRY(in.varint());
  const std::uint64_t count = TRY(in.varint());
  const bool sound = dim < shape.size() && count == chunks && count >= 1 && count <= std::numeric_limits<std::uint32_t>::max() &&
                     volume({shape.data(), shape.size()}) != 0;
  if (sound) {
    const auto pieces = static_cast<std::int64_t>(count);
    const std::int64_t extent = shape[dim];
    if (pieces <= extent && chunk_split(extent, pieces).size(pieces - 1) > 0) {
      return ChunkSet::Grid{shape, static_cast<std::uint32_t>(dim), static_cast<std::uint32_t>(count)};
    }
  }
  return fail(ErrorCode::corrupt, "a grid of {} pieces along dimension {} for {} chunks of shape {}", count, dim, chunks,
              to_string({shape.data(), shape.size()}));
}

/// on_box sees the boxes, when the layout has any; the chunks of the returned value are set for a grid only.
template <typename OnBox>
Result<TensorMetadata> layout_from(Decoder& in, std::uint64_t chunks, OnBox&& on_box) {
  const std::uint8_t code = TRY(in.u8());
  const auto dtype = dtype_from_code(code);
  if (!dtype) return fail(ErrorCode::corrupt, "dtype code {}", code);
  const std::uint64_t count = TRY(in.varint());
  if (count > at::dims_max) return fail(ErrorCode::corrupt, "{} dimensions", count);
  TensorMetadata metadata{*dtype, TRY(dims_from(in, count)), {}};
  if (!checked_volume({metadata.shape.data(), metadata.shape.size()})) {
    return fail(ErrorCode::corrupt, "shape {} overflows", to_string({metadata.shape.data(), metadata.shape.size()}));
  }
  const std::uint8_t kind = TRY(in.u8());
  if (kind == at::layout_grid) {
    metadata.chunks = ChunkSet(TRY(grid_from(in, metadata.shape, chunks)));
    return metadata;
  }
  if (kind != at::layout_boxes) return fail(ErrorCode::corrupt, "layout kind {}", kind);
  Box previous;
  for (std::uint64_t i = 0; i < chunks; ++i) {
    Box box{TRY(dims_from(in, count)), TRY(dims_from(in, count))};
    if (!in_bounds(box, metadata.shape) || (i != 0 && !(previous < box))) {
      return fail(ErrorCode::corrupt, "chunk {}, box {}, lies outside shape {} or is out of order", i, to_string(box),
                  to_string({metadata.shape.data(), metadata.shape.size()}));
    }
    previous = box;
    on_box(std::move(box));
  }
  return metadata;
}

}  // namespace

void put_layout(Encoder& out, const TensorMetadata& metadata) {
  CHECK(metadata.shape.size() <= at::dims_max, "a tensor of {} dimensions", metadata.shape.size());
  const auto put = [&](const Dims& dims) {
    for (const std::int64_t value : dims) out.varint(static_cast<std::uint64_t>(value));
  };
  out.u8(static_cast<std::uint8_t>(metadata.dtype));
  out.varint(metadata.shape.size());
  put(metadata.shape);
  if (const ChunkSet::Grid* grid = metadata.chunks.grid()) {
    CHECK(grid->shape == metadata.shape, "a grid of another shape");
    out.u8(at::layout_grid);
    out.varint(grid->dim);
    out.varint(grid->count);
    return;
  }
  out.u8(at::layout_boxes);
  for (std::size_t i = 0; i < metadata.chunks.size(); ++i) {
    const Box box = metadata.chunks.box(i);
    CHECK(in_bounds(box, metadata.shape), "box {} outside shape {}", to_string(box),
          to_string({metadata.shape.data(), metadata.shape.size()}));
    put(box.offset);
    put(box.size);
  }
}

Result<TensorMetadata> take_layout(Decoder& in, std::uint64_t chunks) {
  std::vector<Box> boxes;
  TensorMetadata metadata = TRY(layout_from(in, chunks, [&](Box&& box) { boxes.push_back(std::move(box)); }));
  if (!metadata.chunks.grid()) metadata.chunks = ChunkSet(std::move(boxes), metadata.shape);
  return metadata;
}

Status check_layout(Decoder& in, std::uint64_t chunks) {
  TRY(layout_from(in, chunks, [](Box&&) {}));
  return {};
}

}  // namespace holdfast::format

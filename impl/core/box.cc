#include "impl/core/box.h"

#include <algorithm>
#include <tuple>

#include "impl/core/check.h"

namespace holdfast {

std::int64_t volume(std::span<const std::int64_t> sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) product *= size;
  return product;
}

Result<std::int64_t> checked_volume(std::span<const std::int64_t> sizes) {
  constexpr std::int64_t limit = std::int64_t{1} << 62;
  std::int64_t product = 1;
  bool zero = false;
  for (const std::int64_t size : sizes) {
    if (size < 0) return fail(ErrorCode::invalid_argument, "shape {}: a negative size", to_string(sizes));
    zero |= size == 0;
    if (!zero && product > limit / size) return fail(ErrorCode::invalid_argument, "shape {}: over 2^62 elements", to_string(sizes));
    if (!zero) product *= size;
  }
  return zero ? 0 : product;
}

std::string to_string(std::span<const std::int64_t> dims) { return fmt::format("[{}]", fmt::join(dims, ",")); }

bool operator<(const Box& a, const Box& b) { return std::tie(a.offset, a.size) < std::tie(b.offset, b.size); }

Box whole(const Dims& shape) { return {Dims(shape.size(), 0), shape}; }

std::optional<Box> intersection(const Box& a, const Box& b) {
  CHECK(a.size.size() == b.size.size(), "boxes {} and {} have different dimensions", to_string(a), to_string(b));
  Box common{a.offset, a.size};
  for (std::size_t d = 0; d < a.size.size(); ++d) {
    const std::int64_t begin = std::max(a.offset[d], b.offset[d]);
    const std::int64_t end = std::min(a.offset[d] + a.size[d], b.offset[d] + b.size[d]);
    if (end <= begin) return std::nullopt;
    common.offset[d] = begin;
    common.size[d] = end - begin;
  }
  return common;
}

bool contains(const Box& outer, const Box& inner) {
  CHECK(outer.size.size() == inner.size.size(), "boxes {} and {} have different dimensions", to_string(outer), to_string(inner));
  for (std::size_t d = 0; d < outer.size.size(); ++d) {
    if (inner.offset[d] < outer.offset[d] || inner.offset[d] + inner.size[d] > outer.offset[d] + outer.size[d]) return false;
  }
  return true;
}

bool in_bounds(const Box& box, const Dims& shape) {
  if (box.offset.size() != shape.size() || box.size.size() != shape.size()) return false;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (box.offset[d] < 0 || box.size[d] < 0 || box.size[d] > shape[d] || box.offset[d] > shape[d] - box.size[d]) return false;
  }
  return true;
}

std::string to_string(const Box& box) {
  return to_string({box.offset.data(), box.offset.size()}) + "+" + to_string({box.size.data(), box.size.size()});
}

}  // namespace holdfast

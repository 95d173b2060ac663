#include "impl/spec/axes.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::spec {

Axes::Axes(const MeshSpec& mesh, std::span<const MeshDim> dims) : mesh_name_(mesh.name), flattened_(mesh.flattened) {
  std::int64_t stride = 1;
  for (std::size_t d = dims.size(); d-- > 0;) {
    if (dims[d].size > 1) axes_.insert(axes_.begin(), {dims[d].name, {dims[d].size, stride}, Replicate{}, false});
    stride *= dims[d].size;
  }
}

std::size_t Axes::find(const std::string& name) const {
  return static_cast<std::size_t>(std::ranges::find(axes_, name, &Axis::name) - axes_.begin());
}

std::vector<std::string> Axes::parts_of(const std::string& dim) const {
  const auto flattened = std::ranges::find(flattened_, dim, &MeshSpec::Flattened::name);
  return flattened == flattened_.end() ? std::vector{dim} : flattened->dims;
}

std::int64_t Axes::size(const std::string& dim) const {
  std::int64_t ranks = 1;
  for (const std::string& part : parts_of(dim)) {
    if (const std::size_t a = find(part); a < axes_.size()) ranks *= axes_[a].axis.size;
  }
  return ranks;
}

void Axes::fix(const std::string& dim, std::int64_t coordinate) {
  const std::size_t a = find(dim);
  if (a == axes_.size()) return;
  first_ += coordinate * axes_[a].axis.stride;
  axes_.erase(axes_.begin() + static_cast<std::ptrdiff_t>(a));
}

Result<std::size_t> Axes::merge(const std::string& dim) {
  std::size_t at = axes_.size();
  for (const std::string& part : parts_of(dim)) {
    const std::size_t a = find(part);
    if (a == axes_.size()) continue;
    if (at == axes_.size()) {
      at = a;
      continue;
    }
    if (axes_[at].axis.stride != axes_[a].axis.stride * axes_[a].axis.size || axes_[a].placed || axes_[at].placed) {
      return fail(ErrorCode::invalid_argument, "mesh \"{}\": {} and {} are no neighbours that could be cut as one {}", mesh_name_,
                  axes_[at].name, axes_[a].name, dim);
    }
    axes_[at].axis = {axes_[at].axis.size * axes_[a].axis.size, axes_[a].axis.stride};
    axes_.erase(axes_.begin() + static_cast<std::ptrdiff_t>(a));
  }
  return at;
}

Status Axes::cut(const std::string& dim, Placement placement) {
  const std::size_t a = TRY(merge(dim));
  if (a == axes_.size()) return {};
  if (axes_[a].placed) return fail(ErrorCode::invalid_argument, "mesh \"{}\": {} is cut twice", mesh_name_, axes_[a].name);
  axes_[a].placement = std::move(placement);
  axes_[a].placed = true;
  return {};
}

Status Axes::cut_repeated(const std::string& dim, std::int64_t parts, Placement placement) {
  const std::size_t a = TRY(merge(dim));
  CHECK(a < axes_.size() && axes_[a].axis.size % parts == 0, "{} repeated parts along {}", parts, dim);
  const MeshAxis axis = axes_[a].axis;
  const std::int64_t neighbours = axis.size / parts;
  const Axis inner{axes_[a].name, {neighbours, axis.stride}, Replicate{}, true};
  axes_[a] = {axes_[a].name, {parts, axis.stride * neighbours}, std::move(placement), true};
  axes_.insert(axes_.begin() + static_cast<std::ptrdiff_t>(a) + 1, inner);
  return {};
}

MeshLayout Axes::layout() const {
  MeshLayout layout;
  layout.mesh.first = first_;
  for (const Axis& axis : axes_) {
    if (axis.axis.size == 1) continue;
    layout.mesh.axes.push_back(axis.axis);
    layout.placements.push_back(axis.placement);
  }
  return layout;
}

std::vector<int> Axes::numbers(const std::string& dim) const {
  std::vector<int> numbers;
  for (const std::string& part : parts_of(dim)) {
    int number = 0;
    for (const Axis& axis : axes_) {
      if (axis.axis.size == 1) continue;
      if (axis.name == part && !axis.placed) numbers.push_back(number);
      ++number;
    }
  }
  return numbers;
}

std::vector<std::string> Axes::uncut() const {
  std::vector<std::string> names;
  for (const Axis& axis : axes_) {
    if (!axis.placed) names.push_back(axis.name);
  }
  return names;
}

}  // namespace holdfast::spec

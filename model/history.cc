#include "model/history.h"

#include <algorithm>

#include "impl/core/check.h"

namespace holdfast::model {

std::size_t History::position(std::string_view name) const {
  const auto found = std::ranges::find(saves_, name, &Save::name);
  CHECK(found != saves_.end(), "save \"{}\" was never begun", name);
  return static_cast<std::size_t>(found - saves_.begin());
}

void History::begin(std::string name) {
  CHECK(std::ranges::count(saves_, name, &Save::name) == 0, "save \"{}\" has begun already", name);
  saves_.push_back({std::move(name)});
}

void History::acknowledge(std::string_view name) { saves_[position(name)].state = State::acknowledged; }

void History::refute(std::string_view name) {
  Save& save = saves_[position(name)];
  CHECK(save.state != State::acknowledged, "save \"{}\" was acknowledged before it failed", name);
  save.state = State::refuted;
}

void History::crash() {
  for (Save& save : saves_) {
    if (save.state == State::under_way) save.state = State::ended_by_crash;
  }
}

std::size_t History::first_loadable() const {
  for (std::size_t i = saves_.size(); i-- > 0;) {
    if (saves_[i].state == State::acknowledged) return i;
  }
  return 0;
}

std::vector<std::string> History::loadable() const {
  std::vector<std::string> names;
  for (std::size_t i = first_loadable(); i < saves_.size(); ++i) {
    if (saves_[i].state != State::refuted) names.push_back(saves_[i].name);
  }
  return names;
}

bool History::may_be_empty() const { return std::ranges::count(saves_, State::acknowledged, &Save::state) == 0; }

void History::refute_ended_from(std::size_t position) {
  for (std::size_t i = position; i < saves_.size(); ++i) {
    if (saves_[i].state == State::ended_by_crash) saves_[i].state = State::refuted;
  }
}

bool History::observe(std::string_view name) {
  const std::vector<std::string> allowed = loadable();
  if (std::ranges::find(allowed, name) == allowed.end()) return false;
  const std::size_t seen = position(name);
  saves_[seen].state = State::acknowledged;
  refute_ended_from(seen + 1);
  return true;
}

bool History::observe_none() {
  if (!may_be_empty()) return false;
  refute_ended_from(0);
  return true;
}

}  // namespace holdfast::model

// Random choices from a seed, the same on every machine, for what is drawn without RapidCheck.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>

namespace holdfast::properties::gen {

/// SplitMix64.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed) {}
  /// 0 to bound - 1. Requires: bound > 0.
  template <std::integral T>
  T below(T bound) {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return static_cast<T>((x ^ (x >> 31)) % static_cast<std::uint64_t>(bound));
  }
  bool one_in(std::int64_t n) { return below(n) == 0; }
  template <typename T>
  T of(std::initializer_list<T> values) {
    return *(values.begin() + below(static_cast<std::int64_t>(values.size())));
  }

 private:
  std::uint64_t state_;
};

}  // namespace holdfast::properties::gen

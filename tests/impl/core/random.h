// A deterministic stream of test data, the same on every machine (SplitMix64).
#pragma once

#include <cstdint>

#include "impl/core/bytes.h"

namespace holdfast::testing {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
  }
  /// 0 to bound - 1.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  Bytes bytes(std::size_t size) {
    Bytes result(size);
    for (std::byte& byte : result) byte = static_cast<std::byte>(next());
    return result;
  }

 private:
  std::uint64_t state_;
};

}  // namespace holdfast::testing

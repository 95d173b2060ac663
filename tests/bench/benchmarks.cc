// What holdfast-bench measures.
#include <array>

#include "tests/bench/bench.h"

namespace holdfast::bench {

std::span<const Benchmark> benchmarks() {
  static constexpr std::array all{Benchmark{"format", bench_format}, Benchmark{"io", bench_io}, Benchmark{"plan", bench_plan},
                                  Benchmark{"sim", bench_sim}, Benchmark{"storage", bench_storage}};
  return all;
}

}  // namespace holdfast::bench

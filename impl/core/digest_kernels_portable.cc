#include "impl/core/digest_rows.h"

namespace holdfast::digest_kernels {
namespace {

struct Scalar {
  static constexpr std::uint64_t width = 1;
  using Sum = std::uint64_t;
  using Key = std::uint64_t;
  static Sum zero() { return 0; }
  static Key load_key(const std::uint64_t* key) { return *key; }
  template <typename Word>
  static std::uint64_t load_units(const std::byte* data) {
    Word word;
    __builtin_memcpy(&word, data, sizeof(Word));
    return word;
  }
  static void add_product(Sum& sum, std::uint64_t unit, Key key) { sum += unit * key; }
  static std::uint64_t total(Sum sum) { return sum; }
};

}  // namespace

constinit const Table portable = make_table<Scalar>();

}  // namespace holdfast::digest_kernels

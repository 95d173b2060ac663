#include "properties/gen/drawn_case.h"

#include <rapidcheck.h>

#include <algorithm>
#include <ostream>

#include "impl/core/check.h"
#include "properties/gen/layouts.h"

namespace holdfast::properties::gen {
namespace {

/// Tensors of 0 to 5 dimensions.
rc::Gen<Dims> shapes() {
  return rc::gen::exec([] {
    Dims shape;
    const int dims = *rc::gen::weightedElement<int>({{2, 0}, {6, 1}, {8, 2}, {4, 3}, {2, 4}, {1, 5}});
    for (int d = 0; d < dims; ++d)
      shape.push_back(*rc::gen::weightedElement<std::int64_t>({{1, 0}, {3, 1}, {4, 2}, {4, 3}, {3, 5}, {2, 8}, {dims < 4 ? 2u : 0u, 13}}));
    return shape;
  });
}

std::vector<Rank> draw_ranks(int world_size) {
  std::vector<Rank> ranks;
  const int always = *rc::gen::inRange(0, world_size);
  for (int r = 0; r < world_size; ++r) {
    if (r == always || *rc::gen::inRange(0, 3) == 0) ranks.push_back(Rank{r});
  }
  return ranks;
}

StateSpec draw_tensors(int world_size) {
  StateSpec spec;
  spec.world_size = world_size;
  const int tensors = *rc::gen::inRange(0, 6);
  for (int t = 0; t < tensors; ++t) {
    TensorSpec tensor;
    tensor.name = fmt::format("layers.{}.weight", t);
    tensor.dtype = *rc::gen::elementOf(std::vector<DType>(all_dtypes().begin(), all_dtypes().end()));
    tensor.shape = *shapes();
    tensor.layout = draw_layout(tensor.shape, world_size);
    tensor.row_gap = *rc::gen::inRange(0, 3);
    spec.tensors.push_back(std::move(tensor));
  }
  const int values = *rc::gen::inRange(0, 3);
  for (int v = 0; v < values; ++v)
    spec.values.push_back({fmt::format("trainer.{}", v), static_cast<std::uint32_t>(*rc::gen::inRange(0, 200))});
  return spec;
}

rc::Gen<DrawnCase> drawn_cases(int ranks_max) {
  return rc::gen::exec([ranks_max] {
    DrawnCase drawn;
    const int world_size = *rc::gen::inRange(1, ranks_max + 1);
    const int load_world_size = *rc::gen::inRange(1, ranks_max + 1);
    drawn.saved = draw_tensors(world_size);
    drawn.loaded = drawn.saved;
    drawn.loaded.world_size = load_world_size;
    for (TensorSpec& tensor : drawn.loaded.tensors) tensor.layout = draw_layout(tensor.shape, load_world_size);
    drawn.coordinator = Rank{*rc::gen::inRange(0, world_size)};
    drawn.load_coordinator = Rank{*rc::gen::inRange(0, load_world_size)};
    drawn.chosen = draw_ranks(world_size);
    drawn.load_chosen = draw_ranks(load_world_size);
    drawn.block_bytes = *rc::gen::elementOf(std::vector<std::uint32_t>{16, 27, 64, 100, 512, 4096});
    drawn.seed = static_cast<std::uint64_t>(*rc::gen::inRange(0, 1 << 30));
    return drawn;
  });
}

}  // namespace

std::string show(const DrawnCase& drawn) {
  return fmt::format(
      "save: {}\ncoordinator {}, chosen ranks {}, blocks of {} bytes, schedule seed {}\nload: {}\ncoordinator {}, chosen ranks {}",
      show(drawn.saved), drawn.coordinator, fmt::join(drawn.chosen, ","), drawn.block_bytes, drawn.seed, show(drawn.loaded),
      drawn.load_coordinator, fmt::join(drawn.load_chosen, ","));
}

/// RapidCheck prints with it.
std::ostream& operator<<(std::ostream& out, const DrawnCase& drawn) { return out << show(drawn); }

Outcome for_all(const DrawOptions& options, const std::function<std::optional<std::string>(const DrawnCase&)>& holds) {
  Outcome outcome;
  // The last failing case that is tried is the smallest found: shrinking only ever goes on from a failure.
  const auto property = [&] {
    const DrawnCase drawn = *rc::gen::resize(100, drawn_cases(options.ranks_max));
    const std::optional<std::string> wrong = holds(drawn);
    if (!wrong) return;
    outcome.failure = *wrong;
    outcome.counterexample = show(drawn);
    RC_FAIL(*wrong);
  };
  rc::detail::TestParams params;
  params.seed = options.seed;
  params.maxSuccess = static_cast<int>(options.cases);
  params.maxSize = 100;
  params.disableShrinking = !options.shrink;
  const rc::detail::TestResult result = rc::detail::checkTestable(property, rc::detail::TestMetadata(), params);
  rc::detail::SuccessResult success;
  if (result.match(success)) {
    outcome.cases = static_cast<std::uint64_t>(success.numSuccess);
    CHECK(outcome.cases == options.cases, "{} cases ran of {}", outcome.cases, options.cases);
    return outcome;
  }
  rc::detail::FailureResult failure;
  rc::detail::Error error;
  if (result.match(failure)) outcome.cases = static_cast<std::uint64_t>(failure.numSuccess);
  if (result.match(error)) outcome.failure = error.description;
  if (outcome.failure.empty()) outcome.failure = "RapidCheck gave up before all cases were drawn";
  return outcome;
}

}  // namespace holdfast::properties::gen

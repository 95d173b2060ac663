// Layouts: what a rule of a few numbers says a rank holds is what counting element by element says.
#include <algorithm>

#include "impl/core/mark.h"
#include "impl/core/memory.h"
#include "model/held_elements.h"
#include "properties/job.h"
#include "properties/on_ranks.h"
#include "properties/property.h"

namespace holdfast::properties {
namespace {

using Numbers = std::vector<std::int64_t>;

/// The number of each element of a part, at its place in the rank's memory; -1 where nothing lies.
Numbers in_memory(const std::vector<LocalBox>& part, const Dims& shape, std::size_t elements) {
  Numbers memory(elements, -1);
  for (const LocalBox& local : part) {
    Dims index(shape.size(), 0);
    for (std::int64_t n = local.box.volume(); n > 0; --n) {
      std::int64_t number = 0;
      std::int64_t at = local.start;
      for (std::size_t d = 0; d < shape.size(); ++d) {
        number = number * shape[d] + local.box.offset[d] + index[d];
        at += index[d] * local.strides[d];
      }
      if (at < 0 || at >= std::ssize(memory) || memory[static_cast<std::size_t>(at)] != -1) return {};
      memory[static_cast<std::size_t>(at)] = number;
      for (std::size_t d = shape.size(); d-- > 0;) {
        if (++index[d] < local.box.size[d]) break;
        index[d] = 0;
      }
    }
  }
  return memory;
}

Wrong holds_what_the_model_counts(const gen::TensorSpec& tensor, int world_size) {
  for (int r = 0; r < world_size; ++r) {
    const auto part = local_part(tensor.layout, tensor.shape, Rank{r});
    if (!part) return fmt::format("{}", part.error());
    const Numbers expected = model::held_elements(tensor.layout, tensor.shape, Rank{r});
    if (in_memory(*part, tensor.shape, expected.size()) != expected) {
      return fmt::format("\"{}\" {} of shape {}: rank {} holds {} boxes that are not the {} elements the model counts", tensor.name,
                         to_string(tensor.layout), to_string({tensor.shape.data(), tensor.shape.size()}), r, part->size(), expected.size());
    }
  }
  return std::nullopt;
}

gen::Outcome layouts_are_the_models(World& /*world*/, const gen::DrawOptions& options) {
  return gen::for_all(options, [](const gen::DrawnCase& drawn) -> Wrong {
    for (const gen::TensorSpec& tensor : drawn.saved.tensors) {
      if (auto wrong = holds_what_the_model_counts(tensor, drawn.saved.world_size)) return wrong;
    }
    return std::nullopt;
  });
}

/// Some ranks load while the coordinator saves: each of them is named, with both operations, on every rank.
gen::Outcome operations_are_named(World& world, const gen::DrawOptions& options) {
  return gen::for_all(options, [&](const gen::DrawnCase& drawn) -> Wrong {
    std::vector<Rank> others = drawn.chosen;
    std::erase(others, drawn.coordinator);
    if (others.empty()) return std::nullopt;
    world.reset();
    const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
    const auto named = [&](const auto& outcome) -> Wrong {
      if (outcome) return "it succeeded";
      return outcome.error().failures.ranks() == others ? std::nullopt : Wrong(to_string(outcome.error()));
    };
    return on_ranks(world, drawn.saved.world_size, drawn.seed, drawn.coordinator, [&](protocol::Session& session, Rank rank) {
      gen::RankState state = make_state(drawn.saved, rank, values);
      if (std::ranges::binary_search(others, rank)) return named(protocol::load(session, state.dict, {}));
      return named(protocol::save(session, state.dict, {.step = Step{3}}));
    });
  });
}

}  // namespace

std::vector<Property> layout_properties() {
  return {
      {"rule-layouts",
       "S7",
       "What a rank holds by any layout, and where in its memory, is what the model counts element by element.",
       {"sim"},
       layouts_are_the_models,
       {"gen.flat_cut", "gen.replicated_axis"},
       asks_nothing_of_a_world},
      {"operations",
       "L1 A1 A3",
       "Ranks that call another operation than the coordinator are named on every rank, with both operations.",
       in_host_memory(),
       operations_are_named,
       {"comm.other_operation"}},
  };
}

}  // namespace holdfast::properties

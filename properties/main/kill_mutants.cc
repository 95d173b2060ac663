#include "properties/main/kill_mutants.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "impl/core/mutate.h"
#include "properties/mutants/mutants.h"
#include "properties/property.h"

#ifdef HOLDFAST_MUTANTS  // else this file is empty: that program has no mutant to activate

namespace holdfast::properties {

Exit kill_mutants(World& world, const Arguments& arguments) {
  gen::DrawOptions draw = arguments.draw;
  // That a mutant is caught is all that is asked; where it makes ranks wait, each smaller case would take their deadlines again.
  draw.shrink = false;
  std::size_t killed = 0, tried = 0;
  std::map<std::pair<std::string, std::uint64_t>, gen::Outcome> without;  // how each property does in each draw when no mutant is active
  std::string cause;
  const auto property_of = [](std::string_view id) {
    return *std::ranges::find_if(catalogue(), [&](const Property& property) { return property.id == id; });
  };
  for (const Mutant& mutant : properties::mutants()) {
    if (std::ranges::find(mutant.worlds, arguments.world) == mutant.worlds.end()) continue;
    ++tried;
    const Property property = property_of(mutant.property);
    gen::Outcome healthy, sick;
    std::uint64_t draws = 0;
    while (healthy.failure.empty() && sick.failure.empty() && draws < draws_max) {
      const gen::DrawOptions drawn = another(draw, draws++);
      const auto [known, first] = without.try_emplace({property.id, drawn.seed});
      if (first) known->second = property.check(world, drawn);
      healthy = known->second;
      holdfast::mutants::activate(mutant.id);
      sick = property.check(world, drawn);
      holdfast::mutants::activate("");
    }
    const bool dies = healthy.failure.empty() && !sick.failure.empty();
    killed += dies;
    fmt::print("{} {:38} {:3} {:18} {}{}\n     {}\n", dies ? "dead " : "ALIVE", mutant.id, mutant.invariant, mutant.property, mutant.what,
               draws > 1 ? fmt::format(" ({} draws)", draws) : "",
               !healthy.failure.empty() ? "the property fails without it: " + healthy.failure : sick.failure);
    std::fflush(stdout);
    if (!dies && cause.empty()) cause = fmt::format("FAIL mutant={} is not caught by {}", mutant.id, mutant.property);
  }
  if (!cause.empty()) {
    fmt::print("{}\n", cause);
    return Exit::bad;
  }
  if (tried == 0) {
    fmt::print(stderr, "holdfast-validate: no mutant belongs to world {}\n", arguments.world);
    return Exit::no_verdict;
  }
  fmt::print("PASS world={} mutants={} killed={} seed={}\n", arguments.world, tried, killed, arguments.draw.seed);
  return Exit::good;
}

}  // namespace holdfast::properties

#endif

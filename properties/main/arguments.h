// What holdfast-validate is asked for, and how it ends.
#pragma once

#include <cstdint>
#include <string>

#include "properties/gen/drawn_case.h"
#include "properties/main/parity.h"
#include "reports/publish.h"

namespace holdfast::properties {

struct Arguments {
  std::string world = "sim";
  std::string property;
  gen::DrawOptions draw;
  bool list = false;
  bool json = false;
  bool mutants = false;
  int processes = 0;
  std::string folder;
  bool share_gpus = false;
  bool preflight_only = false;
  std::string engine;  ///< empty: fiber, and not said
  bool compare_engines = false;
  std::string mutant;
  reports::Publication publication;
  ParityArguments parity;
};

enum class Exit : int { good = 0, bad = 1, no_verdict = 2 };

/// What one draw leaves to chance, that a mark is reached or a mutant is caught, is missed only when so many draws miss it.
constexpr std::uint64_t draws_max = 4;

/// The draw after `draws` others.
inline gen::DrawOptions another(gen::DrawOptions draw, std::uint64_t draws) {
  draw.seed += draws * 0x9e3779b97f4a7c15;
  return draw;
}

}  // namespace holdfast::properties

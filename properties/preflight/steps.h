// The steps of a preflight, each run by all ranks at once. Private to this folder.
#pragma once

#include <span>
#include <string>

#include "impl/port/env.h"
#include "properties/preflight/preflight.h"

namespace holdfast::properties {

/// One rank among those that try.
class Trial {
 public:
  Trial(const port::Env& doors, const PreflightSize& sizes) : env(doors), size(sizes) {}

  Rank self() const { return env.net.rank(); }
  int ranks() const { return env.net.world_size(); }
  Rank after(Rank rank) const { return Rank{(rank.value + 1) % ranks()}; }
  port::Deadline soon() const;
  /// What every rank says, on rank 0; elsewhere nothing. Nobody leaves before rank 0 has heard all.
  Result<std::vector<SharedBytes>> tell(Bytes said);
  /// Nobody passes before all are here.
  Status meet();

  port::Env env;
  PreflightSize size;

 private:
  std::uint64_t meetings_ = 0;
};

struct Step {
  const char* name;
  /// What was found; that of rank 0 is told.
  Result<std::string> (*run)(Trial& trial);
};

std::span<const Step> steps();

}  // namespace holdfast::properties

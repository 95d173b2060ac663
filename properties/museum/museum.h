// The bug museum: real, public failures of checkpoint code, each as a small model of the faulty protocol beside its fixed twin. The
// harness must catch the one from a printed seed in under a second, and pass the other.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "sim/campaign.h"

namespace holdfast::properties::museum {

struct Exhibit {
  int number = 0;               ///< in the museum's list
  std::string_view source;      ///< where it was found
  std::string_view what;        ///< what happens
  std::string_view invariants;  ///< of CATALOGUE.md, one of which must fail
  std::unique_ptr<sim::Workload> (*faulty)();
  std::unique_ptr<sim::Workload> (*fixed)();
};

const std::vector<Exhibit>& exhibits();
/// Null when there is none of that number.
const Exhibit* find_exhibit(int number);

/// The campaign that an exhibit must fail and its twin must pass: random faults of every kind but flipped bits, which none of these
/// protocols looks for.
sim::CampaignOptions campaign_options(std::uint64_t seed);

}  // namespace holdfast::properties::museum

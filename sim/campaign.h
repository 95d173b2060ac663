// Many cases of one workload: every single fault at every door call, or seeds that draw faults at random.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/workload.h"

namespace holdfast::sim {

/// One kind of fault at one kind of place: a cell of the coverage table.
struct Cell {
  std::string step;  ///< protocol step, as entered through Observer; "" before the first
  FaultKind kind = FaultKind::error_before;
  auto operator<=>(const Cell&) const = default;
};
struct CellCount {
  std::uint64_t enumerated = 0;
  std::uint64_t fired = 0;
  std::uint64_t consequential = 0;  ///< the ranks made other calls than without it, or somebody noticed
  std::uint64_t detected = 0;       ///< some rank returned an error or was killed
  std::uint64_t failed = 0;         ///< a judge found a violation
  CellCount& operator+=(const CellCount& other);
};

struct Failure {
  std::uint64_t index = 0;  ///< of the case in its campaign
  Case test;
  Verdict verdict;
  std::vector<Decision> decisions;  ///< of the story
};

struct CampaignTotals {
  std::uint64_t cases = 0;
  std::uint64_t events = 0;
  std::uint64_t door_calls = 0;
  std::uint64_t faults_fired = 0;
  std::uint64_t run_twice = 0;
  std::uint64_t power_losses = 0;
  std::map<Cell, CellCount> coverage;
  std::vector<Failure> failures;  ///< the first `failures_max`
  std::uint64_t failed_cases = 0;
  /// Of every case and its index: equal campaigns have equal hashes, however they were parted.
  std::uint64_t hash = 0;
};

struct CampaignOptions {
  std::uint64_t seed = 1;
  std::uint64_t cases = 1000;  ///< random campaigns
  std::uint64_t part = 0;      ///< only cases whose index leaves `part` when divided by `parts`
  std::uint64_t parts = 1;
  std::size_t failures_max = 20;
  std::uint64_t twice_every = 0;      ///< every so many cases runs twice, and equal hashes are demanded (D1); 0: none
  bool power_loss_after = true;       ///< exhaustive: also lose power after each story that did not
  std::vector<FaultKind> kinds = {};  ///< empty is every kind
  port::Duration delay = std::chrono::milliseconds(5);
  std::function<void(const CampaignTotals&)> progress = {};  ///< after every case
  std::function<bool()> stop = {};                           ///< true ends the campaign early
};

/// The door calls of the story without faults, in order of begin, with the protocol step each belongs to.
struct SiteInStep {
  SiteRecord site;
  std::string step;
};
std::vector<SiteInStep> enumerate_sites(Workload& workload, const Disk& prepared);

/// Every door call of the fault-free story, with every kind of fault that applies to it, one at a time.
CampaignTotals exhaust_single_faults(Workload& workload, const CampaignOptions& options);

/// `cases` seeds; each draws latencies, the schedule, a persistence model, none to three faults, and whether power fails afterwards.
CampaignTotals random_campaign(Workload& workload, const CampaignOptions& options);
/// Case number `index` of a random campaign, for replay. `kinds` as in CampaignOptions.
Case random_case(const std::vector<SiteInStep>& sites, std::uint64_t seed, std::uint64_t index, const std::vector<FaultKind>& kinds = {});

/// What the parts of one campaign found together.
CampaignTotals merged(const std::vector<CampaignTotals>& parts, std::size_t failures_max);

}  // namespace holdfast::sim

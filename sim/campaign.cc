#include "sim/campaign.h"

#include <algorithm>
#include <array>

#include "impl/core/check.h"

namespace holdfast::sim {
namespace {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return static_cast<std::size_t>((static_cast<unsigned __int128>(next()) * n) >> 64); }

 private:
  std::uint64_t state_;
};

constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15u; }

class Tally {
 public:
  Tally(const CampaignOptions& options, std::uint64_t fault_free_hash) : options_(options), fault_free_hash_(fault_free_hash) {}

  void add(const Case& test, const CaseResult& result, bool noticed, const std::vector<std::pair<Fault, std::string>>& planned) {
    ++totals.cases;
    totals.events += result.act.events + result.recovery.events;
    totals.door_calls += result.act.door_calls + result.recovery.door_calls;
    totals.faults_fired += result.act.fired.size();
    totals.power_losses += result.act.power_lost || test.power_loss_after;
    totals.hash = mix(totals.hash, result.hash);
    for (const auto& [fault, step] : planned) {
      CellCount& cell = totals.coverage[{step, fault.kind}];
      ++cell.enumerated;
      if (std::ranges::find(result.act.fired, fault) == result.act.fired.end()) continue;
      ++cell.fired;
      cell.consequential += result.act.event_hash != fault_free_hash_;
      cell.detected += noticed || !result.act.all_returned();
      cell.failed += !result.verdict.empty();
    }
    if (!result.verdict.empty()) {
      ++totals.failed_cases;
      if (totals.failures.size() < options_.failures_max) totals.failures.push_back({test, result.verdict, result.act.decisions});
    }
    if (options_.progress) options_.progress(totals);
  }

  bool stop() const { return options_.stop && options_.stop(); }
  CampaignTotals totals;

 private:
  const CampaignOptions& options_;
  std::uint64_t fault_free_hash_;
};

/// Where a bit flips or how late a call comes; the error that an injected failure carries varies with the place, so that all are met.
Fault fault_at(const SiteRecord& site, FaultKind kind, port::Duration delay) {
  constexpr std::array errors = {ErrorCode::io_error, ErrorCode::no_space, ErrorCode::timeout};
  return {site.site, kind, errors[site.site.ordinal % errors.size()], delay};
}

}  // namespace

std::vector<SiteInStep> enumerate_sites(Workload& workload, const Disk& prepared) {
  Case plain;
  plain.scenario.random_latency = false;
  plain.scenario.record_events = true;
  const CaseResult result = run_case(workload, plain, prepared);
  std::vector<SiteInStep> sites;
  CHECK(result.act.sites.size() == result.act.record.size(), "{} sites, {} records", result.act.sites.size(), result.act.record.size());
  for (std::size_t i = 0; i < result.act.sites.size(); ++i) sites.push_back({result.act.sites[i], result.act.record[i].step});
  return sites;
}

CampaignTotals exhaust_single_faults(Workload& workload, const CampaignOptions& options) {
  const Disk prepared = workload.prepare();
  const std::vector<SiteInStep> sites = enumerate_sites(workload, prepared);
  Case plain;
  plain.scenario.random_latency = false;
  plain.scenario.seed = options.seed;
  Tally tally(options, run_case(workload, plain, prepared).act.event_hash);
  for (const SiteInStep& site : sites) {
    for (const FaultKind kind : applicable(site.site.op)) {
      if (!options.kinds.empty() && std::ranges::find(options.kinds, kind) == options.kinds.end()) continue;
      Case test = plain;
      test.scenario.seed = mix(options.seed, tally.totals.cases);
      test.scenario.faults = {fault_at(site.site, kind, options.delay)};
      test.power_loss_after = options.power_loss_after && kind != FaultKind::power_loss;
      const CaseResult result = run_case(workload, test, prepared);
      tally.add(test, result, workload.noticed(), {{test.scenario.faults[0], site.step}});
      if (tally.stop()) return tally.totals;
    }
  }
  return tally.totals;
}

Case random_case(const std::vector<SiteInStep>& sites, std::uint64_t seed, std::uint64_t index) {
  Random random(mix(seed, index));
  Case test;
  test.scenario.seed = random.next();
  test.scenario.persistence = static_cast<PersistenceModel>(random.below(3));
  test.power_loss_after = random.below(2) == 0;
  const std::size_t faults = random.below(4);
  for (std::size_t i = 0; i < faults && !sites.empty(); ++i) {
    const SiteRecord& site = sites[random.below(sites.size())].site;
    const std::vector<FaultKind> kinds = applicable(site.op);
    if (kinds.empty()) continue;
    const port::Duration delay = std::chrono::microseconds(1 + random.below(1u << 20));
    test.scenario.faults.push_back(fault_at(site, kinds[random.below(kinds.size())], delay));
  }
  return test;
}

CampaignTotals random_campaign(Workload& workload, const CampaignOptions& options) {
  const Disk prepared = workload.prepare();
  const std::vector<SiteInStep> sites = enumerate_sites(workload, prepared);
  Tally tally(options, 0);
  for (std::uint64_t index = 0; index < options.cases; ++index) {
    const Case test = random_case(sites, options.seed, index);
    std::vector<std::pair<Fault, std::string>> planned;
    for (const Fault& fault : test.scenario.faults) {
      const auto site = std::ranges::find_if(sites, [&](const SiteInStep& s) { return s.site.site == fault.site; });
      planned.emplace_back(fault, site->step);
    }
    const CaseResult result = run_case(workload, test, prepared);
    tally.add(test, result, workload.noticed(), planned);
    if (tally.stop()) break;
  }
  return tally.totals;
}

}  // namespace holdfast::sim

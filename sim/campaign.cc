#include "sim/campaign.h"

#include <fmt/format.h>

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
  Tally(const CampaignOptions& options, std::vector<std::uint32_t> fault_free_calls)
      : options_(options), fault_free_calls_(std::move(fault_free_calls)) {}

  CaseResult run(std::uint64_t index, Workload& workload, const Case& test, const Disk& prepared) {
    CaseResult result = run_case(workload, test, prepared);
    if (options_.twice_every == 0 || index % options_.twice_every != 0) return result;
    ++totals.run_twice;
    const CaseResult again = run_case(workload, test, prepared);
    if (again.hash != result.hash) {
      result.verdict.push_back({VerdictClass::determinism, "D1",
                                fmt::format("run twice, the case hashes to {:016x} and {:016x}, its events to {:016x} and {:016x}",
                                            result.hash, again.hash, result.act.event_hash, again.act.event_hash)});
    }
    return result;
  }

  void add(std::uint64_t index, const Case& test, const CaseResult& result, bool noticed,
           const std::vector<std::pair<Fault, std::string>>& planned) {
    ++totals.cases;
    totals.events += result.act.events + result.recovery.events;
    totals.door_calls += result.act.door_calls + result.recovery.door_calls;
    totals.faults_fired += result.act.fired.size();
    totals.power_losses += result.act.power_lost || test.power_loss_after;
    totals.hash += mix(mix(index, result.hash), 1);
    const bool detected = noticed || !result.act.all_returned();
    for (const auto& [fault, step] : planned) {
      CellCount& cell = totals.coverage[{step, fault.kind}];
      ++cell.enumerated;
      if (std::ranges::find(result.act.fired, fault) == result.act.fired.end()) continue;
      ++cell.fired;
      cell.consequential += detected || result.act.calls_by_rank != fault_free_calls_;
      cell.detected += detected;
      cell.failed += !result.verdict.empty();
    }
    if (!result.verdict.empty()) {
      ++totals.failed_cases;
      if (totals.failures.size() < options_.failures_max) totals.failures.push_back({index, test, result.verdict, result.act.decisions});
    }
    if (options_.progress) options_.progress(totals);
  }

  bool stop() const { return options_.stop && options_.stop(); }
  CampaignTotals totals;

 private:
  const CampaignOptions& options_;
  std::vector<std::uint32_t> fault_free_calls_;
};

std::vector<FaultKind> chosen(std::string_view op, const std::vector<FaultKind>& kinds) {
  std::vector<FaultKind> found = applicable(op);
  if (!kinds.empty()) std::erase_if(found, [&](FaultKind kind) { return std::ranges::find(kinds, kind) == kinds.end(); });
  return found;
}

std::vector<std::uint32_t> calls_by_rank(const std::vector<SiteInStep>& sites, int world_size) {
  std::vector<std::uint32_t> calls(static_cast<std::size_t>(world_size));
  for (const SiteInStep& site : sites) ++calls[static_cast<std::size_t>(site.site.site.rank.value)];
  return calls;
}

/// Where a bit flips or how late a call comes; the error that an injected failure carries varies with the place, so that all are met.
Fault fault_at(const SiteRecord& site, FaultKind kind, port::Duration delay) {
  constexpr std::array errors = {ErrorCode::io_error, ErrorCode::no_space, ErrorCode::timeout};
  return {site.site, kind, errors[site.site.ordinal % errors.size()], delay};
}

}  // namespace

CellCount& CellCount::operator+=(const CellCount& other) {
  enumerated += other.enumerated;
  fired += other.fired;
  consequential += other.consequential;
  detected += other.detected;
  failed += other.failed;
  return *this;
}

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
  Tally tally(options, calls_by_rank(sites, workload.world_size()));
  std::uint64_t next = 0;
  for (const SiteInStep& site : sites) {
    for (const FaultKind kind : chosen(site.site.op, options.kinds)) {
      const std::uint64_t index = next++;
      if (index % options.parts != options.part) continue;
      Case test = plain;
      test.scenario.seed = mix(options.seed, index);
      test.scenario.faults = {fault_at(site.site, kind, options.delay)};
      test.power_loss_after = options.power_loss_after && kind != FaultKind::power_loss;
      const CaseResult result = tally.run(index, workload, test, prepared);
      tally.add(index, test, result, workload.noticed(), {{test.scenario.faults[0], site.step}});
      if (tally.stop()) return tally.totals;
    }
  }
  return tally.totals;
}

Case random_case(const std::vector<SiteInStep>& sites, std::uint64_t seed, std::uint64_t index, const std::vector<FaultKind>& allowed) {
  Random random(mix(seed, index));
  Case test;
  test.scenario.seed = random.next();
  test.scenario.persistence = static_cast<PersistenceModel>(random.below(3));  // weak admits what nfs and object do
  test.power_loss_after = random.below(2) == 0;
  const std::size_t faults = random.below(4);
  for (std::size_t i = 0; i < faults && !sites.empty(); ++i) {
    const SiteRecord& site = sites[random.below(sites.size())].site;
    const std::vector<FaultKind> kinds = chosen(site.op, allowed);
    if (kinds.empty()) continue;
    const port::Duration delay = std::chrono::microseconds(1 + random.below(1u << 20));
    test.scenario.faults.push_back(fault_at(site, kinds[random.below(kinds.size())], delay));
  }
  return test;
}

CampaignTotals random_campaign(Workload& workload, const CampaignOptions& options) {
  const Disk prepared = workload.prepare();
  const std::vector<SiteInStep> sites = enumerate_sites(workload, prepared);
  Tally tally(options, calls_by_rank(sites, workload.world_size()));
  for (std::uint64_t index = options.part; index < options.cases; index += options.parts) {
    const Case test = random_case(sites, options.seed, index, options.kinds);
    std::vector<std::pair<Fault, std::string>> planned;
    for (const Fault& fault : test.scenario.faults) {
      const auto site = std::ranges::find_if(sites, [&](const SiteInStep& s) { return s.site.site == fault.site; });
      planned.emplace_back(fault, site->step);
    }
    const CaseResult result = tally.run(index, workload, test, prepared);
    tally.add(index, test, result, workload.noticed(), planned);
    if (tally.stop()) break;
  }
  return tally.totals;
}

CampaignTotals merged(const std::vector<CampaignTotals>& parts, std::size_t failures_max) {
  CampaignTotals all;
  for (const CampaignTotals& part : parts) {
    all.cases += part.cases;
    all.events += part.events;
    all.door_calls += part.door_calls;
    all.faults_fired += part.faults_fired;
    all.run_twice += part.run_twice;
    all.power_losses += part.power_losses;
    all.failed_cases += part.failed_cases;
    all.hash += part.hash;
    for (const auto& [cell, count] : part.coverage) all.coverage[cell] += count;
    all.failures.insert(all.failures.end(), part.failures.begin(), part.failures.end());
  }
  std::ranges::sort(all.failures, {}, &Failure::index);
  if (all.failures.size() > failures_max) all.failures.resize(failures_max);
  return all;
}

}  // namespace holdfast::sim

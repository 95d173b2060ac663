#include "sim/main/parallel.h"

#include <algorithm>
#include <limits>
#include <thread>

namespace holdfast::sim::program {
namespace {

constexpr auto poll_interval = std::chrono::milliseconds(20);

struct Shared {
  std::atomic<std::uint64_t> cases{0}, failed{0};
  std::atomic<std::uint64_t> first_failing{std::numeric_limits<std::uint64_t>::max()};
  std::atomic<unsigned> running{0};
  std::atomic<bool> timed_out{false};

  void failed_at(std::uint64_t index) {
    std::uint64_t known = first_failing.load();
    while (index < known && !first_failing.compare_exchange_weak(known, index)) {
    }
  }
};

CampaignTotals run_part(const Job& job, const ParallelOptions& options, unsigned part, Shared& shared) {
  const auto workload = make_workload(job);
  CampaignOptions campaign = options.campaign;
  campaign.part = part;
  campaign.parts = options.threads;
  std::uint64_t next = part, failed_before = 0;
  campaign.progress = [&](const CampaignTotals& totals) {
    if (totals.failed_cases != failed_before) shared.failed_at(next);
    shared.failed += totals.failed_cases - failed_before;
    failed_before = totals.failed_cases;
    next += options.threads;
    ++shared.cases;
  };
  campaign.stop = [&] {
    if (options.first_failure_only && next > shared.first_failing) return true;
    if (!options.end || std::chrono::steady_clock::now() < *options.end) return false;
    shared.timed_out = true;
    return true;
  };
  return options.cases == Cases::random ? random_campaign(*workload, campaign) : exhaust_single_faults(*workload, campaign);
}

}  // namespace

ParallelOutcome run_campaign(const Job& job, const ParallelOptions& options, const Console& console) {
  const auto start = std::chrono::steady_clock::now();
  Shared shared;
  std::vector<CampaignTotals> parts(options.threads);
  std::vector<std::thread> threads;
  shared.running = options.threads;
  for (unsigned part = 0; part < options.threads; ++part) {
    threads.emplace_back([&, part] {
      parts[part] = run_part(job, options, part, shared);
      --shared.running;
    });
  }
  {
    Progress progress(console, options.title, options.total);
    while (shared.running != 0) {
      std::this_thread::sleep_for(poll_interval);
      progress.tick(shared.cases, shared.failed);
    }
  }
  for (std::thread& thread : threads) thread.join();
  ParallelOutcome outcome{merged(parts, options.first_failure_only ? 1 : options.campaign.failures_max), shared.timed_out, 0};
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

std::uint64_t count_single_faults(const Job& job, const std::vector<FaultKind>& kinds) {
  const auto workload = make_workload(job);
  std::uint64_t count = 0;
  for (const SiteInStep& site : enumerate_sites(*workload, workload->prepare())) {
    for (const FaultKind kind : applicable(site.site.op)) count += kinds.empty() || std::ranges::find(kinds, kind) != kinds.end();
  }
  return count;
}

}  // namespace holdfast::sim::program

#include "properties/museum/museum.h"

#include <gtest/gtest.h>

#include "sim/shrink.h"

namespace holdfast::properties::museum {
namespace {

constexpr std::uint64_t seed = 1;

sim::CampaignTotals until_first_failure(sim::Workload& workload) {
  sim::CampaignOptions options = campaign_options(seed);
  bool failed = false;
  options.progress = [&](const sim::CampaignTotals& totals) { failed = totals.failed_cases != 0; };
  options.stop = [&] { return failed; };
  return random_campaign(workload, options);
}

TEST(Museum, CatchesEveryExhibitByItsInvariant) {
  for (const Exhibit& exhibit : exhibits()) {
    const auto workload = exhibit.faulty();
    const sim::CampaignTotals totals = until_first_failure(*workload);
    ASSERT_EQ(totals.failures.size(), 1u) << exhibit.number << " was not caught";
    EXPECT_LE(totals.cases, 100u) << exhibit.number;
    const std::string& property = totals.failures[0].verdict.front().property;
    EXPECT_NE(exhibit.invariants.find(property), std::string_view::npos) << exhibit.number << " violates " << property;
  }
}

TEST(Museum, PassesEveryFixedTwin) {
  for (const Exhibit& exhibit : exhibits()) {
    const auto workload = exhibit.fixed();
    const sim::CampaignTotals random = random_campaign(*workload, campaign_options(seed));
    EXPECT_EQ(random.cases, 1000u);
    EXPECT_EQ(random.failed_cases, 0u) << exhibit.number << ": " << random.failures.front().verdict.front().message;
    const sim::CampaignTotals all = exhaust_single_faults(*workload, campaign_options(seed));
    EXPECT_EQ(all.failed_cases, 0u) << exhibit.number << ": " << all.failures.front().verdict.front().message;
  }
}

TEST(Museum, ShowsEveryExhibitSmallAndTheSameAgain) {
  for (const Exhibit& exhibit : exhibits()) {
    const auto workload = exhibit.faulty();
    const sim::CampaignTotals totals = until_first_failure(*workload);
    ASSERT_FALSE(totals.failures.empty());
    const sim::Failure& failure = totals.failures[0];
    const sim::Disk prepared = workload->prepare();
    const sim::Shrunk shrunk = sim::shrink(failure.test, sim::fails_alike(*workload, prepared, failure.verdict.front().property));
    EXPECT_TRUE(shrunk.failed_again);
    EXPECT_LE(shrunk.faults_after, 1u) << exhibit.number;
    const sim::CaseResult first = run_case(*workload, shrunk.test, prepared), second = run_case(*workload, shrunk.test, prepared);
    EXPECT_EQ(first.hash, second.hash);
    EXPECT_FALSE(first.verdict.empty());
    EXPECT_EQ(first.act.diverged, "");
  }
}

TEST(Museum, KnowsItsNumbers) {
  EXPECT_EQ(find_exhibit(29)->number, 29);
  EXPECT_EQ(find_exhibit(1000), nullptr);
}

}  // namespace
}  // namespace holdfast::properties::museum

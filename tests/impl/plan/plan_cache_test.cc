#include "impl/plan/plan_cache.h"

#include <gtest/gtest.h>

#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

SavePlan plan_with(std::uint64_t nbytes) { return plan_of({bytes_item("trainer", nbytes)}); }

/// A job of ranks that all have plan_with(n), cached on each of them.
struct Ranks {
  explicit Ranks(std::size_t ranks) : caches(ranks) {}

  std::vector<PlanClaim> claims(std::uint64_t n) const {
    std::vector<PlanClaim> all;
    for (const PlanCache& cache : caches) all.push_back(cache.claim(plan_with(n), {}));
    return all;
  }
  void save(std::uint64_t n, bool succeeds) {
    const std::vector<Fingerprint> fingerprints(caches.size(), fingerprint(plan_with(n), {}));
    for (PlanCache& cache : caches) cache.propose(fingerprints[0], plan_id(fingerprints), plan_with(n));
    const std::vector<SavePlan> plans(caches.size(), plan_with(n));
    CachedPlan made;
    made.plan.plans = plans;
    made.warnings = {"a warning"};
    caches[0].propose_global(plans, fingerprints, std::move(made));
    for (PlanCache& cache : caches) succeeds ? cache.commit() : cache.discard();
  }
  bool is_warm(std::uint64_t n) const { return caches[0].find_global(claims(n)) != nullptr; }

  std::vector<PlanCache> caches;
};

TEST(PlanCache, IsUsedAfterASaveThatSucceeded) {
  Ranks ranks(3);
  EXPECT_FALSE(ranks.is_warm(1));
  ranks.save(1, false);
  EXPECT_FALSE(ranks.is_warm(1));
  ranks.save(1, true);
  EXPECT_TRUE(ranks.is_warm(1));
  EXPECT_FALSE(ranks.is_warm(2));
  EXPECT_EQ(*ranks.caches[1].find(ranks.claims(1)[1]), plan_with(1));
  EXPECT_EQ(ranks.caches[0].find_global(ranks.claims(1))->warnings, std::vector<std::string>{"a warning"});
}

TEST(PlanCache, ASaveThatFailedLeavesTheOlderPlan) {
  Ranks ranks(2);
  ranks.save(1, true);
  ranks.save(2, false);
  EXPECT_TRUE(ranks.is_warm(1));
  EXPECT_FALSE(ranks.is_warm(2));
}

TEST(PlanCache, KeepsThePlansUsedLast) {
  Ranks ranks(2);
  for (std::uint64_t n = 0; n <= PlanCache::plans_max; ++n) ranks.save(n, true);
  EXPECT_FALSE(ranks.is_warm(0));
  for (std::uint64_t n = 1; n <= PlanCache::plans_max; ++n) EXPECT_TRUE(ranks.is_warm(n));
}

TEST(PlanCache, IsColdWhenOneRankLostItsOwn) {
  Ranks ranks(3);
  ranks.save(1, true);
  ranks.caches[2] = PlanCache();
  EXPECT_FALSE(ranks.is_warm(1));
  EXPECT_EQ(ranks.claims(1)[2].plan, Fingerprint());
}

TEST(PlanCache, IsColdWithAnotherNumberOfRanks) {
  Ranks ranks(3);
  ranks.save(1, true);
  std::vector<PlanClaim> claims = ranks.claims(1);
  claims.pop_back();
  EXPECT_FALSE(ranks.caches[0].find_global(claims));
  EXPECT_FALSE(ranks.caches[0].find_global({}));
}

TEST(PlanCache, AsksThatRanksHaveEqualValuesNotThatTheyAreThoseOfBefore) {
  Ranks ranks(3);
  ranks.save(1, true);
  std::vector<PlanClaim> claims = ranks.claims(1);
  for (PlanClaim& claim : claims) claim.values[0] = {7, 8};
  EXPECT_TRUE(ranks.caches[0].find_global(claims));
  claims[2].values[0] = {7, 9};
  EXPECT_FALSE(ranks.caches[0].find_global(claims));
  claims[2].values.clear();
  EXPECT_FALSE(ranks.caches[0].find_global(claims));
}

TEST(PlanCache, KnowsTheFingerprintOfAPlan) {
  const PlanContext context{4, DedupPolicy::least_bytes, 2};
  const Fingerprint one = fingerprint(plan_with(1), context);
  EXPECT_EQ(one, fingerprint(plan_with(1), context));
  EXPECT_NE(one, fingerprint(plan_with(2), context));
  EXPECT_NE(one, fingerprint(plan_with(1), {5, DedupPolicy::least_bytes, 2}));
  EXPECT_NE(one, fingerprint(plan_with(1), {4, DedupPolicy::lowest_rank, 2}));
  EXPECT_NE(one, fingerprint(plan_with(1), {4, DedupPolicy::least_bytes, 3}));
  EXPECT_NE(one, fingerprint(plan_with(1), {4, DedupPolicy::least_bytes, 2, Bytes(1)}));
}

TEST(PlanCache, ClaimsTake32BytesAnd16AByteValue) {
  const PlanClaim claim{{1, 2}, {3, 4}, {}};
  EXPECT_EQ(encode_claim(claim).size(), 32u);
  EXPECT_EQ(decode_claim(encode_claim(claim)).value(), claim);
  const PlanClaim with_value{{1, 2}, {3, 4}, {{5, 6}}};
  const Bytes bytes = encode_claim(with_value);
  EXPECT_EQ(bytes.size(), 48u);
  EXPECT_EQ(decode_claim(bytes).value(), with_value);
  EXPECT_EQ(decode_claim(ByteView(bytes).first(47)).error().message, "decode plan claim: 8 bytes wanted at offset 40, 7 left");
  EXPECT_EQ(decode_claim(ByteView(bytes).first(31)).error().message, "decode plan claim: 8 bytes wanted at offset 24, 7 left");
}

}  // namespace
}  // namespace holdfast::plan

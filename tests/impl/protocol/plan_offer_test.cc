// The plan rounds of a save: their messages, and which saves use a plan again.
#include "impl/protocol/plan_offer.h"

#include <gtest/gtest.h>

#include "impl/protocol/default_planner.h"
#include "impl/protocol/save.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

constexpr plan::Fingerprint one{1, 2};
constexpr plan::Fingerprint id{3, 4};

SavePlan plan_of_a_value() {
  SavePlan plan;
  plan.items.resize(1);
  plan.items[0].index.fqn = "step";
  plan.items[0].nbytes = 8;
  return plan;
}

Bytes encoded(const SaveNotes& notes) {
  Encoder out;
  encode(out, notes);
  return out.take();
}

TEST(PlanOffer, OfAllRanksInFullHasNotesAndPlans) {
  const SaveNotes notes{{{"model.w", "w"}}, {true}, {}};
  const std::vector<SharedBytes> offers(2, offer_in_full(one, encoded(notes), plan_of_a_value()));
  const PlanOffers all = decode_plan_offers(offers).value();
  EXPECT_TRUE(all.in_full);
  EXPECT_EQ(all.claims, std::vector<plan::PlanClaim>(2, {one, {}, {}}));
  EXPECT_EQ(all.notes, std::vector<SaveNotes>(2, notes));
  EXPECT_EQ(all.local, std::vector<SavePlan>(2, plan_of_a_value()));
}

TEST(PlanOffer, OfSomeRanksInFullHasClaimsAlone) {
  const plan::PlanClaim claim{one, id, {{5, 6}}};
  const std::vector<SharedBytes> offers{offer_claim(claim), offer_in_full(one, encoded({}), plan_of_a_value())};
  EXPECT_EQ(offers[0].size(), 49u);
  const PlanOffers all = decode_plan_offers(offers).value();
  EXPECT_FALSE(all.in_full);
  EXPECT_EQ(all.claims, (std::vector<plan::PlanClaim>{claim, {one, {}, {}}}));
  EXPECT_TRUE(all.local.empty());
}

TEST(PlanOffer, CutAnywhereIsRefused) {
  const SharedBytes whole = offer_in_full(one, encoded({}), plan_of_a_value());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto all = decode_plan_offers(std::vector{whole.part(0, size)});
    if (size == 33) continue;  // what is left is a whole claim
    ASSERT_FALSE(all) << size;
    EXPECT_EQ(all.error().code, ErrorCode::corrupt);
  }
  EXPECT_EQ(decode_plan_offers(std::vector{whole.part(0, 5)}).error().message, "decode plan offer: 32 bytes wanted at offset 1, 4 left");
}

TEST(PlanAnswer, IsReadBackOrRefused) {
  const PlanAnswer answer{PlanForm::anew, id, {"rename prefix \"a.\" to \"b.\""}};
  const SharedBytes bytes = encode(answer);
  EXPECT_EQ(decode_plan_answer(bytes.view()).value(), answer);
  Bytes changed = to_bytes(bytes.view());
  changed[0] = std::byte{4};
  EXPECT_EQ(decode_plan_answer(changed).error().message, "decode plan answer: form 4");
  EXPECT_EQ(decode_plan_answer({}).error().message, "decode plan answer: 1 bytes wanted at offset 0, 0 left");
  changed[0] = std::byte{1};
  changed.push_back(std::byte{0});
  EXPECT_EQ(decode_plan_answer(changed).error().message,
            fmt::format("decode plan answer: 1 bytes after the end at offset {}", bytes.size()));
}

/// How two saves of one state end on a rank, and what they cost.
struct TwoSaves {
  std::vector<std::string> ends;
  std::uint64_t rounds = 0;
  std::uint64_t first_bytes = 0, second_bytes = 0;  ///< sent by the rank
};

std::vector<TwoSaves> save_twice(int ranks, const std::function<void(SaveOptions&, Rank)>& change) {
  std::vector<TwoSaves> all(static_cast<std::size_t>(ranks));
  const auto world = *properties::ThreadsWorld::make();
  const auto save_rank = [&](const port::Env& env, Rank rank) {
    TwoSaves& two = all[static_cast<std::size_t>(rank.value)];
    StateDict state;
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(state.add_bytes(fmt::format("value {}", i), Bytes(8)));
    Session session(env);
    SaveOptions options{.step = Step{1}};
    change(options, rank);
    for (int i = 0; i < 2; ++i) {
      const auto saved = save(session, state, options);
      two.ends.emplace_back(!saved ? to_string(saved.error()) : saved->plan_was_cached ? "cached" : "anew");
      (i == 0 ? two.first_bytes : two.second_bytes) = session.comm().traffic().bytes_sent - two.first_bytes;
    }
    two.rounds = session.comm().traffic().rounds;
  };
  const properties::WorldRun run = world->run(ranks, 0, [&](const port::Env& env, Rank rank) {
    save_rank(env, rank);  // in this process: it may write to what is here
    return Bytes();
  });
  EXPECT_EQ(run.problems, std::vector<std::string>());
  return all;
}

TEST(PlanCaching, OfASecondSaveIsOnByDefault) {
  for (const TwoSaves& two : save_twice(3, [](SaveOptions&, Rank) {})) {
    EXPECT_EQ(two.ends, (std::vector<std::string>{"anew", "cached"}));
    EXPECT_EQ(two.rounds, 4u);
    EXPECT_LT(two.second_bytes, two.first_bytes);
  }
}

TEST(PlanCaching, IsLeftAloneWhenItIsNotWanted) {
  for (const TwoSaves& two : save_twice(2, [](SaveOptions& options, Rank) { options.enable_plan_caching = false; })) {
    EXPECT_EQ(two.ends, (std::vector<std::string>{"anew", "anew"}));
    EXPECT_EQ(two.rounds, 4u);
  }
}

TEST(PlanCaching, IsNotWantedByOneRankAlone) {
  for (const TwoSaves& two : save_twice(3, [](SaveOptions& options, Rank rank) { options.enable_plan_caching = rank != Rank{1}; })) {
    EXPECT_EQ(two.ends, (std::vector<std::string>{"anew", "anew"}));
    EXPECT_EQ(two.rounds, 4u);
  }
}

/// Counts how often it is asked for a plan.
class CountingPlanner : public DefaultSavePlanner {
 public:
  explicit CountingPlanner(int& plans) : plans_(plans) {}
  Result<plan::GlobalSavePlan> create_global_plan(std::vector<SavePlan> local_plans) override {
    ++plans_;
    return DefaultSavePlanner::create_global_plan(std::move(local_plans));
  }

 private:
  int& plans_;
};

TEST(PlanCaching, CallsAPlannerOfOnesOwnInEverySave) {
  int plans = 0;
  const auto own = [&](SaveOptions& options, Rank) { options.planner = std::make_shared<CountingPlanner>(plans); };
  for (const TwoSaves& two : save_twice(2, own)) EXPECT_EQ(two.ends, (std::vector<std::string>{"anew", "anew"}));
  EXPECT_EQ(plans, 2);
}

}  // namespace
}  // namespace holdfast::protocol

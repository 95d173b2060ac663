// The planner against the naive one, over jobs drawn on paper: through the wire and back, as ranks and coordinator see it.
#include <gtest/gtest.h>

#include "impl/core/mark.h"
#include "impl/plan/check.h"
#include "impl/plan/codec.h"
#include "impl/plan/lookup.h"
#include "impl/plan/save_plan.h"
#include "impl/plan/validate.h"
#include "model/naive_plan.h"
#include "properties/gen/paper_job.h"

namespace holdfast::plan {
namespace {

using properties::gen::draw_paper_job;
using properties::gen::PaperJob;

std::vector<SavePlan> local_plans(const PaperJob& job) {
  std::vector<SavePlan> plans;
  for (std::size_t r = 0; r < job.states.size(); ++r) {
    plans.push_back(local_save_plan(job.states[r], Rank{static_cast<std::int32_t>(r)}).value());
  }
  return plans;
}

/// As the coordinator receives them.
std::vector<SavePlan> received(const std::vector<SavePlan>& plans) {
  std::vector<Bytes> messages;
  for (const SavePlan& plan : plans) {
    Encoder out;
    encode(out, plan);
    messages.push_back(out.take());
  }
  const std::vector<ByteView> views(messages.begin(), messages.end());
  return decode_save_plans(views).value();
}

/// As the ranks receive them.
std::vector<SavePlan> replied(const std::vector<SavePlan>& local, const std::vector<SavePlan>& global) {
  const std::vector<SharedBytes> replies = encode_replies(local, global);
  std::vector<SavePlan> plans;
  for (std::size_t r = 0; r < local.size(); ++r) {
    Decoder in(replies[r].view(), "reply");
    plans.push_back(apply_kept(local[r], in).value());
    EXPECT_TRUE(in.finish());
  }
  return plans;
}

std::string show(const std::vector<model::WrittenRun>& runs) {
  std::string text;
  for (const model::WrittenRun& run : runs) text += fmt::format(" {}-{} by {}", run.begin, run.end, run.rank);
  return text.substr(0, 2000);
}

void expect_equal(const model::NaivePlan& found, const model::NaivePlan& expected, std::uint64_t seed) {
  EXPECT_EQ(found.values, expected.values) << "seed " << seed;
  EXPECT_EQ(found.tensors.size(), expected.tensors.size()) << "seed " << seed;
  for (const auto& [name, runs] : expected.tensors) {
    const auto at = found.tensors.find(name);
    ASSERT_NE(at, found.tensors.end()) << "seed " << seed << " " << name;
    ASSERT_EQ(at->second, runs) << "seed " << seed << " " << name << ":" << show(at->second) << "\nexpected" << show(runs);
  }
}

class Naive : public testing::TestWithParam<DedupPolicy> {};

TEST_P(Naive, AgreesOnWhoWritesWhat) {
  const bool lowest = GetParam() == DedupPolicy::lowest_rank;
  const std::uint64_t jobs = lowest ? 300 : 2000;
  for (std::uint64_t seed = 0; seed < jobs; ++seed) {
    const PaperJob job = draw_paper_job(seed);
    const std::vector<SavePlan> local = local_plans(job);
    const std::vector<SavePlan> sent = received(local);
    ASSERT_EQ(sent, local) << "seed " << seed;
    const auto global = global_save_plan(sent, GetParam());
    ASSERT_TRUE(global) << "seed " << seed << ": " << global.error().message;
    const std::vector<SavePlan> plans = replied(local, global->plans);
    ASSERT_EQ(plans, global->plans) << "seed " << seed;
    expect_equal(model::written_by(plans),
                 model::naive_plan(local, lowest ? model::WriterChoice::lowest_rank : model::WriterChoice::least_bytes), seed);
    const Status valid = validate(plans);
    ASSERT_TRUE(valid) << "seed " << seed << ": " << valid.error().message;
    ASSERT_TRUE(validate(global->metadata)) << "seed " << seed;
    for (const Finding& finding : check_save_plan(*global, local).findings) {
      ASSERT_EQ(finding.severity, Severity::warning) << "seed " << seed << ": " << to_string(finding);
    }
    for (std::size_t r = 0; r < plans.size(); ++r) {
      for (const WriteItem& item : expand(plans[r], Rank{static_cast<std::int32_t>(r)}).items) {
        if (item.type == WriteItemType::bytes) continue;
        const auto memory = find_memory(job.states[r], item);
        ASSERT_TRUE(memory) << "seed " << seed << ": " << memory.error().message;
        ASSERT_EQ(memory->sizes, item.chunk.size);
      }
    }
  }
  // Both saw the branches that matter.
  const auto marks = mark_hits();
  EXPECT_TRUE(marks.contains("plan.rule_listed"));
  if (lowest) return;
  for (const char* mark : {"plan.unit_of_rows", "plan.run_cut_again", "plan.piece_divided"}) EXPECT_TRUE(marks.contains(mark)) << mark;
}

INSTANTIATE_TEST_SUITE_P(Policies, Naive, testing::Values(DedupPolicy::least_bytes, DedupPolicy::lowest_rank));

}  // namespace
}  // namespace holdfast::plan

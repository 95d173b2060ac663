#include "model/expected_failures.h"

#include <gtest/gtest.h>

namespace holdfast::model {
namespace {

std::vector<Rank> ranks(std::initializer_list<int> values) {
  std::vector<Rank> all;
  for (const int value : values) all.push_back(Rank{value});
  return all;
}

struct Row {
  Operation operation;
  int coordinator;
  std::vector<InjectedFault> faults;
  std::optional<ExpectedFailure> expected;
};

void expect_rows(int world_size, const std::vector<Row>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(expected_failures(rows[i].operation, world_size, Rank{rows[i].coordinator}, rows[i].faults), rows[i].expected) << "row " << i;
  }
}

// The rows of PyTorch's test_checkpoint.py, in its order.
TEST(ExpectedFailures, AreThoseOfTestSaveErrorHandling) {
  const auto save = Operation::save;
  expect_rows(4, {{save, 0, {{Hook::set_up_storage_writer, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {save, 0, {{Hook::finish, ranks({0})}}, ExpectedFailure{"write", ranks({0})}},
                  {save, 0, {{Hook::prepare_global_plan, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {save, 0, {{Hook::prepare_local_plan, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {save, 0, {{Hook::write_data, ranks({2})}}, ExpectedFailure{"write", ranks({2})}},
                  {save, 0, {{Hook::write_data_async, ranks({3})}}, ExpectedFailure{"write", ranks({3})}},
                  {save, 1, {{Hook::set_up_storage_writer, ranks({1})}}, ExpectedFailure{"plan", ranks({1})}},
                  {save, 1, {{Hook::finish, ranks({1})}}, ExpectedFailure{"write", ranks({1})}}});
}

TEST(ExpectedFailures, AreThoseOfTestLoadErrorHandling) {
  const auto load = Operation::load;
  expect_rows(4, {{load, 0, {}, std::nullopt},
                  {load, 0, {{Hook::set_up_storage_reader, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {load, 0, {{Hook::prepare_global_plan, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {load, 0, {{Hook::read_metadata, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {load, 0, {{Hook::prepare_local_plan, ranks({1})}}, ExpectedFailure{"plan", ranks({1})}},
                  {load, 0, {{Hook::read_data, ranks({3})}}, ExpectedFailure{"read", ranks({3})}},
                  {load, 0, {{Hook::read_data_async, ranks({1})}}, ExpectedFailure{"read", ranks({1})}},
                  {load, 3, {{Hook::set_up_storage_reader, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
                  {load, 1, {{Hook::read_metadata, ranks({3})}}, ExpectedFailure{"plan", ranks({3})}},
                  {load, 2, {{Hook::read_data, ranks({0})}}, ExpectedFailure{"read", ranks({0})}},
                  {load, 3, {{Hook::read_data_async, ranks({2})}}, ExpectedFailure{"read", ranks({2})}},
                  {load, 1, {{Hook::prepare_global_plan, ranks({1})}}, ExpectedFailure{"plan", ranks({1})}}});
}

TEST(ExpectedFailures, NameTheOnlyRankWithoutDistribution) {
  for (const Operation operation : {Operation::save, Operation::load}) {
    for (const Hook hook : hooks_of(operation)) {
      const std::vector<InjectedFault> faults = {{hook, ranks({0})}};
      const auto expected = expected_failures(operation, 1, Rank{0}, faults);
      ASSERT_TRUE(expected) << to_string(hook);
      EXPECT_EQ(expected->ranks, ranks({0}));
    }
  }
}

TEST(ExpectedFailures, CoverFaultsThatNeverHappenAndSeveralAtOnce) {
  const auto save = Operation::save;
  const auto load = Operation::load;
  expect_rows(
      4, {{save, 1, {{Hook::finish, ranks({0})}}, std::nullopt},
          {save, 0, {{Hook::prepare_global_plan, ranks({2})}}, std::nullopt},
          {save, 0, {{Hook::prepare_local_plan, ranks({3, 0, 2})}}, ExpectedFailure{"plan", ranks({0, 2, 3})}},
          {save, 0, {{Hook::write_data, ranks({1})}, {Hook::write_data_async, ranks({2})}}, ExpectedFailure{"write", ranks({1, 2})}},
          {save, 0, {{Hook::write_data, ranks({1})}, {Hook::prepare_global_plan, ranks({0})}}, ExpectedFailure{"plan", ranks({0})}},
          {save, 0, {{Hook::prepare_local_plan, ranks({1})}, {Hook::prepare_global_plan, ranks({0})}}, ExpectedFailure{"plan", ranks({1})}},
          {save, 0, {{Hook::write_data, ranks({1})}, {Hook::finish, ranks({0})}}, ExpectedFailure{"write", ranks({1})}},
          {save, 0, {{Hook::read_data, ranks({1})}, {Hook::write_data, ranks({4})}}, std::nullopt},
          {load, 0, {{Hook::read_data, ranks({0, 1, 2, 3})}}, ExpectedFailure{"read", ranks({0, 1, 2, 3})}},
          {load, 0, {{Hook::finish, ranks({0})}}, std::nullopt}});
}

}  // namespace
}  // namespace holdfast::model

#include "properties/doubles.h"

#include <algorithm>

namespace holdfast::properties {

using model::Hook;

Error injected_error(Hook hook, Rank rank) {
  return error(ErrorCode::injected, "{} fails on rank {} on purpose", model::to_string(hook), rank);
}

Status IdleWriter::reset() {
  calls.emplace_back("reset");
  return {};
}
Status IdleWriter::set_up_storage_writer(const protocol::Role& /*role*/) {
  calls.emplace_back("set_up_storage_writer");
  return {};
}
Result<SavePlan> IdleWriter::prepare_local_plan(SavePlan plan) {
  calls.emplace_back("prepare_local_plan");
  return plan;
}
Result<std::vector<SavePlan>> IdleWriter::prepare_global_plan(std::vector<SavePlan> plans) {
  calls.emplace_back("prepare_global_plan");
  return plans;
}
Result<protocol::Writing> IdleWriter::write_data(SavePlan /*plan*/, std::shared_ptr<protocol::SavePlanner> /*planner*/) {
  calls.emplace_back("write_data");
  return protocol::Writing{port::Future<void>::ready(Status()), port::Future<std::vector<WriteResult>>::ready(std::vector<WriteResult>())};
}
Status IdleWriter::finish(const Metadata& /*metadata*/, const std::vector<std::vector<WriteResult>>& /*results*/) {
  calls.emplace_back("finish");
  return {};
}

Status IdleReader::reset() {
  calls.emplace_back("reset");
  return {};
}
Result<Metadata> IdleReader::read_metadata(const protocol::Role& /*role*/) {
  calls.emplace_back("read_metadata");
  return metadata_;
}
Status IdleReader::set_up_storage_reader(const Metadata& /*metadata*/, const protocol::Role& /*role*/) {
  calls.emplace_back("set_up_storage_reader");
  return {};
}
Result<LoadPlan> IdleReader::prepare_local_plan(LoadPlan plan) {
  calls.emplace_back("prepare_local_plan");
  return plan;
}
Result<std::vector<LoadPlan>> IdleReader::prepare_global_plan(std::vector<LoadPlan> plans) {
  calls.emplace_back("prepare_global_plan");
  return plans;
}
Result<port::Future<void>> IdleReader::read_data(LoadPlan /*plan*/, std::shared_ptr<protocol::LoadPlanner> /*planner*/) {
  calls.emplace_back("read_data");
  return port::Future<void>::ready(Status());
}

Status FaultyRank::at(Hook hook) const {
  const auto hits = [&](const model::InjectedFault& fault) {
    return fault.hook == hook && std::ranges::find(fault.ranks, rank) != fault.ranks.end();
  };
  if (std::ranges::any_of(faults, hits)) return fail(injected_error(hook, rank));
  return {};
}

Status FaultyWriter::set_up_storage_writer(const protocol::Role& role) {
  TRY(fault_.at(Hook::set_up_storage_writer));
  return inner_->set_up_storage_writer(role);
}
Result<SavePlan> FaultyWriter::prepare_local_plan(SavePlan plan) {
  TRY(fault_.at(Hook::prepare_local_plan));
  return inner_->prepare_local_plan(std::move(plan));
}
Result<std::vector<SavePlan>> FaultyWriter::prepare_global_plan(std::vector<SavePlan> plans) {
  TRY(fault_.at(Hook::prepare_global_plan));
  return inner_->prepare_global_plan(std::move(plans));
}
Result<protocol::Writing> FaultyWriter::write_data(SavePlan plan, std::shared_ptr<protocol::SavePlanner> planner) {
  TRY(fault_.at(Hook::write_data));
  const Status late = fault_.at(Hook::write_data_async);
  if (late) return inner_->write_data(std::move(plan), std::move(planner));
  auto written = TRY(port::Future<std::vector<WriteResult>>::run(
      *fault_.tasks, "faulty write", [late]() -> Result<std::vector<WriteResult>> { return fail(late.error()); }));
  return protocol::Writing{port::Future<void>::ready(Status()), std::move(written)};
}
Status FaultyWriter::finish(const Metadata& metadata, const std::vector<std::vector<WriteResult>>& results) {
  TRY(fault_.at(Hook::finish));
  return inner_->finish(metadata, results);
}

Result<Metadata> FaultyReader::read_metadata(const protocol::Role& role) {
  TRY(fault_.at(Hook::read_metadata));
  return inner_->read_metadata(role);
}
Status FaultyReader::set_up_storage_reader(const Metadata& metadata, const protocol::Role& role) {
  TRY(fault_.at(Hook::set_up_storage_reader));
  return inner_->set_up_storage_reader(metadata, role);
}
Result<LoadPlan> FaultyReader::prepare_local_plan(LoadPlan plan) {
  TRY(fault_.at(Hook::prepare_local_plan));
  return inner_->prepare_local_plan(std::move(plan));
}
Result<std::vector<LoadPlan>> FaultyReader::prepare_global_plan(std::vector<LoadPlan> plans) {
  TRY(fault_.at(Hook::prepare_global_plan));
  return inner_->prepare_global_plan(std::move(plans));
}
Result<port::Future<void>> FaultyReader::read_data(LoadPlan plan, std::shared_ptr<protocol::LoadPlanner> planner) {
  TRY(fault_.at(Hook::read_data));
  const Status late = fault_.at(Hook::read_data_async);
  if (late) return inner_->read_data(std::move(plan), std::move(planner));
  return port::Future<void>::run(*fault_.tasks, "faulty read", [late]() -> Status { return late; });
}

}  // namespace holdfast::properties

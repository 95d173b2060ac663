#include "model/expected_failures.h"

#include <algorithm>
#include <array>

namespace holdfast::model {
namespace {

constexpr std::array save_hooks = {Hook::set_up_storage_writer, Hook::prepare_local_plan,
                                   Hook::prepare_global_plan,   Hook::write_data,
                                   Hook::write_data_async,      Hook::finish};
constexpr std::array load_hooks = {Hook::read_metadata, Hook::set_up_storage_reader, Hook::prepare_local_plan, Hook::prepare_global_plan,
                                   Hook::read_data,     Hook::read_data_async};

/// A phase: what every rank does, then what the coordinator does with the results.
struct Phase {
  std::string_view step;
  std::vector<Hook> on_all;
  std::vector<Hook> on_coordinator;
};

std::vector<Phase> phases_of(Operation operation) {
  if (operation == Operation::save) {
    return {{"plan", {Hook::set_up_storage_writer, Hook::prepare_local_plan}, {Hook::prepare_global_plan}},
            {"write", {Hook::write_data, Hook::write_data_async}, {Hook::finish}}};
  }
  return {{"plan", {Hook::read_metadata, Hook::set_up_storage_reader, Hook::prepare_local_plan}, {Hook::prepare_global_plan}},
          {"read", {Hook::read_data, Hook::read_data_async}, {}}};
}

bool fails(Hook hook, Rank rank, std::span<const InjectedFault> faults) {
  const auto hits = [&](const InjectedFault& fault) { return fault.hook == hook && std::ranges::count(fault.ranks, rank) > 0; };
  return std::ranges::any_of(faults, hits);
}

std::vector<Rank> failed_in(const Phase& phase, int world_size, Rank coordinator, std::span<const InjectedFault> faults) {
  std::vector<Rank> failed;
  for (Rank rank; rank.value < world_size; ++rank.value) {
    if (std::ranges::any_of(phase.on_all, [&](Hook hook) { return fails(hook, rank, faults); })) failed.push_back(rank);
  }
  if (!failed.empty()) return failed;
  if (std::ranges::any_of(phase.on_coordinator, [&](Hook hook) { return fails(hook, coordinator, faults); })) return {coordinator};
  return {};
}

}  // namespace

std::string_view to_string(Hook hook) {
  switch (hook) {
    case Hook::set_up_storage_writer: return "set_up_storage_writer";
    case Hook::set_up_storage_reader: return "set_up_storage_reader";
    case Hook::read_metadata: return "read_metadata";
    case Hook::prepare_local_plan: return "prepare_local_plan";
    case Hook::prepare_global_plan: return "prepare_global_plan";
    case Hook::write_data: return "write_data";
    case Hook::write_data_async: return "write_data_async";
    case Hook::finish: return "finish";
    case Hook::read_data: return "read_data";
    case Hook::read_data_async: return "read_data_async";
  }
  return "invalid";
}

std::span<const Hook> hooks_of(Operation operation) {
  return operation == Operation::save ? std::span<const Hook>(save_hooks) : std::span<const Hook>(load_hooks);
}

std::optional<ExpectedFailure> expected_failures(Operation operation, int world_size, Rank coordinator,
                                                 std::span<const InjectedFault> faults) {
  for (const Phase& phase : phases_of(operation)) {
    std::vector<Rank> failed = failed_in(phase, world_size, coordinator, faults);
    if (!failed.empty()) return ExpectedFailure{std::string(phase.step), std::move(failed)};
  }
  return std::nullopt;
}

}  // namespace holdfast::model

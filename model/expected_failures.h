// Which ranks a save or load must name when some of its steps fail. The law: failures = the ranks whose own work failed; if none did, the
// coordinator when its own step failed; every rank is told the same, and nobody enters a later phase.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/ids.h"

namespace holdfast::model {

enum class Operation : std::uint8_t { save, load };

/// The steps of StorageWriter and StorageReader, with PyTorch DCP's names. An `_async` one fails after the call has returned.
enum class Hook : std::uint8_t {
  set_up_storage_writer,
  set_up_storage_reader,
  read_metadata,
  prepare_local_plan,
  prepare_global_plan,  ///< runs on the coordinator only
  write_data,
  write_data_async,
  finish,  ///< runs on the coordinator only
  read_data,
  read_data_async,
};
std::string_view to_string(Hook hook);
/// The hooks that `operation` runs, in order.
std::span<const Hook> hooks_of(Operation operation);

/// `hook` fails on `ranks`, if it runs there.
struct InjectedFault {
  Hook hook = Hook::write_data;
  std::vector<Rank> ranks;
};

struct ExpectedFailure {
  std::string step;         ///< "plan", "write" or "read"
  std::vector<Rank> ranks;  ///< ascending: exactly these
  bool operator==(const ExpectedFailure&) const = default;
};

/// None: the operation must succeed. Faults in hooks that `operation` does not run, and ranks outside the world, never happen.
std::optional<ExpectedFailure> expected_failures(Operation operation, int world_size, Rank coordinator,
                                                 std::span<const InjectedFault> faults);

}  // namespace holdfast::model

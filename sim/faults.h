// What can be made to go wrong, where. FAULTS.md declares the model.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "impl/core/error.h"
#include "impl/core/ids.h"
#include "impl/port/clock.h"

namespace holdfast::sim {

enum class FaultKind : std::uint8_t {
  error_before,  ///< the call has no effect and returns the error
  error_after,   ///< the call has its effect and returns the error
  delay,         ///< the call completes after `delay`; if its deadline is earlier it times out and the effect still comes, abandoned
  hang,          ///< the call has no effect, ever, and times out at its deadline
  kill_rank,     ///< the process dies before the call has an effect; what it wrote stays in the page cache
  power_loss,    ///< all ranks die at that instant; a legal subset of the un-synced operations survives
  bit_flip,      ///< a read returns, or a write stores, one flipped bit
};
inline constexpr std::size_t fault_kinds = 7;
const char* to_string(FaultKind kind);

/// The ordinal-th door call of a rank, counted from 0 over all its tasks. Calls that cannot fail (Clock::now, Tasks::detach,
/// DataPlane::abort, Device::destroy_*) are no sites. Each piece of write_all and read_all is one.
struct Site {
  Rank rank{};
  std::uint32_t ordinal = 0;
  auto operator<=>(const Site&) const = default;
};

struct Fault {
  Site site{};
  FaultKind kind = FaultKind::error_before;
  ErrorCode error = ErrorCode::io_error;
  port::Duration delay{};
  bool operator==(const Fault&) const = default;
};

enum class Op : std::uint8_t {
  net_send,
  net_receive,
  data_exchange,
  storage_make_directory,
  storage_create,
  storage_open,
  storage_close,
  storage_write,
  storage_read,
  storage_size,
  storage_truncate,
  storage_sync,
  storage_rename,
  storage_link,
  storage_remove,
  storage_remove_directory,
  storage_list,
  storage_sync_directory,
  device_allocate_staging,
  device_allocate,
  device_create_stream,
  device_stage,
  device_unstage,
  device_record,
  device_wait,
  device_synchronize,
  clock_sleep,
  tasks_spawn,
  tasks_join,
  tasks_wait,
};
inline constexpr std::size_t ops = 30;
const char* to_string(Op op);  ///< "storage.sync"

/// May this kind fire at a call of this operation?
bool is_applicable(Op op, FaultKind kind);
/// The kinds that may fire at the operation of this name; none for an unknown name.
std::vector<FaultKind> applicable(std::string_view op);

}  // namespace holdfast::sim

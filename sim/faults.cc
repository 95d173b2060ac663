#include "sim/faults.h"

#include <array>

namespace holdfast::sim {
namespace {

constexpr unsigned bit(FaultKind kind) { return 1u << static_cast<unsigned>(kind); }
constexpr unsigned ends = bit(FaultKind::kill_rank) | bit(FaultKind::power_loss) | bit(FaultKind::delay);
constexpr unsigned fails = ends | bit(FaultKind::error_before) | bit(FaultKind::error_after);
constexpr unsigned waits = fails | bit(FaultKind::hang);  // only a call with a deadline can hang
constexpr unsigned moves = waits | bit(FaultKind::bit_flip);

struct Row {
  const char* name;
  unsigned kinds;
};

constexpr std::array<Row, ops> rows = {{
    {"net.send", waits},
    {"net.receive", waits},
    {"data.exchange", waits},
    {"storage.make_directory", waits},
    {"storage.create", waits},
    {"storage.open", waits},
    {"storage.close", fails},
    {"storage.write", moves},
    {"storage.read", moves},
    {"storage.size", waits},
    {"storage.truncate", waits},
    {"storage.sync", waits},
    {"storage.rename", waits},
    {"storage.link", waits},
    {"storage.remove", waits},
    {"storage.remove_directory", waits},
    {"storage.list", waits},
    {"storage.sync_directory", waits},
    {"device.allocate_staging", fails},
    {"device.allocate", fails},
    {"device.create_stream", fails},
    {"device.stage", fails},
    {"device.unstage", fails},
    {"device.record", fails},
    {"device.wait", fails},
    {"device.synchronize", waits},
    {"clock.sleep", ends},
    {"tasks.spawn", fails},
    {"tasks.join", ends | bit(FaultKind::hang)},
    {"tasks.wait", ends | bit(FaultKind::hang)},
}};

}  // namespace

const char* to_string(FaultKind kind) {
  constexpr std::array<const char*, fault_kinds> names = {"error_before", "error_after", "delay",   "hang",
                                                          "kill_rank",    "power_loss",  "bit_flip"};
  return names[static_cast<std::size_t>(kind)];
}

const char* to_string(Op op) { return rows[static_cast<std::size_t>(op)].name; }

bool is_applicable(Op op, FaultKind kind) { return (rows[static_cast<std::size_t>(op)].kinds & bit(kind)) != 0; }

std::vector<FaultKind> applicable(std::string_view op) {
  std::vector<FaultKind> kinds;
  for (const Row& row : rows) {
    if (op != row.name) continue;
    for (std::size_t kind = 0; kind < fault_kinds; ++kind) {
      if (row.kinds & (1u << kind)) kinds.push_back(static_cast<FaultKind>(kind));
    }
  }
  return kinds;
}

}  // namespace holdfast::sim

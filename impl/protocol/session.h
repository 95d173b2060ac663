// What a rank keeps between saves and loads: its doors and its place in the control plane.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "impl/comm/comm.h"
#include "impl/plan/attempts.h"
#include "impl/plan/plan_cache.h"
#include "impl/port/env.h"
#include "impl/protocol/staging_pool.h"

namespace holdfast::protocol {

struct SessionOptions {
  Rank coordinator;           ///< the same on every rank
  bool no_dist = false;       ///< this process alone saves and loads, whatever the network says; it is rank 0
  int fan_out = 64;           ///< of the tree of a round
  std::uint32_t channel = 1;  ///< Net channel of this session
};

struct PendingState;

/// Used by one task at a time. The doors must outlive it, and the tasks that its saves and loads left behind.
class Session {
 public:
  explicit Session(const port::Env& env, SessionOptions options = {})
      : env_(with_unfinished(env)),
        comm_(std::make_shared<comm::Comm>(env.net, env.clock,
                                           comm::Options{options.coordinator, options.fan_out, options.channel, options.no_dist})),
        exchange_name_(fmt::format("transfer {}", options.channel)), staging_(std::make_shared<StagingPool>(env.device, env.tasks)) {}

  const port::Env& env() const { return env_; }
  comm::Comm& comm() { return *comm_; }
  /// For a save that goes on after this object.
  std::shared_ptr<comm::Comm> shared_comm() const { return comm_; }
  /// Of this session's exchanges over the data plane, which sessions share; and the number of the first of `count` more, for the coordinator to give out.
  const std::string& exchange_name() const { return exchange_name_; }
  std::uint64_t take_exchanges(std::uint64_t count) { return std::exchange(exchanges_, exchanges_ + count); }
  /// Staging memory, kept from save to save and load to load.
  const std::shared_ptr<StagingPool>& staging() const { return staging_; }

  /// Plans of saves that succeeded, for those to come. Used by one save at a time.
  const std::shared_ptr<plan::PlanCache>& plan_cache() const { return plan_cache_; }

  /// The checkpoint that this session loaded last: every block of it that was read was intact. Retention spares it.
  std::optional<plan::AttemptId> last_verified() const { return last_verified_; }
  void verified(plan::AttemptId id) { last_verified_ = id; }

  /// What was given up at the deadline of a save or load and may still use the tensors of that call. Empty but for a device that did not end its work by then.
  port::Unfinished& unfinished() const { return *env_.unfinished; }

  /// Keeps memory that a device may still use, of a load that was given up, as long as this session.
  void retain(std::shared_ptr<const void> memory) { retained_.push_back(std::move(memory)); }

  /// The save that async_save left running, or null (pending_save.h).
  const std::shared_ptr<PendingState>& pending() const { return pending_; }
  void set_pending(std::shared_ptr<PendingState> pending) { pending_ = std::move(pending); }

 private:
  static port::Env with_unfinished(port::Env env) {
    env.unfinished = std::make_shared<port::Unfinished>(env.tasks.make_monitor());
    return env;
  }

  port::Env env_;
  std::shared_ptr<comm::Comm> comm_;
  std::string exchange_name_;
  std::uint64_t exchanges_ = 1;
  std::shared_ptr<StagingPool> staging_;
  std::shared_ptr<plan::PlanCache> plan_cache_ = std::make_shared<plan::PlanCache>();
  std::optional<plan::AttemptId> last_verified_;
  std::shared_ptr<PendingState> pending_;
  std::vector<std::shared_ptr<const void>> retained_;
};

}  // namespace holdfast::protocol

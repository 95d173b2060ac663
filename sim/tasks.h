// Tasks as further fibres of their rank.
#pragma once

#include "impl/port/tasks.h"
#include "sim/kernel.h"

namespace holdfast::sim {

class Tasks final : public port::Tasks {
 public:
  Tasks(Kernel& kernel, RankState& rank) : kernel_(kernel), rank_(rank) {}
  Result<port::TaskId> spawn(std::string_view name, std::function<void()> body) override;
  Status join(port::TaskId task, port::Deadline deadline) override;
  void detach(port::TaskId task) override;
  std::shared_ptr<port::Monitor> make_monitor() override;

 private:
  Fiber* find(port::TaskId task) const;

  Kernel& kernel_;
  RankState& rank_;
};

}  // namespace holdfast::sim

#include "properties/simgpu/rank_data.h"

namespace holdfast::properties {
namespace {

class SimulatedData : public RankData {
 public:
  explicit SimulatedData(port::DataPlane& plane) : plane_(plane) {}
  port::DataPlane& plane() override { return plane_; }
  Status close(port::Deadline) override { return {}; }

 private:
  port::DataPlane& plane_;
};

}  // namespace

Result<std::unique_ptr<RankData>> open_rank_data(port::Net&, port::Clock&, port::Tasks&, port::DataPlane& simulated, int) {
  return std::make_unique<SimulatedData>(simulated);
}

}  // namespace holdfast::properties

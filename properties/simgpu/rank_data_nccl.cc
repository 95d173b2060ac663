#include "impl/backend/nccl/data_plane.h"
#include "properties/simgpu/rank_data.h"
#include "sim/cuda/nccl.h"

namespace holdfast::properties {
namespace {

class NcclData : public RankData {
 public:
  NcclData(std::unique_ptr<backend::NcclDataPlane> plane, std::shared_ptr<port::Unfinished> unfinished)
      : plane_(std::move(plane)), unfinished_(std::move(unfinished)) {}
  port::DataPlane& plane() override { return *plane_; }
  Status close(port::Deadline deadline) override {
    TRY(plane_->close(deadline));
    if (unfinished_->await(deadline)) return {};
    return fail(ErrorCode::timeout, "close a data plane: NCCL still uses the memory of an exchange");
  }

 private:
  std::unique_ptr<backend::NcclDataPlane> plane_;
  std::shared_ptr<port::Unfinished> unfinished_;
};

}  // namespace

Result<std::unique_ptr<RankData>> open_rank_data(port::Net& net, port::Clock& clock, port::Tasks& tasks, port::DataPlane&, int device) {
  const auto unfinished = std::make_shared<port::Unfinished>(tasks.make_monitor());
  auto plane = TRY(backend::make_nccl_data_plane(sim::cuda::simulated_nccl(), device, {net, clock, tasks, unfinished}));
  return std::make_unique<NcclData>(std::move(plane), unfinished);
}

}  // namespace holdfast::properties

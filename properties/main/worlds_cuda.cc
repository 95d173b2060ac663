// holdfast-validate-cuda: our CUDA back end on GPUs.
#include "impl/backend/cuda/device.h"
#include "impl/backend/host/clock.h"
#include "properties/main/worlds.h"

namespace holdfast::properties {
namespace {

/// The GPU that this process uses, from its first run to its end: to open one takes longer than most runs.
Result<backend::CudaDevice*> device_of(Rank rank) {
  static backend::SteadyClock clock;
  static std::unique_ptr<backend::CudaDevice> device;
  if (!device) {
    const int devices = TRY(backend::cuda_device_count());
    device = TRY(backend::make_cuda_device(rank.value % devices, clock));
  }
  return device.get();
}

HostRank run_cuda_rank(Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage, const RankMain& rank_main,
                       const Leave& leave) {
  auto device = device_of(rank);
  if (!device) return {{}, {fmt::format("rank {}: {}", rank, device.error())}};
  return run_rank_on(**device, rank, net, data, storage, rank_main, leave);
}

}  // namespace

Result<std::unique_ptr<World>> world_named(const WorldRequest& request) {
  if (request.name != "cuda1") return fail(ErrorCode::invalid_argument, "world \"{}\": expected cuda1", request.name);
  // Not before the processes are there: what CUDA has set up does not outlive a fork.
  auto world = launched_world(request, {.device_memory = true, .run_rank = run_cuda_rank});
  if (!world) return world;
  if (auto devices = backend::cuda_device_count(); !devices) return fail(within(std::move(devices).error(), "world {}", request.name));
  return world;
}

}  // namespace holdfast::properties

// holdfast-validate-cuda: our CUDA back end on GPUs, and NCCL between them.
#include <cstdlib>

#include "impl/backend/cuda/describe.h"
#include "impl/backend/cuda/device.h"
#include "impl/backend/host/clock.h"
#include "properties/main/worlds.h"
#ifdef HOLDFAST_NCCL
#include "impl/backend/nccl/data_plane.h"
#endif

namespace holdfast::properties {
namespace {

using backend::CudaDevice;

/// The GPU that this process uses, from now to its end: to open one takes longer than most runs.
Result<CudaDevice*> open_gpu(int ordinal) {
  static backend::SteadyClock clock;
  static std::unique_ptr<CudaDevice> device;
  device = TRY(backend::make_cuda_device(ordinal, clock));
  return device.get();
}

RunRank over_tcp(CudaDevice& device) {
  return [&device](Rank rank, port::Net& net, port::DataPlane& data, port::Storage& storage, const RankMain& rank_main,
                   const Leave& leave) { return run_rank_on(device, rank, net, data, storage, rank_main, leave); };
}

#ifdef HOLDFAST_NCCL
/// The rank's main function over a data plane of NCCL that is its own.
Bytes run_over_nccl(const std::shared_ptr<const backend::NcclTable>& table, int ordinal, const port::Env& env, Rank rank,
                    const RankMain& rank_main) {
  constexpr port::Duration close_limit = std::chrono::seconds(10);
  const auto unfinished = std::make_shared<port::Unfinished>(env.tasks.make_monitor());
  const auto plane = backend::make_nccl_data_plane(table, ordinal, {env.net, env.clock, env.tasks, unfinished});
  CHECK(plane.has_value(), "{}", plane.error());
  Bytes result = rank_main({env.net, **plane, env.storage, env.device, env.clock, env.tasks, env.observer}, rank);
  const port::Deadline deadline = env.clock.after(close_limit);
  const Status closed = (*plane)->close(deadline);
  CHECK(closed.has_value() && unfinished->await(deadline), "rank {}: NCCL still uses the memory of an exchange", rank);
  return result;
}

/// NCCL takes two ranks on one GPU for a mistake, unless each says that it is another host; then it must go by sockets. What is set already stays. Before
/// NCCL is opened, which reads it once.
void be_a_host_of_its_own(Rank rank) {
  const std::string host = fmt::format("holdfast rank {}", rank);
  const std::pair<const char*, const char*> settings[] = {
      {"NCCL_HOSTID", host.c_str()}, {"NCCL_SOCKET_IFNAME", "lo"}, {"NCCL_NET", "Socket"},     {"NCCL_IB_DISABLE", "1"},
      {"NCCL_P2P_DISABLE", "1"},     {"NCCL_SHM_DISABLE", "1"},    {"NCCL_MNNVL_ENABLE", "0"}, {"NCCL_NVLS_ENABLE", "0"},
      {"NCCL_RAS_ENABLE", "0"},      {"NCCL_MAX_CTAS", "1"}};
  for (const auto& [name, value] : settings) (void)::setenv(name, value, 0);
}

Result<LaunchedOptions> over_nccl(CudaDevice& device, int ordinal) {
  const auto library = TRY(backend::NcclLibrary::open());
  LaunchedOptions options{.device_memory = true};
  options.machine = fmt::format("{}, NCCL {}", TRY(backend::describe_cuda_device(ordinal)), backend::nccl_version_text(library.version()));
  options.run_rank = [&device, ordinal, table = backend::nccl_table(library)](Rank rank, port::Net& net, port::DataPlane& data,
                                                                              port::Storage& storage, const RankMain& rank_main,
                                                                              const Leave& leave) {
    const RankMain main = [&](const port::Env& env, Rank self) { return run_over_nccl(table, ordinal, env, self, rank_main); };
    return run_rank_on(device, rank, net, data, storage, main, leave);
  };
  return options;
}
#else
void be_a_host_of_its_own(Rank) {}

Result<LaunchedOptions> over_nccl(CudaDevice&, int) {
  return fail(ErrorCode::unsupported, "this program was built without the header of NCCL");
}
#endif

/// In a process that is a rank already: what CUDA has set up does not outlive a fork.
Result<LaunchedOptions> on_gpu(const WorldRequest& request, const backend::Rendezvous& place) {
  const int gpus = TRY(backend::cuda_device_count()), number = place.local_rank.value_or(place.rank.value);
  // One that a launcher shows to this process alone is its own.
  const bool nccl = request.name == "nccl";
  if (nccl && gpus > 1 && number >= gpus && !request.share_gpus) {
    return fail(ErrorCode::unsupported,
                "rank {} is number {} on its host, which has {} GPUs; NCCL wants one for each rank (or --share-gpus)", place.rank, number,
                gpus);
  }
  if (nccl && request.share_gpus) be_a_host_of_its_own(place.rank);
  const int ordinal = number % gpus;
  CudaDevice* const device = TRY(open_gpu(ordinal));
  if (nccl) return over_nccl(*device, ordinal);
  return LaunchedOptions{.device_memory = true, .run_rank = over_tcp(*device), .machine = TRY(backend::describe_cuda_device(ordinal))};
}

}  // namespace

Result<std::unique_ptr<World>> world_named(const WorldRequest& request) {
  if (request.name != "cuda1" && request.name != "nccl")
    return fail(ErrorCode::invalid_argument, "world \"{}\": expected cuda1 or nccl", request.name);
  return launched_world(request, [&](const backend::Rendezvous& place) { return on_gpu(request, place); });
}

void run_program_of(const std::string& /*world*/, char** /*argv*/) {}

}  // namespace holdfast::properties

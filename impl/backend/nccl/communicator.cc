#include "impl/backend/nccl/communicator.h"

#include <algorithm>
#include <cstring>

#include "impl/core/digest.h"

namespace holdfast::backend {
namespace {

bool begun(ncclResult_t code) { return code == ncclSuccess || code == ncclInProgress; }

}  // namespace

Error Communicator::refused(ncclResult_t code, std::string_view call) const {
  return nccl_error(*table_, code, handle_, fmt::format("{} on device {}", call, site_.device));
}

Result<Bytes> Communicator::make_id(const NcclTable& table, int device) {
  cuda::OnDevice here;
  TRY(here.enter(cuda::Site{device}));
  ncclUniqueId id;
  const ncclResult_t code = table.get_unique_id(&id);
  if (code != ncclSuccess) return fail(nccl_error(table, code, nullptr, "ncclGetUniqueId"));
  return to_bytes(std::as_bytes(std::span(id.internal)));
}

Result<std::unique_ptr<Communicator>> Communicator::begin(std::shared_ptr<const NcclTable> table, int device, ByteView id,
                                                          std::vector<Rank> members, Rank self, const NcclOptions& options) {
  ncclUniqueId unique;
  if (id.size() != sizeof(unique.internal))
    return fail(ErrorCode::corrupt, "the id of a communicator has {} bytes; expected {}", id.size(), sizeof(unique.internal));
  std::memcpy(unique.internal, id.data(), id.size());
  std::unique_ptr<Communicator> made(new Communicator(std::move(table), device, std::move(members)));
  made->number_ = std::max(block_digest(id).low, std::uint64_t{1});
  made->name_ = std::make_shared<const std::string>(options.name);
  cuda::OnDevice here;
  TRY(here.enter(made->site_));
  made->stream_ = TRY(cuda::create_stream(made->site_));
  made->event_ = TRY(cuda::create_event(made->site_));
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.minCTAs = 1;
  config.maxCTAs = options.ctas_max;
  config.commName = made->name_->c_str();
  const auto place = std::ranges::find(made->members_, self) - made->members_.begin();
  const auto count = static_cast<int>(made->members_.size());
  const ncclResult_t code = made->table_->comm_init_rank_config(&made->handle_, count, unique, static_cast<int>(place), &config);
  // What failed at once, and has left a handle, is told by idle(), and freed as what fails later.
  if (begun(code) || made->handle_) return made;
  return fail(made->refused(code, fmt::format("ncclCommInitRankConfig(rank {} of {})", place, count)));
}

Result<bool> Communicator::idle() {
  ncclResult_t state = ncclSuccess;
  const ncclResult_t code = table_->comm_get_async_error(handle_, &state);
  if (code != ncclSuccess) return fail(refused(code, "ncclCommGetAsyncError"));
  if (!begun(state)) return fail(refused(state, "a communicator"));
  return state == ncclSuccess;
}

Status Communicator::enqueue(std::span<const port::Transfer> sends, std::span<const port::Transfer> receives) {
  const auto place = [&](Rank peer) { return static_cast<int>(std::ranges::lower_bound(members_, peer) - members_.begin()); };
  for (const port::Transfer& transfer : sends) {
    const auto& [peer, bytes, kind] = transfer;
    if (bytes.empty()) continue;
    const ncclResult_t code = table_->send(bytes.data(), bytes.size(), ncclInt8, place(peer), handle_, stream_.get());
    if (!begun(code)) return fail(refused(code, fmt::format("ncclSend({} bytes to rank {})", bytes.size(), peer)));
  }
  for (const port::Transfer& transfer : receives) {
    const auto& [peer, bytes, kind] = transfer;
    if (bytes.empty()) continue;
    const ncclResult_t code = table_->receive(bytes.data(), bytes.size(), ncclInt8, place(peer), handle_, stream_.get());
    if (!begun(code)) return fail(refused(code, fmt::format("ncclRecv({} bytes from rank {})", bytes.size(), peer)));
  }
  return {};
}

Status Communicator::launch(std::span<const port::Transfer> sends, std::span<const port::Transfer> receives) {
  cuda::OnDevice here;
  TRY(here.enter(site_));
  ncclResult_t code = table_->group_start();
  if (code != ncclSuccess) return fail(refused(code, "ncclGroupStart"));
  Status enqueued = enqueue(sends, receives);
  code = table_->group_end();  // also after a failure: the group would stay open
  if (enqueued && !begun(code)) return fail(refused(code, "ncclGroupEnd"));
  return enqueued;
}

Status Communicator::mark_end() {
  cuda::OnDevice here;
  TRY(here.enter(site_));
  return cuda::called(cudaEventRecord(event_.get(), stream_.get()), site_, "cudaEventRecord");
}

Result<bool> Communicator::ended() {
  cuda::OnDevice here;
  TRY(here.enter(site_));
  const cudaError_t code = cudaEventQuery(event_.get());
  if (code == cudaErrorNotReady) return false;
  TRY(cuda::called(code, site_, "cudaEventQuery"));
  return true;
}

std::shared_ptr<Ending> Communicator::end(port::Tasks& tasks, port::Clock& clock) {
  Ending::Parts parts{table_, handle_, name_, site_.device, std::move(stream_), std::move(event_)};
  return std::make_shared<Ending>(std::move(parts), tasks, clock);
}

}  // namespace holdfast::backend

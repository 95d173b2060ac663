#include "sim/cuda/nccl_state.h"

#include <fmt/format.h>

#include <cstring>

namespace holdfast::sim::cuda {
namespace {

constexpr int garbage = 0xDA;

Access access_of(const Part& part, bool replaces) {
  return {reinterpret_cast<std::uintptr_t>(part.memory), part.bytes, !part.sends, true, replaces && !part.sends};
}

}  // namespace

Nccl& nccl() {
  if (!state().nccl) state().nccl = std::make_unique<Nccl>(state());
  return static_cast<Nccl&>(*state().nccl);
}

std::string Nccl::name(const ncclComm& communicator) const {
  return fmt::format("communicator {}, rank {} of {}", communicator.id, communicator.rank, communicator.clique->members.size());
}

void Nccl::report(std::vector<std::string>& lines) const {
  for (const auto& communicator : communicators_) {
    if (!communicator->gone()) lines.push_back("leak: NCCL " + name(*communicator));
  }
  for (const auto& [context, group] : groups_) {
    if (group.depth != 0) lines.push_back("a group of NCCL was not ended");
  }
}

ncclResult_t Nccl::enter(const char* call, bool needs_device) {
  const cudaError_t code = state_.enter(call, needs_device);
  if (code == cudaSuccess) return ncclSuccess;
  const bool is_nccls = static_cast<int>(code) < static_cast<int>(ncclNumResults);
  return refuse(is_nccls ? static_cast<ncclResult_t>(code) : ncclUnhandledCudaError, fmt::format("{}: {}", call, cudaGetErrorString(code)));
}

ncclResult_t Nccl::refuse(ncclResult_t code, std::string why) {
  last_error = std::move(why);
  return code;
}

ncclResult_t Nccl::misuse(std::string what) {
  state_.find(what);
  return refuse(ncclInvalidUsage, std::move(what));
}

ncclResult_t Nccl::make_id(ncclUniqueId& id) {
  std::memset(&id, 0, sizeof(id));
  const std::string text = fmt::format("clique {}", next_id_++);
  std::ranges::copy(text, id.internal);
  return ncclSuccess;
}

ncclResult_t Nccl::init(ncclComm_t& made, int size, const ncclUniqueId& id, int rank, const ncclConfig_t* config) {
  made = nullptr;
  if (config == nullptr || config->blocking != 0) return misuse("ncclCommInitRankConfig: the communicator blocks, which nothing here may");
  std::shared_ptr<Clique>& clique = cliques_[id.internal];
  if (!clique) {
    clique = std::make_shared<Clique>();
    clique->members.resize(static_cast<std::size_t>(std::max(size, 0)));
  }
  if (static_cast<std::size_t>(size) != clique->members.size() || rank < 0 || rank >= size)
    return misuse(fmt::format("ncclCommInitRankConfig: rank {} of {}, where another rank says of {}", rank, size, clique->members.size()));
  if (clique->members[static_cast<std::size_t>(rank)] != nullptr)
    return misuse(fmt::format("ncclCommInitRankConfig: two ranks {} of {}", rank, size));
  ncclComm& communicator = *communicators_.emplace_back(std::make_unique<ncclComm>());
  communicator.id = next_id_++;
  communicator.clique = clique;
  communicator.rank = rank;
  communicator.owner = &state_.context();
  communicator.device = communicator.owner->device;
  communicator.polls_left = state_.pick(4);
  for (const ncclComm* other : clique->members) {
    if (other != nullptr && other->device == communicator.device) communicator.error = refuse(ncclInvalidUsage, "Duplicate GPU detected");
  }
  clique->members[static_cast<std::size_t>(rank)] = &communicator;
  made = &communicator;
  return ncclInProgress;
}

bool Nccl::is_ready(const ncclComm& communicator) const {
  return !held && std::ranges::none_of(communicator.clique->members, [](const ncclComm* member) { return member == nullptr; });
}

/// Whether it waits for that rank.
bool Nccl::needs(const ncclComm& communicator, int peer) const {
  const auto waits = [&](const Part& part) { return !part.over && part.peer == peer; };
  return !communicator.ready ||
         std::ranges::any_of(communicator.under_way, [&](const auto& work) { return std::ranges::any_of(work->parts, waits); });
}

void Nccl::notice_the_gone(ncclComm& communicator) {
  for (const ncclComm* member : communicator.clique->members) {
    if (member == nullptr || !member->gone() || !needs(communicator, member->rank)) continue;
    const auto [notice, first] = communicator.noticed.try_emplace(member->rank, false);
    if (first) notice->second = peer_death == PeerDeath::error || (peer_death == PeerDeath::any && state_.pick(2) == 0);
    if (notice->second) communicator.error = refuse(ncclRemoteError, fmt::format("rank {} closed its connection", member->rank));
  }
}

ncclResult_t Nccl::poll(ncclComm& communicator) {
  if (state_.lost(communicator.device) != cudaSuccess) communicator.error = refuse(ncclUnhandledCudaError, "the device is lost");
  if (communicator.error == ncclSuccess) notice_the_gone(communicator);
  if (breaking && breaking->launched == &communicator && breaking->after-- == 0) {
    communicator.error = refuse(breaking->code, "injected");
    breaking.reset();
  }
  if (communicator.error != ncclSuccess) return communicator.error;
  if (communicator.ready && communicator.launching.empty()) return ncclSuccess;
  if (!communicator.ready && !is_ready(communicator)) return ncclInProgress;
  if (communicator.polls_left-- != 0) return ncclInProgress;
  communicator.polls_left = 0;
  communicator.ready = true;
  launch(communicator);
  return communicator.error;
}

void Nccl::abort(ncclComm& communicator) {
  communicator.open = false;
  communicator.launching.clear();
}

ncclComm* Nccl::find(const char* call, ncclComm_t handle) {
  const auto found = std::ranges::find(communicators_, handle, &std::unique_ptr<ncclComm>::get);
  if (found != communicators_.end() && handle->open) return handle;
  misuse(fmt::format("{}: the communicator is {}", call, found == communicators_.end() ? "unknown" : "aborted"));
  return nullptr;
}

ncclResult_t Nccl::group_start() {
  ++groups_[&state_.context()].depth;
  return ncclSuccess;
}

ncclResult_t Nccl::add(const char* call, Part part, ncclDataType_t type, ncclComm_t handle, cudaStream_t stream) {
  ncclComm* const communicator = find(call, handle);
  CUstream_st* const on = state_.stream(stream, call);
  if (communicator == nullptr || on == nullptr) return ncclInvalidArgument;
  if (!communicator->ready) return misuse(fmt::format("{}: {} is not ready", call, name(*communicator)));
  if (!communicator->launching.empty()) return misuse(fmt::format("{}: {} still launches a group", call, name(*communicator)));
  if (on->device != communicator->device)
    return misuse(fmt::format("{}: the stream is of device {}, the communicator of {}", call, on->device, communicator->device));
  if (part.peer < 0 || static_cast<std::size_t>(part.peer) >= communicator->clique->members.size())
    return misuse(fmt::format("{}: there is no rank {} in {}", call, part.peer, name(*communicator)));
  if (type != ncclInt8 && type != ncclUint8) return misuse(fmt::format("{}: the simulated NCCL moves bytes only", call));
  Group& group = groups_[&state_.context()];
  const auto is_same = [&](const auto& work) { return work->communicator == communicator && work->stream == on; };
  auto work = std::ranges::find_if(group.works, is_same);
  if (work == group.works.end()) {
    group.works.push_back(std::make_shared<Work>());
    work = std::prev(group.works.end());
    (*work)->communicator = communicator;
    (*work)->stream = on;
  }
  (*work)->parts.push_back(part);
  if (group.depth != 0) return ncclSuccess;
  return begin_launch(*communicator, std::exchange(group.works, {}));
}

ncclResult_t Nccl::group_end() {
  Group& group = groups_[&state_.context()];
  if (group.depth == 0) return misuse("ncclGroupEnd: no group was started");
  if (--group.depth != 0) return ncclSuccess;
  std::map<std::uint64_t, std::vector<std::shared_ptr<Work>>> by_communicator;
  for (auto& work : std::exchange(group.works, {})) by_communicator[work->communicator->id].push_back(std::move(work));
  ncclResult_t result = ncclSuccess;
  for (auto& [id, works] : by_communicator) {
    ncclComm& communicator = *works.front()->communicator;
    const ncclResult_t code = begin_launch(communicator, std::move(works));
    if (code != ncclSuccess) result = code;
  }
  return result;
}

ncclResult_t Nccl::begin_launch(ncclComm& communicator, std::vector<std::shared_ptr<Work>> works) {
  if (!communicator.open) return misuse(fmt::format("ncclGroupEnd: {} is aborted", name(communicator)));
  communicator.launching = std::move(works);
  communicator.polls_left = state_.pick(3);
  if (communicator.polls_left != 0) return ncclInProgress;
  launch(communicator);
  return communicator.error;
}

/// NCCL does it with the communicator's device as the current one.
void Nccl::launch(ncclComm& communicator) {
  Context* const caller = switch_context(communicator.owner);
  const int device = std::exchange(state_.context().device, communicator.device);
  if (breaking && breaking->owner == communicator.owner && !communicator.launching.empty()) breaking->launched = &communicator;
  for (const auto& work : std::exchange(communicator.launching, {})) enqueue(work);
  state_.context().device = device;
  switch_context(caller);
}

void Nccl::enqueue(const std::shared_ptr<Work>& work) {
  ncclComm& communicator = *work->communicator;
  std::vector<Access> all, filled;
  for (const Part& part : work->parts) {
    all.push_back(access_of(part, true));
    if (!part.sends) filled.push_back(access_of(part, false));
  }
  const std::string what = fmt::format("a group of {}", name(communicator));
  const auto ready = [this, work] {
    return work->complete() || work->communicator->gone() || state_.lost(work->communicator->device) != cudaSuccess;
  };
  cudaError_t code = state_.enqueue(*work->stream, what, std::move(all), [this, work] { post(work); });
  if (code == cudaSuccess) {
    communicator.under_way.push_back(work);
    code = state_.enqueue(*work->stream, "the end of " + what, std::move(filled), [this, work] { end(*work); }, {}, ready);
  }
  if (code != cudaSuccess) communicator.error = refuse(ncclUnhandledCudaError, fmt::format("{}: {}", what, cudaGetErrorString(code)));
}

void Nccl::post(const std::shared_ptr<Work>& work) {
  const ncclComm& communicator = *work->communicator;
  if (communicator.gone()) return;
  for (std::size_t i = 0; i < work->parts.size(); ++i) {
    const Part& part = work->parts[i];
    const auto [from, to] = part.sends ? std::pair(communicator.rank, part.peer) : std::pair(part.peer, communicator.rank);
    Way& way = communicator.clique->ways[{from, to}];
    (part.sends ? way.sends : way.receives).push_back({work, i});
    meet(*communicator.clique, from, to);
  }
}

void Nccl::meet(Clique& clique, int from, int to) {
  Way& way = clique.ways[{from, to}];
  if (way.sends.empty() || way.receives.empty()) return;
  const Posted send = way.sends.front(), receive = way.receives.front();
  way.sends.pop_front();
  way.receives.pop_front();
  const std::size_t bytes = std::min(send.part().bytes, receive.part().bytes);
  if (send.part().bytes != receive.part().bytes) {
    state_.find(fmt::format("NCCL: a send of {} bytes from rank {} meets a receive of {} bytes on rank {}", send.part().bytes, from,
                            receive.part().bytes, to));
  }
  if (way.wire == nullptr) way.wire = &state_.create_wire();
  const auto on_wire = std::make_shared<std::optional<std::string>>();
  // What moves may find that whose memory it is has gone, and must not touch it then: so these operations name no memory of their own.
  state_.put(*way.wire, "a send", [this, send, bytes, on_wire] {
    const std::vector<Access> accesses{access_of(send.part(), false)};
    if (send.work->over || state_.lost(send.work->communicator->device) != cudaSuccess) return;
    if (!state_.check_accesses("ncclSend", accesses, false)) return;
    const Opened open(state_.memory, accesses);
    on_wire->emplace(send.part().memory, bytes);
    send.part().over = true;
  });
  state_.put(*way.wire, "a receive", [this, send, receive, on_wire] {
    const std::vector<Access> accesses{access_of(receive.part(), false)};
    if (!*on_wire || send.work->communicator->gone()) return;
    if (receive.work->over || state_.lost(receive.work->communicator->device) != cudaSuccess) return;
    if (!state_.check_accesses("ncclRecv", accesses, false)) return;
    const Opened open(state_.memory, accesses);
    std::ranges::copy(**on_wire, receive.part().memory);
    receive.part().over = true;
  });
}

/// Garbage in what an aborted group did not fill is allowed for as long as it has not ended, which is now.
void Nccl::end(Work& work) {
  for (const Part& part : work.parts) {
    if (!part.over && !part.sends && !work.communicator->dead) std::memset(part.memory, garbage, part.bytes);
  }
  work.over = true;
  std::erase_if(work.communicator->under_way, [&](const auto& other) { return other.get() == &work; });
}

void Nccl::kill(const Context& process) {
  for (const auto& communicator : communicators_) {
    if (communicator->owner == &process) communicator->dead = true;
  }
}

}  // namespace holdfast::sim::cuda

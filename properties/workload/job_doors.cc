#include "properties/workload/job_doors.h"

#include <vector>

namespace holdfast::properties {
namespace {

Status in_job(const JobRanks& ranks, Rank rank, std::string_view what) {
  if (ranks.holds(rank)) return {};
  return fail(ErrorCode::invalid_argument, "{} rank {} of a job of {} ranks", what, rank, ranks.count);
}

Result<std::vector<port::Transfer>> of_world(const JobRanks& ranks, std::span<const port::Transfer> transfers) {
  std::vector<port::Transfer> shifted(transfers.begin(), transfers.end());
  for (port::Transfer& transfer : shifted) {
    TRY(in_job(ranks, transfer.peer, "exchange with"));
    transfer.peer = ranks.of_world(transfer.peer);
  }
  return shifted;
}

}  // namespace

Status JobNet::send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) {
  TRY(in_job(ranks_, to, "send to"));
  return world_.send(ranks_.of_world(to), tag, std::move(message), deadline);
}

Result<SharedBytes> JobNet::receive(Rank from, port::Tag tag, port::Deadline deadline) {
  TRY(in_job(ranks_, from, "receive from"));
  return world_.receive(ranks_.of_world(from), tag, deadline);
}

Status JobData::exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                         std::span<const port::Transfer> receives, port::Deadline deadline) {
  const std::vector<port::Transfer> out = TRY(of_world(ranks_, sends));
  const std::vector<port::Transfer> in = TRY(of_world(ranks_, receives));
  return world_.exchange(name, sequence, out, in, deadline);
}

}  // namespace holdfast::properties

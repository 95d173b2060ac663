#include "impl/backend/inprocess/exchanges.h"

#include <cstring>

namespace holdfast::backend {
namespace {

using Pieces = std::vector<ByteSpan>;

/// Null stands for no pieces.
std::optional<Error> mismatch(const std::string& label, Rank from, const Pieces* sends, Rank to, const Pieces* receives) {
  const std::size_t sent = sends ? sends->size() : 0;
  const std::size_t received = receives ? receives->size() : 0;
  if (sent != received) {
    return error(ErrorCode::invalid_argument, "{}: rank {} has {} sends to rank {}, which has {} receives from it", label, from, sent, to,
                 received);
  }
  for (std::size_t i = 0; i < sent; ++i) {
    if ((*sends)[i].size() == (*receives)[i].size()) continue;
    return error(ErrorCode::invalid_argument, "{}: send {} from rank {} to rank {} has {} bytes, its receive has {}", label, i, from, to,
                 (*sends)[i].size(), (*receives)[i].size());
  }
  return std::nullopt;
}

void copy(const Pieces* sends, const Pieces* receives) {
  for (std::size_t i = 0; sends && i < sends->size(); ++i) {
    if (!(*sends)[i].empty()) std::memmove((*receives)[i].data(), (*sends)[i].data(), (*sends)[i].size());
  }
}

const Pieces* find(const std::map<Rank, Pieces>& pieces, Rank peer) {
  const auto found = pieces.find(peer);
  return found == pieces.end() ? nullptr : &found->second;
}

}  // namespace

std::optional<Error> Exchanges::check(const std::string& label, Rank rank, std::span<const port::Transfer> transfers) const {
  for (const port::Transfer& transfer : transfers) {
    if (transfer.peer.value < 0 || static_cast<std::size_t>(transfer.peer.value) >= left_.size()) {
      return error(ErrorCode::invalid_argument, "{} on rank {}: peer {}, there are ranks 0 to {}", label, rank, transfer.peer,
                   left_.size() - 1);
    }
    if (transfer.kind != MemoryKind::host) {
      return error(ErrorCode::invalid_argument, "{} on rank {}: device memory, the in-process data plane moves host memory", label, rank);
    }
  }
  return std::nullopt;
}

/// Meets every rank that is here and waits for this one, or is waited for: compares sizes under the lock and copies outside it.
void Exchanges::meet(const std::string& label, Post& own, Posts& posts, std::unique_lock<std::mutex>& lock) {
  for (auto next = posts.begin(); next != posts.end() && !own.failure;) {
    Post& peer = *next->second;
    ++next;
    if (peer.failure || (!own.open.contains(peer.rank) && !peer.open.contains(own.rank))) continue;
    if (peer.peers.contains(own.rank) && !peer.open.contains(own.rank)) continue;  // it gave up and is about to return
    std::optional<Error> wrong = mismatch(label, own.rank, find(own.sends, peer.rank), peer.rank, find(peer.receives, own.rank));
    if (!wrong) wrong = mismatch(label, peer.rank, find(peer.sends, own.rank), own.rank, find(own.receives, peer.rank));
    if (wrong) {
      own.failure = peer.failure = wrong;
      changed_.notify_all();
      return;
    }
    own.open.erase(peer.rank);
    peer.open.erase(own.rank);
    ++own.copying;
    ++peer.copying;
    const Rank met = peer.rank;
    lock.unlock();
    copy(find(own.sends, met), find(peer.receives, own.rank));
    if (met != own.rank) copy(find(peer.sends, own.rank), find(own.receives, met));
    lock.lock();
    --own.copying;
    --peer.copying;
    changed_.notify_all();
    next = posts.upper_bound(met);  // others may have come and gone meanwhile; who came before `met` is met by himself
  }
}

std::optional<Error> Exchanges::hopeless(const std::string& label, const Post& own) const {
  if (own.failure) return own.failure;
  if (marked(aborted_, own.rank)) return error(ErrorCode::aborted, "{}: rank {} aborted its data plane", label, own.rank);
  if (marked(left_, own.rank)) return error(ErrorCode::peer_lost, "{}: rank {} has left", label, own.rank);
  for (const Rank peer : own.open) {
    if (marked(left_, peer)) return error(ErrorCode::peer_lost, "{}: rank {} has left", label, peer);
    if (marked(aborted_, peer)) return error(ErrorCode::peer_lost, "{}: rank {} aborted its data plane", label, peer);
  }
  return std::nullopt;
}

Status Exchanges::exchange(Rank rank, std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                           std::span<const port::Transfer> receives, port::Deadline deadline) {
  const std::string label = fmt::format("exchange \"{}\" #{}", name, sequence);
  if (auto wrong = check(label, rank, sends)) return fail(std::move(*wrong));
  if (auto wrong = check(label, rank, receives)) return fail(std::move(*wrong));
  Post own{rank, {}, {}, {}, {}, 0, std::nullopt};
  for (const port::Transfer& send : sends) own.sends[send.peer].push_back(send.bytes);
  for (const port::Transfer& receive : receives) own.receives[receive.peer].push_back(receive.bytes);
  for (const auto& [peer, pieces] : own.sends) own.peers.insert(peer);
  for (const auto& [peer, pieces] : own.receives) own.peers.insert(peer);
  own.open = own.peers;

  std::unique_lock lock(mutex_);
  const std::pair key(std::string(name), sequence);
  Posts& posts = exchanges_[key];
  if (!posts.emplace(rank, &own).second) return fail(ErrorCode::invalid_argument, "{}: rank {} is in it already", label, rank);

  std::optional<Error> failure = hopeless(label, own);
  if (!failure) meet(label, own, posts, lock);
  const auto settled = [&] {
    failure = hopeless(label, own);
    return failure || (own.open.empty() && own.copying == 0);
  };
  const std::chrono::steady_clock::time_point until(deadline.at.time_since_epoch());
  if (!failure && !changed_.wait_until(lock, until, settled) && !own.open.empty()) {
    failure = error(ErrorCode::timeout, "{}: rank {} still waits for ranks {} at the deadline", label, rank, fmt::join(own.open, ","));
  }
  own.open.clear();  // nobody meets this rank any more
  changed_.wait(lock, [&] { return own.copying == 0; });
  posts.erase(rank);
  if (posts.empty()) exchanges_.erase(key);
  if (failure) return fail(std::move(*failure));
  return {};
}

void Exchanges::abort(Rank rank) {
  const std::scoped_lock lock(mutex_);
  aborted_[static_cast<std::size_t>(rank.value)] = true;
  changed_.notify_all();
}

void Exchanges::leave(Rank rank) {
  const std::scoped_lock lock(mutex_);
  left_[static_cast<std::size_t>(rank.value)] = true;
  changed_.notify_all();
}

}  // namespace holdfast::backend

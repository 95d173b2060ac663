#include "sim/data_plane.h"

#include <algorithm>
#include <cstring>
#include <span>

namespace holdfast::sim {
namespace {

bool by_peer(const port::Transfer& a, const port::Transfer& b) { return a.peer < b.peer; }

std::vector<port::Transfer> sorted(std::span<const port::Transfer> transfers) {
  std::vector<port::Transfer> copy(transfers.begin(), transfers.end());
  std::stable_sort(copy.begin(), copy.end(), by_peer);
  return copy;
}

std::span<const port::Transfer> with(const std::vector<port::Transfer>& transfers, Rank peer) {
  const auto range = std::equal_range(transfers.begin(), transfers.end(), port::Transfer{peer, {}, {}}, by_peer);
  return {range.first, range.second};
}

}  // namespace

void Exchanges::rank_gone(RankState& rank) {
  for (const auto& exchange : exchanges_) {
    for (Party* party : exchange->parties) {
      if (std::binary_search(party->missing.begin(), party->missing.end(), rank.rank)) kernel_.scheduler().wake(*party->fiber);
    }
  }
}

Exchanges::Exchange& Exchanges::find(std::string_view name, std::uint64_t sequence) {
  for (const auto& exchange : exchanges_) {
    if (exchange->sequence == sequence && exchange->name == name) return *exchange;
  }
  exchanges_.push_back(std::make_unique<Exchange>(Exchange{std::string(name), sequence, {}}));
  return *exchanges_.back();
}

void Exchanges::enter(Exchange& exchange, Party& party) {
  exchange.parties.push_back(&party);
  for (Party* other : exchange.parties) {
    const bool is_peer = std::binary_search(party.missing.begin(), party.missing.end(), other->rank);
    const bool names_it = std::binary_search(other->missing.begin(), other->missing.end(), party.rank);
    if (is_peer || names_it) match(exchange, party, *other);
  }
}

void Exchanges::leave(Exchange& exchange, Party& party) {
  std::erase(exchange.parties, &party);
  if (exchange.parties.empty()) std::erase_if(exchanges_, [&](const auto& held) { return held.get() == &exchange; });
}

/// Empty when every send of `from` to `to` meets a receive of equal size.
std::string Exchanges::mismatch(const Exchange& exchange, const Party& from, const Party& to) {
  const auto sends = with(from.sends, to.rank);
  const auto receives = with(to.receives, from.rank);
  if (sends.size() != receives.size()) {
    return fmt::format("exchange \"{}\" #{}: rank {} sends {} spans to rank {}, which receives {}", exchange.name, exchange.sequence,
                       from.rank, sends.size(), to.rank, receives.size());
  }
  for (std::size_t k = 0; k < sends.size(); ++k) {
    if (sends[k].bytes.size() == receives[k].bytes.size()) continue;
    return fmt::format("exchange \"{}\" #{}: span {} from rank {} has {} bytes, rank {} receives {}", exchange.name, exchange.sequence, k,
                       from.rank, sends[k].bytes.size(), to.rank, receives[k].bytes.size());
  }
  return {};
}

void Exchanges::match(const Exchange& exchange, Party& a, Party& b) {
  std::string found = mismatch(exchange, a, b);
  if (found.empty()) found = mismatch(exchange, b, a);
  if (!found.empty()) {
    for (Party* party : {&a, &b}) {
      party->failed = true;
      party->failure = found;
      kernel_.scheduler().wake(*party->fiber);
    }
    return;
  }
  const auto copy = [](const Party& from, const Party& to) {
    const auto sends = with(from.sends, to.rank);
    const auto receives = with(to.receives, from.rank);
    for (std::size_t k = 0; k < sends.size(); ++k) {
      if (!sends[k].bytes.empty()) std::memmove(receives[k].bytes.data(), sends[k].bytes.data(), sends[k].bytes.size());
    }
  };
  copy(a, b);
  if (&a != &b) copy(b, a);
  std::erase(a.missing, b.rank);
  std::erase(b.missing, a.rank);
  if (b.missing.empty()) kernel_.scheduler().wake(*b.fiber);
}

/// Where a peer that does not come is instead.
std::string Exchanges::whereabouts(Rank rank) const {
  for (const auto& exchange : exchanges_) {
    for (const Party* party : exchange->parties) {
      if (party->rank == rank) return fmt::format("rank {} is in exchange \"{}\" #{}", rank, exchange->name, exchange->sequence);
    }
  }
  return fmt::format("rank {} is in no exchange", rank);
}

Status DataPlane::exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                           std::span<const port::Transfer> receives, port::Deadline deadline) {
  std::uint64_t bytes = 0;
  for (const port::Transfer& transfer : sends) {
    tsan::reads(transfer.bytes.data(), transfer.bytes.size());
    bytes += transfer.bytes.size();
  }
  const CallInfo info{.op = Op::data_exchange, .object = name, .bytes = bytes, .number = sequence};
  const auto effect = [&](std::string_view, std::string_view) -> Status {
    Exchanges::Party party{rank_.rank, kernel_.scheduler().running(), sorted(sends), sorted(receives), {}, false, {}};
    for (const auto* transfers : {&party.sends, &party.receives}) {
      for (const port::Transfer& transfer : *transfers) {
        if (transfer.peer.value < 0 || transfer.peer.value >= kernel_.scenario().world_size) {
          return fail(ErrorCode::invalid_argument, "exchange \"{}\" names rank {} of {}", name, transfer.peer,
                      kernel_.scenario().world_size);
        }
        party.missing.push_back(transfer.peer);
      }
    }
    std::sort(party.missing.begin(), party.missing.end());
    party.missing.erase(std::unique(party.missing.begin(), party.missing.end()), party.missing.end());
    return take_part(info, party, nanoseconds(deadline.at));
  };
  Status done = kernel_.waiting_call(rank_, info, deadline, effect);
  for (const port::Transfer& transfer : receives) tsan::writes(transfer.bytes.data(), transfer.bytes.size());
  return done;
}

Status DataPlane::take_part(const CallInfo& info, Exchanges::Party& party, Nanoseconds last) {
  if (aborted_) return fail(ErrorCode::aborted, "{}: rank {} aborted its data plane", to_string(info), rank_.rank);
  struct Membership {
    Exchanges& exchanges;
    Exchanges::Exchange& exchange;
    Exchanges::Party& party;
    ~Membership() { exchanges.leave(exchange, party); }
  };
  Exchanges::Exchange& exchange = exchanges_.find(info.object, info.number);
  const auto is_self = [&](const Exchanges::Party* other) { return other->rank == rank_.rank; };
  if (std::any_of(exchange.parties.begin(), exchange.parties.end(), is_self)) {
    return fail(ErrorCode::invalid_argument, "{}: rank {} is in it already", to_string(info), rank_.rank);
  }
  const Membership membership{exchanges_, exchange, party};
  exchanges_.enter(exchange, party);
  while (true) {
    if (party.failed) return fail(ErrorCode::invalid_argument, "{}", party.failure);
    if (aborted_) return fail(ErrorCode::aborted, "{}: rank {} aborted its data plane", to_string(info), rank_.rank);
    if (party.missing.empty()) return {};
    Nanoseconds next = last;
    for (const Rank peer : party.missing) {
      const Nanoseconds known = exchanges_.network_.loss_known_at(rank_.rank, peer);
      if (known <= kernel_.now()) return fail(ErrorCode::peer_lost, "{}: rank {} is gone", to_string(info), peer);
      next = std::min(next, known);
    }
    if (kernel_.now() >= last) {
      return fail(ErrorCode::timeout, "{}: the deadline passed; {} ranks did not come, {}", to_string(info), party.missing.size(),
                  exchanges_.whereabouts(party.missing.front()));
    }
    kernel_.wait(rank_, info, next);
    if (rank_.dead) return fail(Kernel::void_error());
  }
}

void DataPlane::abort() {
  const tsan::Inside inside;
  if (rank_.dead) return;
  aborted_ = true;
  for (const auto& exchange : exchanges_.exchanges_) {
    for (const Exchanges::Party* party : exchange->parties) {
      if (party->rank == rank_.rank) kernel_.scheduler().wake(*party->fiber);
    }
  }
}

}  // namespace holdfast::sim

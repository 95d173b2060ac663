#include "sim/net.h"

#include <algorithm>
#include <array>

namespace holdfast::sim {
namespace {

constexpr std::array<Nanoseconds, 6> travel = {0, 10'000, 20'000, 40'000, 100'000, 2'000'000};
constexpr std::array<Nanoseconds, 4> detection = {0, 100'000, 5'000'000, 500'000'000};

std::uint64_t key(Rank a, std::uint32_t b) { return static_cast<std::uint64_t>(a.value) << 32 | b; }

}  // namespace

Network::Network(Kernel& kernel) : kernel_(kernel), boxes_of_(kernel.ranks().size()), gone_at_(kernel.ranks().size(), never) {
  kernel.add_listener(*this);
}

Network::Mailbox& Network::mailbox(Rank to, Rank from, std::uint32_t channel) {
  const auto [entry, is_new] = boxes_of_[static_cast<std::size_t>(to.value)].try_emplace(key(from, channel), 0);
  if (is_new) {
    entry->second = static_cast<std::uint32_t>(boxes_.size());
    boxes_.push_back({});
    boxes_.back().from = from;
  }
  return boxes_[entry->second];
}

void Network::wake_all(Kernel& kernel, Mailbox& box) {
  for (Fiber* fiber : box.waiting) kernel.scheduler().wake(*fiber);
}

void Network::rank_gone(RankState& rank) {
  gone_at_[static_cast<std::size_t>(rank.rank.value)] = kernel_.now();
  for (Mailbox& box : boxes_) {
    if (box.from != rank.rank) continue;
    if (rank.dead) {  // what a killed rank had posted arrives as far as a decision says
      const auto arrived = std::find_if(box.messages.begin() + static_cast<std::ptrdiff_t>(box.head), box.messages.end(),
                                        [&](const Message& m) { return m.arrival > kernel_.now(); });
      const auto in_flight = static_cast<std::uint32_t>(box.messages.end() - arrived);
      const std::uint32_t lost = kernel_.decisions().pick(DecisionKind::in_flight, in_flight + 1);
      box.messages.resize(box.messages.size() - lost);
    }
    wake_all(kernel_, box);
  }
}

Nanoseconds Network::loss_known_at(Rank observer, Rank peer) {
  const Nanoseconds gone = gone_at_[static_cast<std::size_t>(peer.value)];
  if (gone == never) return never;
  const auto [entry, is_new] = loss_known_.try_emplace(key(observer, static_cast<std::uint32_t>(peer.value)), 0);
  if (is_new) {
    const bool random = kernel_.scenario().random_latency;
    entry->second = gone + (random ? detection[kernel_.decisions().pick(DecisionKind::loss_detection, detection.size())] : detection[1]);
  }
  return entry->second;
}

Status Net::send(Rank to, port::Tag tag, SharedBytes message, port::Deadline deadline) {
  const CallInfo info{.op = Op::net_send, .peer = to.value, .bytes = message.size(), .number = tag.sequence};
  const auto effect = [this, to, tag, message](std::string_view, std::string_view) { return post(to, tag, message); };
  return kernel_.call(rank_, info, deadline, effect);
}

Status Net::post(Rank to, port::Tag tag, const SharedBytes& message) {
  if (to == rank_.rank || to.value < 0 || to.value >= world_size()) {
    return fail(ErrorCode::invalid_argument, "rank {} sends to rank {} of {}", rank_.rank, to, world_size());
  }
  if (message.size() > max_message_bytes()) {
    return fail(ErrorCode::invalid_argument, "a message of {} bytes to rank {}: at most {} are possible", message.size(), to,
                max_message_bytes());
  }
  if (network_.loss_known_at(rank_.rank, to) <= kernel_.now())
    return fail(ErrorCode::peer_lost, "send to rank {}: its connection ended", to);
  Network::Mailbox& box = network_.mailbox(to, rank_.rank, tag.channel);
  if (box.used && tag.sequence <= box.last_sequence) {
    return fail(ErrorCode::invalid_argument, "send to rank {} on channel {}: tag {} after tag {}, tags must rise", to, tag.channel,
                tag.sequence, box.last_sequence);
  }
  box.used = true;
  box.last_sequence = tag.sequence;
  rank_.traffic.messages_sent += 1;
  rank_.traffic.bytes_sent += message.size();
  const RankState& receiver = kernel_.rank(to);
  if (receiver.dead || receiver.ended) return {};
  const bool random = kernel_.scenario().random_latency;
  Nanoseconds arrival = kernel_.now() + (random ? travel[kernel_.decisions().pick(DecisionKind::message_delay, travel.size())] : 0);
  if (box.head != box.messages.size()) arrival = std::max(arrival, box.messages.back().arrival);
  box.messages.push_back({tag.sequence, message, arrival});
  tsan::release(&box);
  Network::wake_all(kernel_, box);
  return {};
}

Result<SharedBytes> Net::receive(Rank from, port::Tag tag, port::Deadline deadline) {
  const CallInfo info{.op = Op::net_receive, .peer = from.value, .number = tag.sequence};
  return kernel_.waiting_call(rank_, info, deadline,
                              [&](std::string_view, std::string_view) { return await(from, tag, nanoseconds(deadline.at), info); });
}

Result<SharedBytes> Net::await(Rank from, port::Tag tag, Nanoseconds last, const CallInfo& info) {
  if (from == rank_.rank || from.value < 0 || from.value >= world_size()) {
    return fail(ErrorCode::invalid_argument, "rank {} receives from rank {} of {}", rank_.rank, from, world_size());
  }
  Network::Mailbox& box = network_.mailbox(rank_.rank, from, tag.channel);
  while (true) {
    while (box.head < box.messages.size() && box.messages[box.head].sequence < tag.sequence &&
           box.messages[box.head].arrival <= kernel_.now()) {
      box.messages[box.head++].bytes = {};
    }
    if (box.head == box.messages.size()) {
      box.messages.clear();
      box.head = 0;
    }
    Nanoseconds next = last;
    if (box.head < box.messages.size()) {
      Network::Message& front = box.messages[box.head];
      if (front.sequence == tag.sequence && front.arrival <= kernel_.now()) {
        tsan::acquire(&box);
        SharedBytes bytes = std::move(front.bytes);
        ++box.head;
        rank_.traffic.messages_received += 1;
        rank_.traffic.bytes_received += bytes.size();
        return bytes;
      }
      if (front.arrival > kernel_.now()) next = std::min(next, front.arrival);
    }
    const bool may_come =
        box.head < box.messages.size() && box.messages.back().sequence >= tag.sequence && box.messages[box.head].sequence <= tag.sequence;
    const Nanoseconds known = network_.loss_known_at(rank_.rank, from);
    if (known <= kernel_.now() && !may_come)
      return fail(ErrorCode::peer_lost, "receive #{} from rank {}: its connection ended", tag.sequence, from);
    if (known > kernel_.now()) next = std::min(next, known);
    if (kernel_.now() >= last) return fail(kernel_.timed_out(info));
    box.waiting.push_back(kernel_.scheduler().running());
    const auto leave = [&] { box.waiting.erase(std::find(box.waiting.begin(), box.waiting.end(), kernel_.scheduler().running())); };
    try {
      kernel_.wait(rank_, info, next);
    } catch (...) {
      leave();
      throw;
    }
    leave();
    if (rank_.dead) return fail(Kernel::void_error());
  }
}

}  // namespace holdfast::sim

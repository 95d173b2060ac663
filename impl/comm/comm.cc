#include "impl/comm/comm.h"

#include <algorithm>

#include "impl/comm/round_message.h"
#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::comm {
namespace {

constexpr std::uint64_t rounds_per_operation = 1u << 16;
constexpr std::uint64_t frames_max = 1u << 12;  ///< of one message
constexpr std::size_t frame_head = 4;           ///< u32 at the start of the first frame: how many frames there are

SharedBytes with_operation(const std::string& operation, const SharedBytes& contribution) {
  Encoder out;
  out.text(operation);
  out.raw(contribution.view());
  return out.take();
}

void add_lost(std::vector<Rank>& lost, const std::vector<Rank>& more) {
  lost.insert(lost.end(), more.begin(), more.end());
  std::ranges::sort(lost);
  lost.erase(std::unique(lost.begin(), lost.end()), lost.end());
}

/// The part of a decision that concerns the ranks of one subtree. What is for single ranks is in rank order, here as there.
Descent restrict_to(const Descent& decision, const std::vector<Rank>& ranks) {
  Descent part{decision.kind, decision.common, {}, decision.failures, decision.lost};
  for (const Rank rank : ranks) {
    const auto entry = std::ranges::lower_bound(decision.individual, rank, {}, [](const auto& e) { return e.first; });
    if (entry != decision.individual.end() && entry->first == rank) part.individual.push_back(*entry);
  }
  return part;
}

RoundResult<Received> open(const Descent& decision, Rank rank) {
  if (decision.kind != Descent::Kind::agreed) {
    return tl::unexpected(RoundFailure{decision.failures, decision.lost, decision.kind == Descent::Kind::failed});
  }
  Received received{decision.common, {}};
  for (const auto& [to, bytes] : decision.individual) {
    if (to == rank) received.own = bytes;
  }
  return received;
}

}  // namespace

Timetable::Timetable(port::Deadline end, port::Duration total, int height)
    : end_(end), total_(total), hop_(total / (8 * std::max(height, 1))), height_(height) {}

port::Deadline Timetable::work() const { return {end_.at - total_ / 4 - 2 * height_ * hop_}; }
port::Deadline Timetable::up(int depth) const { return {end_.at - total_ / 4 - (height_ + depth) * hop_}; }
port::Deadline Timetable::reduce() const { return {end_.at - height_ * hop_}; }
port::Deadline Timetable::down(int depth) const { return {end_.at - (height_ - depth) * hop_}; }

struct Comm::Heard {
  Ascent ascent;
  std::vector<Rank> children;
};

Comm::Comm(port::Net& net, port::Clock& clock, Options options)
    : net_(net), clock_(clock), rank_(options.alone ? Rank{0} : net.rank()), world_size_(options.alone ? 1 : net.world_size()),
      coordinator_(options.alone ? Rank{0} : options.coordinator), tree_(world_size_, coordinator_, options.fan_out),
      channel_(options.channel) {}

void Comm::begin(std::string operation) {
  ++operation_;
  round_ = 0;
  operation_name_ = std::move(operation);
}

Timetable Comm::schedule(port::Deadline end) { return Timetable(end, std::max(end.at - clock_.now(), port::Duration(0)), tree_.height()); }

Status Comm::send(Rank to, port::Tag tag, const SharedBytes& message, port::Deadline deadline) {
  const std::size_t frame_bytes = net_.max_message_bytes();
  const std::size_t whole = message.size() + frame_head;
  const std::uint64_t frames = (whole + frame_bytes - 1) / frame_bytes;
  if (frames > frames_max) {
    return fail(ErrorCode::invalid_argument, "round: a message of {} bytes; at most {} of {} are sent", message.size(), frames_max,
                frame_bytes);
  }
  if (frames > 1) MARK("comm.frames");
  Encoder head;
  head.u32(static_cast<std::uint32_t>(frames));
  const std::size_t first = std::min(message.size(), frame_bytes - frame_head);
  head.raw(message.view().first(first));
  traffic_.bytes_sent += whole;
  TRY(net_.send(to, tag, head.take(), deadline));
  for (std::size_t at = first; at < message.size(); at += frame_bytes) {
    ++tag.sequence;
    TRY(net_.send(to, tag, message.part(at, std::min(frame_bytes, message.size() - at)), deadline));
  }
  return {};
}

Result<SharedBytes> Comm::receive(Rank from, port::Tag tag, port::Deadline deadline) {
  const SharedBytes head = TRY(net_.receive(from, tag, deadline));
  Decoder in(head.view(), "round message");
  const std::uint32_t frames = TRY(in.u32());
  if (frames == 0 || frames > frames_max) return fail(ErrorCode::corrupt, "round: a message of {} frames from rank {}", frames, from);
  traffic_.bytes_received += head.size();
  if (frames == 1) return head.part(frame_head, head.size() - frame_head);
  Bytes whole = to_bytes(head.view().subspan(frame_head));
  for (std::uint32_t i = 1; i < frames; ++i) {
    ++tag.sequence;
    const SharedBytes frame = TRY(net_.receive(from, tag, deadline));
    traffic_.bytes_received += frame.size();
    whole.insert(whole.end(), frame.view().begin(), frame.view().end());
  }
  return SharedBytes(std::move(whole));
}

RoundResult<Received> Comm::agree(Result<SharedBytes> contribution, const Reduce& reduce, const Timetable& times) {
  CHECK(operation_ != 0, "begin() comes before the first round");
  ++round_;
  ++traffic_.rounds;
  const port::Tag tag{channel_, (operation_ * rounds_per_operation + round_) * frames_max};
  if (contribution) contribution = with_operation(operation_name_, *contribution);
  Heard heard = gather(std::move(contribution), times, tag);
  return is_coordinator() ? lead(std::move(heard), reduce, times, tag) : follow(std::move(heard), times, tag);
}

Comm::Heard Comm::gather(Result<SharedBytes> contribution, const Timetable& times, port::Tag tag) {
  Heard heard{{}, tree_.children(rank_)};
  const int depth = tree_.depth(rank_);
  if (contribution) {
    heard.ascent.contributions.emplace_back(rank_, *std::move(contribution));
  } else if (MUTATE("comm.only_coordinator_reports", true, is_coordinator())) {
    heard.ascent.failures.add(rank_, std::move(contribution).error());
  } else {
    heard.ascent.contributions.emplace_back(rank_, with_operation(operation_name_, {}));
  }
  for (const Rank child : heard.children) {
    const Result<SharedBytes> message = receive(child, tag, times.up(depth));
    Result<Ascent> below = message ? decode_ascent(*message) : fail(message.error());
    if (!below) {
      MARK("comm.child_lost");
      add_lost(heard.ascent.lost, tree_.subtree(child));
      continue;
    }
    heard.ascent.failures.merge(below->failures);
    add_lost(heard.ascent.lost, below->lost);
    std::ranges::move(below->contributions, std::back_inserter(heard.ascent.contributions));
  }
  std::ranges::sort(heard.ascent.contributions, {}, [](const auto& entry) { return entry.first; });
  return heard;
}

/// Takes the name of the operation off every contribution; a rank whose name is not ours fails, since its bytes mean something else.
void Comm::check_operations(std::vector<std::pair<Rank, SharedBytes>>& contributions, FailureMap& failures) const {
  for (auto& [rank, bytes] : contributions) {
    Decoder in(bytes.view(), "contribution");
    const Result<std::string> name = in.text();
    if (!name) {
      failures.add(rank, name.error());
    } else if (MUTATE("comm.any_operation", *name != operation_name_, false)) {
      MARK("comm.other_operation");
      failures.add(rank, error(ErrorCode::invalid_argument, "this rank is in \"{}\", the coordinator, rank {}, in \"{}\"", *name, rank_,
                               operation_name_));
    } else {
      bytes = bytes.part(in.offset(), in.left());
    }
  }
}

/// What each child is told: one message for all when nobody is told anything of his own.
std::vector<SharedBytes> Comm::messages_for(const std::vector<Rank>& children, const Descent& decision) const {
  std::vector<SharedBytes> messages;
  for (const Rank child : children) {
    if (decision.individual.empty() && !messages.empty()) {
      messages.push_back(messages.front());
    } else {
      messages.emplace_back(encode(decision.individual.empty() ? decision : restrict_to(decision, tree_.subtree(child))));
    }
  }
  return messages;
}

/// A child that cannot be told finds out by its own deadline; the decision stands.
void Comm::tell(const std::vector<Rank>& children, const Descent& decision, const Timetable& times, port::Tag tag) {
  const std::vector<SharedBytes> messages = messages_for(children, decision);
  const port::Deadline deadline = times.down(tree_.depth(rank_) + 1);
  for (std::size_t c = 0; c < children.size(); ++c) {
    if (!send(children[c], tag, messages[c], deadline)) MARK("comm.child_not_told");
  }
}

RoundResult<Received> Comm::lead(Heard heard, const Reduce& reduce, const Timetable& times, port::Tag tag) {
  Descent decision;
  decision.lost = heard.ascent.lost;
  decision.failures = std::move(heard.ascent.failures);
  check_operations(heard.ascent.contributions, decision.failures);
  if (MUTATE("comm.drop_one_failed_rank", false, decision.failures.ranks().size() > 1)) {
    FailureMap without;
    for (const Rank rank : decision.failures.ranks()) {
      if (rank != decision.failures.ranks().front()) without.add(rank, *decision.failures.find(rank));
    }
    decision.failures = without;
  }
  decision.kind = decision.failures.empty() && decision.lost.empty() ? Descent::Kind::agreed : Descent::Kind::failed;
  if (decision.kind == Descent::Kind::agreed) {
    std::vector<SharedBytes> contributions;
    contributions.reserve(heard.ascent.contributions.size());
    for (auto& [rank, bytes] : heard.ascent.contributions) contributions.push_back(std::move(bytes));
    Result<Answer> answer = reduce(std::move(contributions));
    if (answer) {
      decision.common = answer->common;
      for (std::size_t r = 0; r < answer->by_rank.size(); ++r) {
        decision.individual.emplace_back(Rank{static_cast<std::int32_t>(r)}, std::move(answer->by_rank[r]));
      }
    } else {
      MARK("comm.reduce_failed");
      decision.kind = Descent::Kind::failed;
      decision.failures.add(rank_, std::move(answer).error());
    }
  }
  tell(heard.children, decision, times, tag);
  return open(decision, rank_);
}

RoundResult<Received> Comm::follow(Heard heard, const Timetable& times, port::Tag tag) {
  const int depth = tree_.depth(rank_);
  const Rank parent = tree_.parent(rank_);
  // Whether this arrives shows in the parent's answer: it names us as lost if not.
  if (!send(parent, tag, encode(heard.ascent), times.up(depth - 1))) MARK("comm.parent_not_told");
  const Result<SharedBytes> message = receive(parent, tag, times.down(depth));
  Result<Descent> decision = message ? decode_descent(*message) : fail(message.error());
  if (!decision) {
    MARK("comm.decision_unknown");
    decision = Descent{Descent::Kind::unknown, {}, {}, {}, {parent}};
  }
  tell(heard.children, *decision, times, tag);
  return open(*decision, rank_);
}

}  // namespace holdfast::comm

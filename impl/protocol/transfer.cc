#include "impl/protocol/transfer.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "impl/core/mark.h"
#include "impl/core/mutate.h"
#include "impl/plan/problems.h"
#include "impl/plan/transfer_codec.h"
#include "impl/protocol/exchange_causes.h"
#include "impl/protocol/key_report.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/round.h"
#include "impl/protocol/transfer_move.h"

namespace holdfast::protocol {
namespace {

/// What every rank hears in the plan round: the plan, or who is refused.
struct PlanAnswer {
  FailureMap failures;
  std::vector<std::string> missing, unexpected;
  std::uint64_t first_exchange = 0;
};

Bytes encode_plan_answer(const PlanAnswer& answer) {
  Encoder out;
  answer.failures.encode(out);
  encode(out, answer.missing);
  encode(out, answer.unexpected);
  out.varint(answer.first_exchange);
  return out.take();
}

Result<PlanAnswer> decode_plan_answer(ByteView bytes) {
  Decoder in(bytes, "transfer plan");
  PlanAnswer answer;
  answer.failures = TRY(FailureMap::decode(in));
  answer.missing = TRY(decode_texts(in));
  answer.unexpected = TRY(decode_texts(in));
  answer.first_exchange = TRY(in.varint());
  TRY(in.finish());
  return answer;
}

CheckpointError refused(std::string step, FailureMap failures) { return {std::move(step), Outcome::failed, std::move(failures), {}}; }

/// One transfer on one rank.
struct Transfer {
  Session& session;
  const StateDict& from;
  const StateDict& to;
  const TransferOptions& options;
  Result<TrainerWork> after;
  std::unique_ptr<Mover> mover = {};
  plan::TransferPlan whole = {};  ///< on the coordinator
  PlanAnswer answer = {};
  plan::TransferPlan part = {};  ///< what this rank has to do with

  std::uint64_t window_bytes() const { return options.memory_budget_bytes / 2 / plan::room_unit * plan::room_unit; }
  Result<SharedBytes> offer(const Status& before, port::Deadline deadline);
  Result<comm::Answer> plan_globally(const std::vector<SharedBytes>& offers);
  Status take_part(const comm::Received& received);
  Result<SharedBytes> move(const Status& has_part, port::Deadline deadline);
  Result<comm::Answer> judge(const std::vector<SharedBytes>& reports) const;
  FailureMap differences(const std::vector<MoveReport>& reports) const;
  Transferred told() const;
};

/// What a rank needs for any plan it has before there is one: later it could only let the others down.
Result<SharedBytes> Transfer::offer(const Status& before, port::Deadline deadline) {
  session.env().enter("transfer plan");
  TRY(before);
  if (!after) return fail(after.error());
  if (window_bytes() == 0) {
    return fail(ErrorCode::invalid_argument, "plan transfer: a memory budget of {} bytes; expected {} at least",
                options.memory_budget_bytes, 2 * plan::room_unit);
  }
  const plan::TransferOffer offer = TRY(plan::local_transfer_offer(from, to));
  mover = TRY(Mover::open(session, from, to, window_bytes(), *after, deadline));
  Encoder out;
  encode(out, offer);
  return SharedBytes(out.take());
}

Result<comm::Answer> Transfer::plan_globally(const std::vector<SharedBytes>& messages) {
  std::vector<plan::TransferOffer> offers;
  for (const SharedBytes& bytes : messages) {
    Decoder in(bytes.view(), "transfer offer");
    offers.push_back(TRY(plan::decode_transfer_offer(in)));
    TRY(in.finish());
  }
  plan::TransferDecision decision = plan::global_transfer_plan(offers, {window_bytes(), options.strict, options.all_of_source});
  if (decision.failures.empty() && decision.plan.moves.empty())
    return fail(ErrorCode::invalid_argument, "plan transfer: nothing to move: no rank wants an element that does not lie there already");
  PlanAnswer told{std::move(decision.failures), std::move(decision.missing), std::move(decision.unexpected), 0};
  std::vector<SharedBytes> by_rank;
  if (told.failures.empty()) {
    whole = std::move(decision.plan);
    TRY(plan::check_transfer_plan(whole, offers, window_bytes()));
    told.first_exchange = session.take_exchanges(whole.windows);
    for (const plan::TransferPlan& of_rank : plan::parts_of(whole, offers.size())) {
      Encoder out;
      plan::encode(out, of_rank);
      by_rank.emplace_back(out.take());
    }
  }
  return comm::Answer{encode_plan_answer(told), std::move(by_rank)};
}

Status Transfer::take_part(const comm::Received& received) {
  answer = TRY(decode_plan_answer(received.common.view()));
  if (!answer.failures.empty()) return {};
  Decoder in(received.own.view(), "transfer plan");
  part = TRY(plan::decode_transfer_plan(in));
  return in.finish();
}

Result<SharedBytes> Transfer::move(const Status& has_part, port::Deadline deadline) {
  session.env().enter("transfer move");
  TRY(has_part);
  const MoveReport report = TRY(mover->run(part, answer.first_exchange, deadline));
  Encoder out;
  encode(out, report);
  return SharedBytes(out.take());
}

/// What was not written as it was read, by the rank that wrote it.
FailureMap Transfer::differences(const std::vector<MoveReport>& reports) const {
  std::vector<std::size_t> sent(reports.size()), received(reports.size());
  std::map<Rank, plan::Problems> problems;
  for (const plan::Move& move : whole.moves) {
    const auto source = static_cast<std::size_t>(move.source.value), destination = static_cast<std::size_t>(move.destination.value);
    const TensorDigest& read = reports[source].sent[sent[source]++];
    const TensorDigest& written = reports[destination].received[received[destination]++];
    if (MUTATE("transfer.digests_uncompared", read == written, true)) continue;
    MARK("transfer.corrupt_found");
    problems[move.destination].add("\"{}\" box {} from rank {} to rank {}: the digest is {} in the source, {} in the destination",
                                   whole.tensors[move.tensor], to_string(move.box), move.source, move.destination, to_string(read),
                                   to_string(written));
  }
  FailureMap failures;
  for (const auto& [rank, found] : problems) failures.add(rank, found.status(ErrorCode::corrupt, "transfer").error());
  return failures;
}

Result<comm::Answer> Transfer::judge(const std::vector<SharedBytes>& messages) const {
  std::vector<MoveReport> reports;
  for (const SharedBytes& bytes : messages) {
    Decoder in(bytes.view(), "transfer report");
    reports.push_back(TRY(decode_move_report(in)));
    TRY(in.finish());
  }
  std::vector<FailureMap> exchanges;
  for (const MoveReport& report : reports) exchanges.push_back(report.exchange);
  FailureMap failures = causes_of(exchanges);
  std::vector<std::size_t> sent(reports.size()), received(reports.size());
  for (const plan::Move& move : whole.moves) {
    ++sent[static_cast<std::size_t>(move.source.value)];
    ++received[static_cast<std::size_t>(move.destination.value)];
  }
  for (std::size_t r = 0; failures.empty() && r < reports.size(); ++r) {
    if (reports[r].sent.size() == sent[r] && reports[r].received.size() == received[r]) continue;
    return fail(ErrorCode::corrupt, "transfer: rank {} reports {} and {} digests; expected {} and {}", r, reports[r].sent.size(),
                reports[r].received.size(), sent[r], received[r]);
  }
  if (failures.empty()) failures = differences(reports);
  Encoder out;
  failures.encode(out);
  return comm::Answer{out.take(), {}};
}

Transferred Transfer::told() const {
  Transferred done{part.windows, answer.missing, answer.unexpected};
  const Rank self = session.comm().rank();
  for (const plan::Move& move : part.moves) {
    const bool sends = move.source == self, receives = move.destination == self;
    (sends && receives ? done.copied_bytes : sends ? done.sent_bytes : done.received_bytes) += move.bytes;
  }
  return done;
}

/// The rounds plan and move.
Checkpointed<Transferred> run(Transfer& transfer, const Status& before, port::Deadline end) {
  comm::Comm& comm = transfer.session.comm();
  const comm::Timetable plan_times = comm.schedule(end);
  auto planned = comm.agree(
      transfer.offer(before, plan_times.work()), [&](std::vector<SharedBytes> offers) { return transfer.plan_globally(offers); },
      plan_times);
  if (!planned) return tl::unexpected(to_error("plan", std::move(planned).error(), Outcome::failed));
  const Status has_part = transfer.take_part(*planned);
  if (!transfer.answer.failures.empty()) return tl::unexpected(refused("plan", transfer.answer.failures));

  const comm::Timetable move_times = comm.schedule(end);
  auto moved = comm.agree(
      transfer.move(has_part, move_times.work()), [&](std::vector<SharedBytes> reports) { return transfer.judge(reports); }, move_times);
  if (!moved) return tl::unexpected(to_error("move", std::move(moved).error(), Outcome::unknown));
  Decoder in(moved->common.view(), "transfer verdict");
  Result<FailureMap> verdict = FailureMap::decode(in);
  if (!verdict) {
    FailureMap failures;
    failures.add(comm.rank(), std::move(verdict).error());
    return tl::unexpected(CheckpointError{"move", Outcome::unknown, std::move(failures), {}});
  }
  if (!verdict->empty()) return tl::unexpected(refused("move", *std::move(verdict)));
  return transfer.told();
}

}  // namespace

Checkpointed<Transferred> transfer(Session& session, const StateDict& from, const StateDict& to, const TransferOptions& options) {
  const port::Deadline end = session.env().clock.after(options.deadline);
  Result<TrainerWork> after = TrainerWork::enqueued_on(session.env(), MUTATE("transfer.after_ignored", options.after, std::nullopt));
  const Checkpointed<Status> before = settle(session, end);
  if (!before) return tl::unexpected(before.error());
  session.comm().begin("transfer");
  Transfer hooks{session, from, to, options, std::move(after)};
  Checkpointed<Transferred> done = run(hooks, *before, end);
  if (!done) session.unfinished().await(end);
  if (hooks.mover && hooks.mover->left_in_use()) session.retain(hooks.mover->left_in_use());
  hooks.mover.reset();
  session.staging()->trim(options.staging_keep_bytes);
  return done;
}

}  // namespace holdfast::protocol

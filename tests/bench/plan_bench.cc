// Planning a save of Llama-3.1-405B: what the coordinator does between the last local plan and the first reply, and what a rank does before.
#include <malloc.h>

#include <algorithm>
#include <map>

#include "impl/core/digest.h"
#include "impl/format/manifest.h"
#include "impl/plan/codec.h"
#include "impl/plan/load_plan.h"
#include "impl/plan/plan_cache.h"
#include "impl/plan/save_plan.h"
#include "impl/plan/summary.h"
#include "impl/plan/transfer_plan.h"
#include "impl/protocol/plan_offer.h"
#include "properties/gen/paper_job.h"
#include "tests/bench/bench.h"
#include "tests/bench/llama_405b.h"
#include "tests/bench/plan_check.h"
#include "tests/bench/plan_peer.h"

namespace holdfast::bench {
namespace {

constexpr const char* dtypes = "bf16,f32";

/// Every rank's tensors, and a byte value that all ranks have.
std::vector<SavePlan> local_plans(const std::vector<LayoutItem>& held, std::int64_t ranks) {
  std::vector<std::vector<LayoutItem>> of_stage(16);
  constexpr std::int64_t tp = 8;
  for (const LayoutItem& item : held) of_stage[static_cast<std::size_t>(item.layout.mesh.first / tp)].push_back(item);
  std::vector<LayoutTable> tables;
  for (auto& items : of_stage) tables.push_back(std::make_shared<const std::vector<LayoutItem>>(std::move(items)));
  WriteItem trainer;
  trainer.index.fqn = "trainer";
  trainer.nbytes = 1000;
  std::vector<SavePlan> plans(static_cast<std::size_t>(ranks));
  for (std::size_t r = 0; r < plans.size(); ++r) {
    plans[r].items = {trainer};
    plans[r].layouts = tables[r / tp % tables.size()];
  }
  return plans;
}

/// What the coordinator has received: a message of its own from every rank.
struct Received {
  std::vector<Bytes> messages;
  std::vector<ByteView> views;
  std::uint64_t bytes = 0;
};

Received receive(const std::vector<SavePlan>& plans) {
  Received received;
  std::map<const void*, Bytes> known;  // ranks with the same table send the same bytes; to look up only
  for (const SavePlan& plan : plans) {
    Bytes& message = known[plan.layouts.get()];
    if (message.empty()) {
      Encoder out;
      plan::encode(out, plan);
      message = out.take();
    }
    received.messages.push_back(message);
    received.bytes += message.size();
  }
  received.views.assign(received.messages.begin(), received.messages.end());
  return received;
}

struct Planned {
  plan::GlobalSavePlan global;
  std::vector<SharedBytes> replies;
  Bytes manifest;
};

/// From the messages to every reply and the encoded manifest. Segments, digests and byte values come from the ranks later: they are given.
Result<Planned> plan_save(const Received& received, const format::Manifest& rest) {
  Planned planned;
  std::vector<SavePlan> local = TRY(plan::decode_save_plans(received.views));
  planned.global = TRY(plan::global_save_plan(local));
  planned.replies = plan::encode_replies(local, planned.global.plans);
  format::Manifest manifest = rest;
  for (const auto& [key, entry] : planned.global.metadata.entries) {
    const auto* tensor = std::get_if<TensorMetadata>(&entry);
    if (tensor) manifest.tensors.emplace_hint(manifest.tensors.end(), key, format::TensorRecord{*tensor, {}, {}});
  }
  planned.manifest = format::encode_manifest(manifest);
  return planned;
}

format::Manifest rest_of_manifest(const std::vector<std::uint16_t>& rank_segments) {
  format::Manifest manifest;
  manifest.step = Step{100000};
  manifest.attempt = 7;
  manifest.sequence = 7;
  manifest.world_size = static_cast<std::int32_t>(rank_segments.size());
  manifest.block_bytes = 1 << 20;
  for (std::size_t r = 0; r < rank_segments.size(); ++r) {
    for (std::uint16_t number = 0; number < rank_segments[r]; ++number) {
      const std::uint64_t id = r * 65536 + number;
      const BlockDigest digest = block_digest(ByteView(reinterpret_cast<const std::byte*>(&id), sizeof(id)));
      manifest.segments.push_back({{Rank{static_cast<std::int32_t>(r)}, number}, (digest.low >> 30) + (64 << 10), 64 << 10, digest});
    }
  }
  manifest.bytes["trainer"] = {Rank{0}, 0, 1000, {}};
  return manifest;
}

/// Each different reply gives its rank what the global plan says.
Status check_replies(const std::vector<SavePlan>& local, const Planned& planned, std::uint64_t& bytes, std::uint64_t& distinct_bytes) {
  std::map<const void*, bool> seen;  // buffers; to look up only
  for (std::size_t r = 0; r < local.size(); ++r) {
    const SharedBytes& reply = planned.replies[r];
    bytes += reply.size();
    if (!seen.emplace(reply.view().data(), true).second) continue;
    distinct_bytes += reply.size();
    Decoder in(reply.view(), "reply");
    const SavePlan plan = TRY(plan::apply_kept(local[r], in));
    if (plan != planned.global.plans[r]) return fail(ErrorCode::corrupt, "the reply to rank {} says something else than the plan", r);
  }
  return {};
}

/// A 64th of the tensors, those whose digest of the name says so, and all ranks.
std::vector<SavePlan> slice_of(const std::vector<LayoutItem>& held, std::int64_t ranks, std::uint64_t seed) {
  std::vector<LayoutItem> slice;
  for (const LayoutItem& item : held) {
    if (block_digest(as_bytes(item.fqn)).low % 64 == seed % 64) slice.push_back(item);
  }
  return local_plans(slice, ranks);
}

Status bench_cold(const Request& request, std::int64_t dp, double aim) {
  const std::int64_t ranks = dp * llama_405b_ranks_a_dp;
  const std::string where = fmt::format("405b@{}", ranks);
  if (!request.wants(where)) return {};
  if (request.quick) dp = 4;
  const std::int64_t planned_ranks = dp * llama_405b_ranks_a_dp;
  const std::vector<LayoutItem> held = TRY(llama_405b_held(dp));
  const std::vector<SavePlan> local = local_plans(held, planned_ranks);
  const Received received = receive(local);

  // What is planned is looked at first; the segments that the manifest needs follow from it.
  format::Manifest rest = rest_of_manifest(std::vector<std::uint16_t>(local.size(), 0));
  PlanFacts facts;
  std::uint64_t reply_bytes = 0, distinct_reply_bytes = 0;
  {
    const Planned planned = TRY(plan_save(received, rest));
    facts = TRY(check_plan(planned.global, held));
    TRY(check_replies(local, planned, reply_bytes, distinct_reply_bytes));
    rest = rest_of_manifest(facts.rank_segments);
  }
  TRY(compare_with_naive(slice_of(held, planned_ranks, 5)));

  std::vector<double> cpu, wall;
  std::uint64_t manifest_bytes = 0, peak = 0;
  for (int i = 0; i < (request.quick ? 1 : 5); ++i) {
    malloc_trim(0);  // what the checks have freed
    TRY(reset_peak_memory());
    const Stopwatch watch;
    const Planned planned = TRY(plan_save(received, rest));
    cpu.push_back(watch.cpu());
    wall.push_back(watch.wall());
    peak = TRY(peak_memory());
    manifest_bytes = planned.manifest.size();
    if (!format::ManifestReader::open(SharedBytes(planned.manifest), "MANIFEST"))
      return fail(ErrorCode::corrupt, "the manifest cannot be opened");
  }
  const double seconds = median(cpu);
  request.report({"cold " + where, seconds, "s", aim, received.bytes, dtypes});
  request.report({"cold wall " + where, median(wall), "s", aim, received.bytes, dtypes});
  request.report({"chunk " + where, seconds / static_cast<double>(facts.chunks) * 1e9, "ns/chunk", {}, facts.bytes, dtypes});
  request.report({"input " + where, static_cast<double>(received.bytes), "bytes", {}, facts.bytes, dtypes});
  request.report({"replies " + where, static_cast<double>(reply_bytes), "bytes", {}, facts.bytes, dtypes});
  request.report({"different replies " + where, static_cast<double>(distinct_reply_bytes), "bytes", {}, facts.bytes, dtypes});
  request.report({"manifest " + where, static_cast<double>(manifest_bytes), "bytes", {}, facts.bytes, dtypes});
  request.report({"memory " + where, static_cast<double>(peak), "bytes", {}, facts.bytes, dtypes});
  request.report({"imbalance " + where, plan::imbalance(facts.rank_bytes), "max/mean", 1.09, facts.bytes, dtypes});
  return {};
}

/// A rank whose tensors have not changed: from its state dict to the items that it is to write. The coordinator: from all offers to the replies, with a ticket.
Status bench_warm(const Request& request) {
  const std::string where = "405b@16384";
  if (!request.wants(where)) return {};
  const std::int64_t dp = request.quick ? 4 : 128;
  const std::vector<LayoutItem> held = TRY(llama_405b_held(dp));
  const std::vector<SavePlan> local = local_plans(held, dp * llama_405b_ranks_a_dp);
  const Rank rank{8};  // of the second stage: the first has less
  StateDict state;
  for (const LayoutItem& item : *local[8].layouts)
    TRY(state.add(item.fqn, properties::gen::paper_entry(item.dtype, item.shape, item.layout, rank)));
  TRY(state.add_bytes("trainer", Bytes(1000)));

  const plan::PlanContext context{static_cast<std::int32_t>(local.size()), plan::DedupPolicy::least_bytes, format::manifest_version};
  std::vector<plan::Fingerprint> fingerprints;
  for (const SavePlan& plan : local) fingerprints.push_back(plan::fingerprint(plan, context));
  const plan::Fingerprint id = plan::plan_id(fingerprints);
  plan::PlanCache cache;
  const plan::GlobalSavePlan global = TRY(plan::global_save_plan(local));
  cache.propose(fingerprints[8], id, global.plans[8]);
  cache.propose_global(local, fingerprints, {global, {}});
  cache.commit();

  // What the rank is told where all plan anew, by way of the wire. (It writes a run of the replicas and its slice of the optimizer's flat state: pieces of a
  // third of the tensors that it lists.)
  const std::vector<SharedBytes> replies_anew = plan::encode_replies(local, global.plans);
  Decoder anew(replies_anew[8].view(), "reply");
  const SavePlan expected = expand(TRY(plan::apply_kept(local[8], anew)), rank);

  std::vector<double> plans, answers;
  std::vector<SharedBytes> offers;
  for (const plan::Fingerprint& fingerprint : fingerprints) offers.push_back(protocol::offer_claim({fingerprint, id, {{1, 2}}}));
  for (int i = 0; i < (request.quick ? 1 : 101); ++i) {
    const Stopwatch watch;
    const SavePlan own = TRY(plan::local_save_plan(state, rank));
    const SavePlan* found = cache.find(cache.claim(own, context));
    if (!found) return fail(ErrorCode::corrupt, "warm plan: the rank's plan is not found");
    const SavePlan items = expand(*found, rank);
    plans.push_back(watch.cpu());
    const Stopwatch coordinator;
    const protocol::PlanOffers all = TRY(protocol::decode_plan_offers(offers));
    const plan::CachedPlan* whole = cache.find_global(all.claims);
    if (!whole) return fail(ErrorCode::corrupt, "warm plan: the whole plan is not found");
    const Metadata metadata = whole->plan.metadata;
    std::vector<SavePlan> plans_now = whole->plan.plans;
    for (SavePlan& plan : plans_now) plan.storage_data = Bytes(32);
    const std::vector<SharedBytes> replies = plan::encode_replies(whole->plan.plans, plans_now);
    answers.push_back(coordinator.cpu());
    if (replies.size() != local.size()) return fail(ErrorCode::corrupt, "warm plan: {} replies", replies.size());
    if (items != expected || items.items.empty()) {
      return fail(ErrorCode::corrupt, "warm plan: {} items, which are not the {} of a plan made anew", items.items.size(),
                  expected.items.size());
    }
  }
  const std::size_t claim_bytes = offers.front().size();
  request.report({"warm " + where, median(plans) * 1e3, "ms", 1.0, claim_bytes, dtypes});
  request.report({"warm coordinator " + where, median(answers) * 1e3, "ms", {}, claim_bytes * offers.size(), dtypes});
  return {};
}

/// The load plan of boxes that lie across saved ones, none named by a rule: 250 x 200 tiles of one tensor, wanted as 200 x 250 tiles.
Status bench_across(const Request& request) {
  const std::string where = "boxes=50000";
  if (!request.wants(where)) return {};
  const std::int64_t a = request.quick ? 25 : 250, b = request.quick ? 20 : 200;
  const Dims shape{a * b, a * b};
  const auto tiles = [&](std::int64_t rows, std::int64_t columns) {
    std::vector<Box> boxes;
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c)
        boxes.push_back({{r * (shape[0] / rows), c * (shape[1] / columns)}, {shape[0] / rows, shape[1] / columns}});
    }
    return boxes;
  };
  Metadata metadata;
  metadata.entries["w"] = TensorMetadata{DType::bf16, shape, ChunkSet(tiles(a, b), shape)};
  EnumerableLayout wanted;
  for (Box& box : tiles(b, a)) wanted.parts.push_back({Rank{0}, std::move(box)});
  StateDict state;
  TRY(state.add("w", properties::gen::paper_entry(DType::bf16, shape, wanted, Rank{0})));
  std::vector<double> seconds;
  std::size_t items = 0;
  for (int i = 0; i < (request.quick ? 1 : 5); ++i) {
    const Stopwatch watch;
    const LoadPlan plan = TRY(plan::local_load_plan(state, metadata));
    seconds.push_back(watch.cpu());
    items = plan.items.size();
  }
  request.report({"across " + where, median(seconds), "s", 1.0, {}, "bf16"});
  request.report({"across items " + where, static_cast<double>(items), "items", {}, {}, "bf16"});
  return {};
}

/// A transfer from 128 ranks that hold the rows of 50 tensors to 128 others that want the columns: planned and checked, as a coordinator does.
Status bench_transfer(const Request& request) {
  const std::string where = "ranks=256";
  if (!request.wants(where)) return {};
  const std::int64_t half = request.quick ? 4 : 128;
  std::vector<plan::TransferOffer> offers(static_cast<std::size_t>(2 * half));
  const Dims shape{half * 64, half * 64};
  for (std::int64_t r = 0; r < half; ++r) {
    for (int t = 0; t < (request.quick ? 2 : 50); ++t) {
      const std::string name = fmt::format("model.layers.{}.mlp.down_proj.weight", t);
      offers[static_cast<std::size_t>(r)].held[name] = {DType::bf16, shape, {{{{64 * r, 0}, {64, shape[1]}}}}};
      offers[static_cast<std::size_t>(half + r)].wanted[name] = {DType::bf16, shape, {{{{0, 64 * r}, {shape[0], 64}}}}};
    }
  }
  std::vector<double> seconds;
  std::size_t moves = 0;
  for (int i = 0; i < (request.quick ? 1 : 5); ++i) {
    const Stopwatch watch;
    const plan::TransferPlanOptions options;
    const plan::TransferDecision decision = plan::global_transfer_plan(offers, options);
    TRY(plan::check_transfer_plan(decision.plan, offers, options.window_bytes));
    seconds.push_back(watch.cpu());
    moves = decision.plan.moves.size();
  }
  request.report({"transfer " + where, median(seconds), "s", {}, {}, "bf16"});
  request.report({"transfer moves " + where, static_cast<double>(moves), "items", {}, {}, "bf16"});
  return {};
}

/// The job of plan_peer.py: every rank lists a box of every tensor.
std::vector<SavePlan> listed_plans(int ranks, int tensors) {
  std::vector<SavePlan> plans(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r) {
    for (int t = 0; t < tensors; ++t) {
      WriteItem item;
      item.index = {fmt::format("model.layers.{}.mlp.down_proj.weight", t), Dims{64 * r, 0}, 0};
      item.type = WriteItemType::shard;
      item.chunk = {*item.index.offset, {64, 1024}};
      item.dtype = DType::bf16;
      item.shape = {64 * ranks, 1024};
      plans[static_cast<std::size_t>(r)].items.push_back(std::move(item));
    }
    std::ranges::sort(plans[static_cast<std::size_t>(r)].items, {},
                      [](const WriteItem& item) -> const std::string& { return item.index.fqn; });
  }
  return plans;
}

/// What is listed box by box, beside PyTorch DCP's planner on the same job where PyTorch is installed.
Status bench_listed(const Request& request) {
  const std::string where = "ranks=512";
  if (!request.wants(where)) return {};
  const int ranks = request.quick ? 8 : 512, tensors = request.quick ? 10 : 200;
  const std::vector<SavePlan> local = listed_plans(ranks, tensors);
  std::vector<double> seconds;
  for (int i = 0; i < (request.quick ? 1 : 5); ++i) {
    std::vector<SavePlan> plans = local;
    const Stopwatch watch;
    const plan::GlobalSavePlan global = TRY(plan::global_save_plan(std::move(plans)));
    seconds.push_back(watch.cpu());
    if (global.metadata.entries.size() != static_cast<std::size_t>(tensors))
      return fail(ErrorCode::corrupt, "listed plan: tensors are missing");
  }
  const double chunks = static_cast<double>(ranks) * tensors;
  std::string why;
  const auto peer = TRY(time_plan_peer(ranks, tensors, why));
  if (!peer) fmt::print(stderr, "holdfast-bench plan: no peer: {}\n", why);
  const auto of = peer ? std::optional(peer->seconds / static_cast<double>(peer->chunks) * 1e9) : std::nullopt;
  request.report({"listed chunk " + where, median(seconds) / chunks * 1e9, "ns/chunk", of, {}, "bf16"});
  if (of) request.report({fmt::format("peer pytorch-{} chunk {}", peer->version, where), *of, "ns/chunk", {}, {}, "bf16"});
  return {};
}

}  // namespace

Status bench_plan(const Request& request) {
  TRY(bench_cold(request, 70, 0.2));
  TRY(bench_cold(request, 128, 0.4));
  TRY(bench_cold(request, 1024, 3));
  TRY(bench_warm(request));
  TRY(bench_across(request));
  TRY(bench_transfer(request));
  return bench_listed(request);
}

}  // namespace holdfast::bench

// A plan that is used again while nothing it depends on has changed. Values only: who asks whom, and when, is the protocol's.
//
// Every rank makes its local plan anew and takes its fingerprint: 16 bytes that change with anything that the global plan depends on. The *id* of a
// global plan is the digest of the fingerprints of all ranks in their order, since the plan is a function of what they stand for. So:
//
//   rank          claim(local plan) -> sends its fingerprint, the id of the plan that it keeps for it, and the digests of its byte values
//   coordinator   find_global(all claims): the whole plan, if every rank has the fingerprint it had and keeps that plan, and ranks that have the same
//                 byte value have equal ones; else nothing, and the ranks send their local plans
//   rank          find(claim): its own part of the plan
//
// What byte values hold changes with every step and is no part of a fingerprint; their sizes are. Plans are kept without the digests of values.
// After a cold plan each rank proposes what it was given, the coordinator the whole. A proposal is not used before commit(), which is for a save that
// succeeded; after one that failed or whose outcome is unknown, discard(). A rank that did neither, or lost its cache, claims nothing, and all plan anew.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/digest.h"
#include "impl/core/encoding.h"
#include "impl/plan/save_plan.h"

namespace holdfast::plan {

/// XXH3-128. All zero: of nothing.
struct Fingerprint {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  auto operator<=>(const Fingerprint&) const = default;
};
void encode(Encoder& out, const Fingerprint& fingerprint);
Result<Fingerprint> decode_fingerprint(Decoder& in);

/// What a global plan depends on besides the local plans.
struct PlanContext {
  std::int32_t world_size = 1;
  DedupPolicy dedup = DedupPolicy::least_bytes;
  std::uint32_t format_version = 0;  ///< of what is written; a new one may want another plan
  Bytes notes = {};                  ///< what else the rank tells that the plan, its metadata or its warnings are made of, encoded
};

/// Of everything that travels of a local plan but the digests of byte values: names, kinds, dtypes, shapes, boxes, hints, rules, sizes of byte values,
/// planner_data and storage_data; and of the context. Ranks with equal plans have equal fingerprints. Takes one pass over the encoded plan.
Fingerprint fingerprint(const SavePlan& local, const PlanContext& context);
/// The id of the global plan of ranks with these fingerprints, in their order.
Fingerprint plan_id(std::span<const Fingerprint> ranks);

/// What a rank says instead of its local plan.
struct PlanClaim {
  Fingerprint local;
  Fingerprint plan;                 ///< the id of the plan that the rank keeps for it; all zero: none
  std::vector<BlockDigest> values;  ///< of its byte values, in the order of the local plan
  bool operator==(const PlanClaim&) const = default;
};
/// 32 bytes, and 16 a byte value.
Bytes encode_claim(const PlanClaim& claim);
/// Errors: corrupt, for another number of bytes.
Result<PlanClaim> decode_claim(ByteView bytes);

/// What a coordinator keeps of a plan.
struct CachedPlan {
  GlobalSavePlan plan;
  std::vector<std::string> warnings;  ///< that the ranks were given with it
};

/// One rank's cache, for one session. Keeps the plans made last.
class PlanCache {
 public:
  static constexpr std::size_t plans_max = 4;

  PlanClaim claim(const SavePlan& local, const PlanContext& context) const;
  /// Null unless this cache keeps the plan that is claimed, for the fingerprint that is claimed.
  const SavePlan* find(const PlanClaim& claim) const;
  /// On the coordinator. Null unless every rank claims the fingerprint and the id with which the plan was proposed, and no two ranks have different values
  /// under one key. (Which, planning anew says.)
  const CachedPlan* find_global(std::span<const PlanClaim> claims) const;

  /// What this rank is to write, as the planner decided it, when the ranks had the fingerprints that `id` stands for. Replaces an earlier proposal.
  void propose(const Fingerprint& local, const Fingerprint& id, SavePlan plan);
  /// On the coordinator: the whole of the same plan, and the local plans and fingerprints of all ranks it was made of.
  void propose_global(std::span<const SavePlan> local, std::vector<Fingerprint> ranks, CachedPlan made);
  /// The save that the proposals were made for has succeeded: they are used from now on.
  void commit();
  void discard();

 private:
  struct Kept {
    Fingerprint local, id;
    SavePlan plan;
  };
  struct KeptGlobal {
    std::vector<Fingerprint> ranks;
    std::map<Fingerprint, std::vector<std::string>> values;  ///< keys of the byte values of a local plan
    Fingerprint id;
    CachedPlan made;
  };
  static bool values_agree(const KeptGlobal& kept, std::span<const PlanClaim> claims);

  std::optional<Kept> proposed_;
  std::optional<KeptGlobal> proposed_global_;
  std::vector<Kept> kept_;               ///< the newest first, one a fingerprint
  std::vector<KeptGlobal> kept_global_;  ///< likewise, one an id
};

}  // namespace holdfast::plan

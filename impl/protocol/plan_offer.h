// What ranks and coordinator tell each other in the plan rounds of a save. Pure.
//
// A rank offers its claim to a plan that it keeps (impl/plan/plan_cache.h), or else its notes and local plan in full. The coordinator answers with a plan made
// anew, or that every rank is to use what it claims, or, when it can do neither, that every rank is to send its offer in full.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/plan/plan_cache.h"
#include "impl/protocol/save_notes.h"

namespace holdfast::protocol {

/// 33 bytes, and 16 a byte value; a little more where a length takes more than one byte.
SharedBytes offer_claim(const plan::PlanClaim& claim);
/// `fingerprint`: of what is offered; all zero: not to be kept. `notes`: encoded.
SharedBytes offer_in_full(const plan::Fingerprint& fingerprint, ByteView notes, const SavePlan& local);

/// The offers of all ranks.
struct PlanOffers {
  std::vector<plan::PlanClaim> claims;  ///< of an offer in full: its fingerprint, and no plan
  bool in_full = false;                 ///< every one of them; then there are:
  std::vector<SaveNotes> notes;
  std::vector<SavePlan> local;
};
/// Errors: corrupt.
Result<PlanOffers> decode_plan_offers(std::span<const SharedBytes> offers);

enum class PlanForm : std::uint8_t {
  anew = 1,    ///< of the local plans: each rank is told what remains of its own
  kept = 2,    ///< the plan that each rank claimed: it is told what is new about it
  wanted = 3,  ///< none yet: every rank is to offer in full
};
/// What the coordinator answers to every rank.
struct PlanAnswer {
  PlanForm form = PlanForm::wanted;
  plan::Fingerprint id;                ///< of a plan made anew; all zero: not to be kept
  std::vector<std::string> unmatched;  ///< rules that renamed nothing on any rank
  bool operator==(const PlanAnswer&) const = default;
};
SharedBytes encode(const PlanAnswer& answer);
/// Errors: corrupt.
Result<PlanAnswer> decode_plan_answer(ByteView bytes);

}  // namespace holdfast::protocol

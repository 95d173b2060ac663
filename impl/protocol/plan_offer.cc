#include "impl/protocol/plan_offer.h"

#include <algorithm>

#include "impl/core/mutate.h"
#include "impl/plan/codec.h"
#include "impl/protocol/key_report.h"

namespace holdfast::protocol {
namespace {

/// A planted bug: a rank that keeps no plan is taken to claim what the rank before it does.
[[maybe_unused]] plan::PlanClaim as_before(const std::vector<plan::PlanClaim>& claims, plan::PlanClaim claim) {
  return claims.empty() || claim.plan != plan::Fingerprint() ? claim : claims.back();
}

}  // namespace

SharedBytes offer_claim(const plan::PlanClaim& claim) {
  Encoder out;
  out.blob(plan::encode_claim(claim));
  return out.take();
}

SharedBytes offer_in_full(const plan::Fingerprint& fingerprint, ByteView notes, const SavePlan& local) {
  Encoder out;
  out.blob(plan::encode_claim({fingerprint, {}, {}}));
  out.raw(notes);
  plan::encode(out, local);
  return out.take();
}

Result<PlanOffers> decode_plan_offers(std::span<const SharedBytes> offers) {
  PlanOffers all;
  std::vector<ByteView> rest;  // notes and plan of each
  for (const SharedBytes& offer : offers) {
    Decoder in(offer.view(), "plan offer");
    plan::PlanClaim claim = TRY(plan::decode_claim(TRY(in.blob())));
    rest.push_back(offer.view().subspan(in.offset()));
    all.claims.push_back(MUTATE("save.silence_agrees", std::move(claim), as_before(all.claims, claim)));
  }
  all.in_full = std::ranges::none_of(rest, &ByteView::empty);
  if (!all.in_full) return all;
  for (ByteView& bytes : rest) {
    Decoder in(bytes, "save notes");
    all.notes.push_back(TRY(decode_save_notes(in)));
    bytes = bytes.subspan(in.offset());
  }
  all.local = TRY(plan::decode_save_plans(rest));
  return all;
}

SharedBytes encode(const PlanAnswer& answer) {
  Encoder out;
  out.u8(static_cast<std::uint8_t>(answer.form));
  plan::encode(out, answer.id);
  encode(out, answer.unmatched);
  return out.take();
}

Result<PlanAnswer> decode_plan_answer(ByteView bytes) {
  Decoder in(bytes, "plan answer");
  const std::uint8_t form = TRY(in.u8());
  if (form < static_cast<std::uint8_t>(PlanForm::anew) || form > static_cast<std::uint8_t>(PlanForm::wanted))
    return fail(ErrorCode::corrupt, "decode plan answer: form {}", form);
  PlanAnswer answer;
  answer.form = static_cast<PlanForm>(form);
  answer.id = TRY(plan::decode_fingerprint(in));
  answer.unmatched = TRY(decode_texts(in));
  TRY(in.finish());
  return answer;
}

}  // namespace holdfast::protocol

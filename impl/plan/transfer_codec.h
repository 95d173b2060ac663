// What ranks say to each other about a transfer, on the wire. Total to decode: any bytes give a value or an Error with code `corrupt`.
//
// An offer is what is held, then what is wanted: a count, then each tensor: name, dtype, shape, a count of boxes, each with a byte of flags, its offset and its size.
// A plan is its windows, the names of its tensors, then its moves. Dims are varints, their number that of the shape.
#pragma once

#include "impl/core/encoding.h"
#include "impl/plan/transfer_plan.h"

namespace holdfast::plan {

void encode(Encoder& out, const TransferOffer& offer);
Result<TransferOffer> decode_transfer_offer(Decoder& in);

void encode(Encoder& out, const TransferPlan& plan);
/// Moves name tensors and windows of the plan; ranks and shards are for the receiver to check.
Result<TransferPlan> decode_transfer_plan(Decoder& in);

}  // namespace holdfast::plan

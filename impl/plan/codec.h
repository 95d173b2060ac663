// Plans on the wire, between ranks of one job. Compact, since a coordinator receives one from every rank, and total to decode:
// any bytes give a value or an Error with code `corrupt`.
//
// A list of items is a varint count, then each item: a byte of flags (what is there, what equals the item before), then what the flags
// announce. A name that differs from the one before keeps up to 255 bytes of it; an equal one costs nothing. Dims are varints.
// Fields that an item of its type does not use (plan_values.h) are not sent.
#pragma once

#include <span>
#include <vector>

#include "impl/core/encoding.h"
#include "impl/core/plan_values.h"

namespace holdfast::plan {

void encode(Encoder& out, const SavePlan& plan);
Result<SavePlan> decode_save_plan(Decoder& in);

void encode(Encoder& out, const LoadPlan& plan);
Result<LoadPlan> decode_load_plan(Decoder& in);

void encode(Encoder& out, std::span<const WriteResult> results);
Result<std::vector<WriteResult>> decode_write_results(Decoder& in);

/// The coordinator's reply to a rank that sent `local` and is to get `global`, told as what remains of `local`: one byte when all of it
/// does, else ranges of item numbers. When `global` is no subsequence of `local` (a planner of one's own) it is sent in full.
/// apply_kept(local, ...) gives `global` back, hints included.
void encode_kept(Encoder& out, const SavePlan& local, const SavePlan& global);
Result<SavePlan> apply_kept(SavePlan local, Decoder& in);

}  // namespace holdfast::plan

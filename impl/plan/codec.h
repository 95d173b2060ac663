// Plans on the wire, between ranks of one job. Compact, since a coordinator receives one from every rank, and total to decode:
// any bytes give a value or an Error with code `corrupt`.
//
// A save plan begins with the table of its layouts, a blob of its own (layout_table.h; empty: none), so that ranks with the same table send the same bytes.
// Items follow (item_codec.h), then storage_data and planner_data, a blob each.
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

/// The save plans of all ranks. Equal messages and equal tables are decoded once, and their plans share one table, so that a rank costs little more than
/// a pass over its bytes.
/// Errors: corrupt, with the rank.
Result<std::vector<SavePlan>> decode_save_plans(std::span<const ByteView> messages);

/// The coordinator's reply to a rank that sent `local` and is to get `global`, told as what remains of `local`: one byte when all of it
/// does, else ranges of item numbers, and what became of each layout. When `global` is no subsequence of `local` (a piece was split; a planner of one's
/// own) its items are sent in full, and so is a table that holds anything new.
/// apply_kept(local, ...) gives `global` back, hints included.
void encode_kept(Encoder& out, const SavePlan& local, const SavePlan& global);
Result<SavePlan> apply_kept(SavePlan local, Decoder& in);

/// The replies to all ranks. Equal replies are one buffer, whatever the number of ranks. Requires: equally many plans.
std::vector<SharedBytes> encode_replies(std::span<const SavePlan> local, std::span<const SavePlan> global);

}  // namespace holdfast::plan

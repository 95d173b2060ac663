#include "impl/plan/codec.h"

#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "impl/core/check.h"
#include "impl/core/digest.h"
#include "impl/core/mutate.h"
#include "impl/plan/item_codec.h"
#include "impl/plan/layout_table.h"

namespace holdfast::plan {
namespace {

/// Equal in every bit that travels: plan_values.h leaves the hint out of equality.
bool identical(const WriteItem& a, const WriteItem& b) { return a == b && a.index.hint == b.index.hint; }

/// The positions in `local` of the items of `global`, ascending; none when it is no subsequence.
std::optional<std::vector<std::size_t>> positions_in(const SavePlan& local, const SavePlan& global) {
  std::vector<std::size_t> positions;
  std::size_t at = 0;
  for (const WriteItem& item : global.items) {
    while (at < local.items.size() && !identical(local.items[at], item)) ++at;
    if (at == local.items.size()) return std::nullopt;
    positions.push_back(at++);
  }
  return positions;
}

/// First position and length of each run of consecutive positions.
std::vector<std::pair<std::size_t, std::size_t>> runs_of(const std::vector<std::size_t>& positions) {
  std::vector<std::pair<std::size_t, std::size_t>> runs;
  for (const std::size_t position : positions) {
    if (!runs.empty() && runs.back().first + runs.back().second == position) {
      ++runs.back().second;
    } else {
      runs.emplace_back(position, 1);
    }
  }
  return runs;
}

/// Bits 0-1, 2-3 (storage_data), 4-5 (planner_data) and 6-7 (layouts) of the byte that opens a reply. A reply of 0 keeps all items and has nothing else.
enum class KeptItems : unsigned { all = 0, ranges = 1, in_full = 2 };
enum class KeptData : unsigned { none = 0, as_local = 1, given = 2 };
enum class KeptTable : unsigned { none = 0, as_local = 1, changed = 2, given = 3 };

bool is_empty(const LayoutTable& table) { return !table || table->empty(); }

/// How the layouts of `global` are told, and the blob that tells it, if any.
struct TableReply {
  KeptTable form = KeptTable::none;
  Bytes blob;
};

TableReply table_reply(const LayoutTable& local, const LayoutTable& global) {
  if (is_empty(global)) return {};
  if (!is_empty(local)) {
    if (local == global || *local == *global) return {KeptTable::as_local, {}};
    if (auto changes = encode_changes(*local, *global)) return {KeptTable::changed, *std::move(changes)};
  }
  return {KeptTable::given, encode_table(*global)};
}

Status take_table(Decoder& in, unsigned form, LayoutTable& table) {
  switch (static_cast<KeptTable>(form)) {
    case KeptTable::none: table = nullptr; return {};
    case KeptTable::as_local: break;
    case KeptTable::changed: {
      if (is_empty(table)) break;
      std::vector<LayoutItem> changed = TRY(apply_changes(*table, TRY(in.blob())));
      table = std::make_shared<const std::vector<LayoutItem>>(std::move(changed));
      return {};
    }
    case KeptTable::given: {
      std::vector<LayoutItem> given = TRY(decode_table(TRY(in.blob())));
      table = std::make_shared<const std::vector<LayoutItem>>(std::move(given));
      return {};
    }
  }
  if (is_empty(table)) return fail(ErrorCode::corrupt, "decode kept plan: it keeps layouts that the rank did not list");
  return {};
}

KeptData data_form(const Bytes& global, const Bytes& local) {
  if (global.empty()) return KeptData::none;
  return global == local ? KeptData::as_local : KeptData::given;
}

Status take_data(Decoder& in, unsigned form, Bytes& data) {
  if (form > static_cast<unsigned>(KeptData::given)) return fail(ErrorCode::corrupt, "decode kept plan: form {} of data", form);
  if (form == static_cast<unsigned>(KeptData::none)) data.clear();
  if (form == static_cast<unsigned>(KeptData::given)) data = to_bytes(TRY(in.blob()));
  return {};
}

Status keep_ranges(Decoder& in, std::vector<WriteItem>& items) {
  std::vector<WriteItem> kept;
  const std::size_t runs = TRY(in.count(2));
  std::size_t at = 0;
  for (std::size_t run = 0; run < runs; ++run) {
    const std::uint64_t gap = TRY(in.varint());
    const std::uint64_t length = TRY(in.varint());
    if (gap > items.size() - at || length > items.size() - at - gap) {
      return fail(ErrorCode::corrupt, "decode kept plan: {} items after {} skipped at item {} of {}", length, gap, at, items.size());
    }
    at += gap;
    for (std::uint64_t i = 0; i < length; ++i) kept.push_back(std::move(items[at++]));
  }
  items = std::move(kept);
  return {};
}

/// All but the table.
void put_kept_items(Encoder& out, const SavePlan& local, const SavePlan& global, const TableReply& table) {
  const auto positions = positions_in(local, global);
  const bool all = positions && positions->size() == local.items.size();
  const KeptItems items = all ? KeptItems::all : positions ? KeptItems::ranges : KeptItems::in_full;
  const KeptData storage = data_form(global.storage_data, local.storage_data);
  const KeptData planner = data_form(global.planner_data, local.planner_data);
  const unsigned form = static_cast<unsigned>(items) | static_cast<unsigned>(storage) << 2 | static_cast<unsigned>(planner) << 4 |
                        static_cast<unsigned>(table.form) << 6;
  out.u8(static_cast<std::uint8_t>(form));
  if (items == KeptItems::in_full) put_items(out, std::span(global.items));
  if (items == KeptItems::ranges) {
    const auto runs = runs_of(*positions);
    std::size_t at = 0;
    out.varint(runs.size());
    for (const auto& [first, length] : runs) {
      out.varint(first - at);
      out.varint(length);
      at = first + length;
    }
  }
  if (storage == KeptData::given) out.blob(global.storage_data);
  if (planner == KeptData::given) out.blob(global.planner_data);
}

void put_kept(Encoder& out, const SavePlan& local, const SavePlan& global, const TableReply& table) {
  put_kept_items(out, local, global, table);
  if (table.form == KeptTable::changed || table.form == KeptTable::given) out.blob(table.blob);
}

Result<LayoutTable> take_shared_table(ByteView bytes) {
  if (bytes.empty()) return LayoutTable();
  std::vector<LayoutItem> table = TRY(decode_table(bytes));
  return std::make_shared<const std::vector<LayoutItem>>(std::move(table));
}

Result<SavePlan> take_items_and_data(Decoder& in, LayoutTable table) {
  SavePlan plan;
  plan.layouts = std::move(table);
  plan.items = TRY(take_write_items(in));
  plan.storage_data = to_bytes(TRY(in.blob()));
  plan.planner_data = to_bytes(TRY(in.blob()));
  return plan;
}

bool same_bytes(ByteView a, ByteView b) { return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0); }

/// Byte strings seen before, by digest, and compared in full.
class SeenBytes {
 public:
  /// The number under which equal bytes were added; none for new ones, which get `number`. They must stay where they are.
  std::optional<std::size_t> find_or_add(ByteView bytes, std::size_t number) {
    const BlockDigest digest = block_digest(bytes);
    const auto [at, fresh] = seen_.try_emplace({digest.low, digest.high}, bytes, number);
    if (fresh || !same_bytes(at->second.first, bytes)) return std::nullopt;
    return at->second.second;
  }

 private:
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::pair<ByteView, std::size_t>> seen_;
};

class PlansDecoder {
 public:
  Result<SavePlan> decode(ByteView message) {
    // Neighbours are often alike: then the digest is not needed.
    if (last_ < plans_.size() && same_bytes(message, last_message_)) return plans_[last_];
    last_message_ = message;
    const auto same = messages_.find_or_add(message, plans_.size());
    last_ = same.value_or(plans_.size());
    if (same) return plans_[last_];
    Decoder in(message, "save plan");
    const ByteView bytes = TRY(in.blob());
    const auto known = tables_seen_.find_or_add(bytes, tables_.size());
    LayoutTable table = known ? tables_[*known] : TRY(take_shared_table(bytes));
    if (!known) tables_.push_back(table);
    SavePlan plan = TRY(take_items_and_data(in, std::move(table)));
    TRY(in.finish());
    plans_.push_back(plan);
    return plan;
  }

 private:
  SeenBytes messages_, tables_seen_;
  std::vector<LayoutTable> tables_;
  std::vector<SavePlan> plans_;  ///< of different messages
  ByteView last_message_;
  std::size_t last_ = 0;
};

}  // namespace

void encode(Encoder& out, const SavePlan& plan) {
  out.blob(is_empty(plan.layouts) ? Bytes() : encode_table(*plan.layouts));
  put_items(out, std::span(plan.items));
  out.blob(plan.storage_data);
  out.blob(plan.planner_data);
}

Result<SavePlan> decode_save_plan(Decoder& in) {
  LayoutTable table = TRY(take_shared_table(TRY(in.blob())));
  return take_items_and_data(in, std::move(table));
}

Result<std::vector<SavePlan>> decode_save_plans(std::span<const ByteView> messages) {
  PlansDecoder decoder;
  std::vector<SavePlan> plans;
  plans.reserve(messages.size());
  for (std::size_t rank = 0; rank < messages.size(); ++rank) {
    auto plan = decoder.decode(messages[rank]);
    if (!plan) return fail(within(std::move(plan).error(), "save plan of rank {}", rank));
    plans.push_back(*std::move(plan));
  }
  return plans;
}

void encode(Encoder& out, const LoadPlan& plan) {
  put_items(out, std::span(plan.items));
  out.blob(plan.storage_data);
  out.blob(plan.planner_data);
}

Result<LoadPlan> decode_load_plan(Decoder& in) {
  LoadPlan plan;
  plan.items = TRY(take_read_items(in));
  plan.storage_data = to_bytes(TRY(in.blob()));
  plan.planner_data = to_bytes(TRY(in.blob()));
  return plan;
}

void encode(Encoder& out, std::span<const WriteResult> results) { put_items(out, results); }

Result<std::vector<WriteResult>> decode_write_results(Decoder& in) { return take_write_results(in); }

void encode_kept(Encoder& out, const SavePlan& local, const SavePlan& global) {
  put_kept(out, local, global, table_reply(local.layouts, global.layouts));
}

Result<SavePlan> apply_kept(SavePlan local, Decoder& in) {
  const unsigned form = TRY(in.u8());
  const unsigned items = form & 3u;
  if (items > static_cast<unsigned>(KeptItems::in_full)) return fail(ErrorCode::corrupt, "decode kept plan: form {}", form);
  if (items == static_cast<unsigned>(KeptItems::in_full)) local.items = TRY(take_write_items(in));
  if (items == static_cast<unsigned>(KeptItems::ranges)) TRY(keep_ranges(in, local.items));
  TRY(take_data(in, form >> 2 & 3u, local.storage_data));
  TRY(take_data(in, form >> 4 & 3u, local.planner_data));
  TRY(take_table(in, form >> 6, local.layouts));
  return local;
}

std::vector<SharedBytes> encode_replies(std::span<const SavePlan> local, std::span<const SavePlan> global) {
  CHECK(local.size() == global.size(), "{} plans for {} ranks", global.size(), local.size());
  /// Ranks with the same two tables, and their different replies by all but the table.
  struct Class {
    TableReply table;
    std::map<Bytes, SharedBytes> replies;
  };
  std::map<std::pair<const void*, const void*>, Class> classes;  // to look up only: nothing follows the order of addresses
  std::vector<SharedBytes> replies;
  replies.reserve(local.size());
  for (std::size_t r = 0; r < local.size(); ++r) {
    const auto [at, fresh] = classes.try_emplace({local[r].layouts.get(), global[r].layouts.get()});
    Class& own = at->second;
    if (fresh) own.table = table_reply(local[r].layouts, global[r].layouts);
    Encoder items;
    put_kept_items(items, local[r], global[r], own.table);
    SharedBytes& reply = own.replies[MUTATE("plan.replies_by_class", items.take(), Bytes())];
    if (reply.empty()) {
      Encoder out;
      put_kept(out, local[r], global[r], own.table);
      reply = SharedBytes(out.take());
    }
    replies.push_back(reply);
  }
  return replies;
}

}  // namespace holdfast::plan

#include <algorithm>
#include <set>
#include <tuple>

#include "reports/dot.h"
#include "reports/grouping.h"
#include "reports/palette.h"
#include "reports/plan_labels.h"
#include "reports/plan_picture.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr std::size_t groups_max = 16;  // what an eye takes in
constexpr std::size_t files_drawn_max = 3;
constexpr std::string_view byte_value = "byte value";

/// Items of one rank and file that a reader need not tell apart.
struct RowKey {
  std::string family;
  std::string what;         ///< "[448,4096] BF16", "byte value"
  std::size_t holders = 0;  ///< ranks that held the chunk before duplicates were removed; 0: not known
  auto operator<=>(const RowKey&) const = default;
};

struct RowValue {
  std::size_t items = 0;
  std::uint64_t bytes = 0;
  std::set<std::string> holder_ranks;  ///< as text; more than one when the merged items have different holders
};

using Rows = std::map<RowKey, RowValue>;

struct FileContent {
  std::string name;
  Rows rows;
  std::uint64_t bytes = 0;
};

/// A rank's part, ready to be compared and drawn.
struct RankContent {
  std::vector<FileContent> files;  ///< by name
  std::uint64_t bytes = 0;
  std::size_t items = 0;
  std::string plan_key;      ///< equal for equal plans
  std::string families_key;  ///< equal for plans of the same families, shapes and counts
};

std::vector<std::string> default_files(const SavePlan& plan, std::size_t rank) {
  std::map<std::string_view, std::size_t> boxes_seen;
  std::size_t byte_values = 0;
  std::vector<std::string> files;
  for (const WriteItem& item : plan.items) {
    files.push_back(item.type == WriteItemType::bytes ? fmt::format("bytes-{:05}-{:03}", rank, byte_values++)
                                                      : fmt::format("segment-{:05}-{:03}.safetensors", rank, boxes_seen[item.index.fqn]++));
  }
  return files;
}

std::vector<std::vector<std::string>> files_of(const std::vector<SavePlan>& plans, const SaveContext& context) {
  if (!context.files.empty()) return context.files;
  std::vector<std::vector<std::string>> files;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) files.push_back(default_files(plans[rank], rank));
  return files;
}

struct ByIndex {
  bool operator()(const MetadataIndex* a, const MetadataIndex* b) const { return *a < *b; }
};
using Holders = std::map<const MetadataIndex*, Members, ByIndex>;

Holders holders_of(const SaveContext& context) {
  Holders holders;
  if (!context.local_plans) return holders;
  for (std::size_t rank = 0; rank < context.local_plans->size(); ++rank) {
    for (const WriteItem& item : (*context.local_plans)[rank].items) {
      Members& ranks = holders[&item.index];
      if (ranks.empty() || ranks.back() != rank) ranks.push_back(rank);
    }
  }
  return holders;
}

std::string what_is(const WriteItem& item) {
  if (item.type == WriteItemType::bytes) return std::string(byte_value);
  return fmt::format("{} {}", to_string({item.chunk.size.data(), item.chunk.size.size()}), to_string(item.dtype));
}

RankContent content_of(const SavePlan& plan, const std::vector<std::string>& files, const Holders& holders, const Focus& focus) {
  RankContent content;
  std::map<std::string_view, std::vector<const WriteItem*>> by_file;
  for (std::size_t i = 0; i < plan.items.size(); ++i) {
    const std::string_view file = i < files.size() ? std::string_view(files[i]) : "file not given";
    if (!focus.tensor.empty() && !matches_glob(focus.tensor, plan.items[i].index.fqn)) continue;
    if (!focus.file.empty() && !matches_glob(focus.file, file)) continue;
    by_file[file].push_back(&plan.items[i]);
  }
  for (const auto& [name, items] : by_file) {
    FileContent file{std::string(name), {}, 0};
    for (const WriteItem* item : items) {
      const auto held = holders.find(&item->index);
      RowValue& row = file.rows[{family(item->index.fqn), what_is(*item), held == holders.end() ? 0 : held->second.size()}];
      ++row.items;
      row.bytes += item->stored_bytes();
      if (held != holders.end() && row.holder_ranks.size() < 2) row.holder_ranks.insert(rank_ranges(held->second, 4));
      file.bytes += item->stored_bytes();
      content.plan_key += fmt::format("{}\n{}\n", item->index.fqn, what_is(*item));
    }
    content.plan_key += "\f";
    for (const auto& [key, row] : file.rows) {
      content.families_key += fmt::format("{}\n{}\n{} {}\n", key.family, key.what, key.holders, row.items);
    }
    content.families_key += "\f";
    content.bytes += file.bytes;
    content.items += items.size();
    content.files.push_back(std::move(file));
  }
  // Segments before byte values, so that file n of one rank is like file n of another.
  std::ranges::stable_partition(content.files, [](const FileContent& file) { return file.rows.begin()->first.what != byte_value; });
  return content;
}

struct Grouping {
  std::vector<Members> groups;
  std::string note;   ///< for the title: how ranks were put together
  std::string label;  ///< for a card of several ranks
};

Grouping group(const std::vector<RankContent>& ranks, const PictureOptions& options) {
  if (options.focus.rank) return {one_and_others(ranks.size(), *options.focus.rank), "One rank, and all others together.", "all others"};
  // A group takes a node for its ranks and up to files_drawn_max for their files.
  std::size_t files_a_rank = 1;
  for (const RankContent& rank : ranks) files_a_rank = std::max(files_a_rank, std::min(rank.files.size(), files_drawn_max));
  const std::size_t limit = std::clamp<std::size_t>(options.node_budget / (1 + files_a_rank), 1, groups_max);
  std::vector<std::string> keys;
  for (const RankContent& rank : ranks) keys.push_back(rank.plan_key);
  auto equal = equal_groups(keys);
  for (std::size_t i = 0; i < ranks.size(); ++i) keys[i] = ranks[i].families_key;
  auto alike = equal_groups(keys);
  const bool equal_is_enough = equal.size() <= limit && (ranks.size() <= limit || equal.size() < 2 * alike.size());
  if (equal_is_enough) return {equal, equal.size() < ranks.size() ? "Ranks with equal plans are drawn as one." : "", "same plan"};
  if (alike.size() <= limit) {
    return {alike, "Ranks are drawn as one when they write as many chunks of the same families and shapes.", "alike"};
  }
  return {blocks(ranks.size(), limit), "Too many different plans: neighbouring ranks are drawn as one, with sums.", "neighbours"};
}

std::string span_text(std::uint64_t low, std::uint64_t high) {
  return low == high ? human_bytes(low) : human_bytes(low) + " \xE2\x80\x93 " + human_bytes(high);
}

std::string rank_card(const std::vector<RankContent>& ranks, const Members& members, const Grouping& grouping, const SaveSummary& summary) {
  std::uint64_t low = ranks[members[0]].bytes;
  std::uint64_t high = low;
  std::size_t items = 0;
  for (const std::size_t member : members) {
    low = std::min(low, ranks[member].bytes);
    high = std::max(high, ranks[member].bytes);
    items += ranks[member].items;
  }
  const double mean = ranks.empty() ? 0 : static_cast<double>(summary.bytes) / static_cast<double>(ranks.size());
  const double load = mean > 0 ? static_cast<double>(high) / mean : 1;
  const bool hot = load > 1.25;
  const std::string_view colour = hot ? palette::vermillion : palette::blue;
  const bool several = members.size() > 1;
  std::string rows = card_row(bold(rank_title(members)), several ? coloured(grouping.label, palette::soft) : "");
  rows += card_row(bar(summary.bytes_max > 0 ? static_cast<double>(high) / static_cast<double>(summary.bytes_max) : 0, colour));
  rows += card_row(escape_xml(span_text(low, high) + (several ? " a rank" : "")),
                   hot ? coloured(ratio(load) + " of the mean", palette::vermillion) : "");
  rows += card_row(coloured(counted(items, "chunk") + (several ? " in all" : ""), palette::soft));
  return card(rows);
}

std::string holders_text(const RowKey& key, const RowValue& row) {
  if (key.holders < 2) return "";
  if (row.holder_ranks.size() == 1) return fmt::format("held by ranks {}", *row.holder_ranks.begin());
  return fmt::format("each held by {} ranks", grouped(key.holders));
}

/// One drawn file: a rank's file, or that of each rank of a group, or all files of a group.
struct FileNode {
  std::string title;
  Rows rows;
  std::uint64_t bytes = 0;
  std::size_t files = 0;
};

void merge(FileNode& node, const FileContent& file) {
  for (const auto& [key, row] : file.rows) {
    RowValue& into = node.rows[key];
    into.items += row.items;
    into.bytes += row.bytes;
    into.holder_ranks.insert(row.holder_ranks.begin(), row.holder_ranks.end());
  }
  node.bytes += file.bytes;
  ++node.files;
}

std::vector<FileNode> file_nodes(const std::vector<RankContent>& ranks, const Members& members) {
  std::size_t files_a_rank = 0;
  for (const std::size_t member : members) files_a_rank = std::max(files_a_rank, ranks[member].files.size());
  std::vector<FileNode> nodes(std::min(files_a_rank, files_drawn_max));
  for (const std::size_t member : members) {
    for (std::size_t i = 0; i < ranks[member].files.size(); ++i) {
      FileNode& node = nodes[std::min(i, nodes.size() - 1)];
      if (node.files == 0) node.title = clip(ranks[member].files[i].name, 40);
      merge(node, ranks[member].files[i]);
    }
  }
  for (FileNode& node : nodes) {
    if (node.files > 1) node.title += fmt::format("  and {} more", grouped(node.files - 1));
  }
  return nodes;
}

std::string file_card(const FileNode& node, std::size_t rows_max) {
  std::vector<const Rows::value_type*> by_size;
  for (const auto& row : node.rows) by_size.push_back(&row);
  std::ranges::stable_sort(by_size, [](const auto* a, const auto* b) { return a->second.bytes > b->second.bytes; });
  std::string rows = fmt::format("<TR><TD ALIGN=\"LEFT\" COLSPAN=\"4\">{}</TD><TD ALIGN=\"RIGHT\">{}</TD></TR><HR/>", bold(node.title),
                                 bold(human_bytes(node.bytes)));
  const auto cell = [](std::string_view side, std::string_view html) { return fmt::format("<TD ALIGN=\"{}\">{}</TD>", side, html); };
  std::uint64_t bytes_left_out = 0;
  for (std::size_t i = 0; i < by_size.size(); ++i) {
    const auto& [key, row] = *by_size[i];
    if (i >= rows_max && by_size.size() > rows_max + 1) {
      bytes_left_out += row.bytes;
      continue;
    }
    const std::string holders = holders_text(key, row);
    rows += "<TR>" + cell("LEFT", escape_xml(clip(key.family, 44))) +
            cell("RIGHT", coloured(fmt::format("{} \xC3\x97", grouped(row.items)), palette::soft)) +
            cell("LEFT", coloured(clip(key.what, 36), palette::soft)) +
            cell("LEFT", coloured(holders.empty() ? "" : "\xE2\x97\x86 " + holders, palette::purple)) +
            cell("RIGHT", escape_xml(human_bytes(row.bytes))) + "</TR>";
  }
  if (bytes_left_out > 0) {
    const std::string text = fmt::format("and {} smaller families, {}", by_size.size() - rows_max, human_bytes(bytes_left_out));
    rows += fmt::format("<TR><TD ALIGN=\"LEFT\" COLSPAN=\"5\">{}</TD></TR>", coloured(text, palette::soft));
  }
  return fmt::format(
      "<TABLE BORDER=\"1\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"3\" STYLE=\"ROUNDED\" COLOR=\"{}\" BGCOLOR=\"{}\">{}</TABLE>",
      palette::line, palette::ground, rows);
}

std::string title(const std::vector<SavePlan>& plans, const Metadata& metadata, const SaveSummary& summary, const Grouping& grouping) {
  const std::string imbalance = fmt::format("imbalance {}", ratio(summary.imbalance));
  const std::string headline = escape_xml(fmt::format("Who writes what: {} ranks, ", grouped(plans.size()))) +
                               (summary.imbalance > 1.25 ? coloured(imbalance, palette::vermillion) : escape_xml(imbalance));
  const std::string numbers =
      escape_xml(fmt::format("{} in {} chunks of {} keys, {} files; a rank min / median / max / mean:  {} / {} / {} / {}",
                             human_bytes(summary.bytes), grouped(summary.chunks), grouped(metadata.entries.size()), grouped(summary.files),
                             human_bytes(summary.bytes_min), human_bytes(summary.bytes_median), human_bytes(summary.bytes_max),
                             human_bytes(summary.bytes / std::max<std::size_t>(1, plans.size()))));
  std::string note = grouping.note;
  if (summary.bytes_held > 0) {
    note += fmt::format("{}The ranks hold {}; of each replicated chunk (\xE2\x97\x86) one rank, its owner, writes its copy.",
                        note.empty() ? "" : " ", human_bytes(summary.bytes_held));
  }
  return picture_title(headline, numbers, coloured(note, palette::soft));
}

}  // namespace

SaveSummary summarise(const std::vector<SavePlan>& plans, const SaveContext& context) {
  SaveSummary summary;
  for (const SavePlan& plan : plans) {
    std::uint64_t bytes = 0;
    for (const WriteItem& item : plan.items) bytes += item.stored_bytes();
    summary.rank_bytes.push_back(bytes);
    summary.bytes += bytes;
    summary.chunks += plan.items.size();
  }
  std::set<std::string> files;
  for (const auto& names : files_of(plans, context)) files.insert(names.begin(), names.end());
  summary.files = files.size();
  if (context.local_plans) {
    for (const SavePlan& plan : *context.local_plans) {
      for (const WriteItem& item : plan.items) summary.bytes_held += item.stored_bytes();
    }
  }
  if (plans.empty()) return summary;
  std::vector<std::uint64_t> sorted = summary.rank_bytes;
  std::ranges::sort(sorted);
  summary.bytes_min = sorted.front();
  summary.bytes_median = sorted[sorted.size() / 2];
  summary.bytes_max = sorted.back();
  if (summary.bytes > 0) {
    summary.imbalance = static_cast<double>(summary.bytes_max) * static_cast<double>(plans.size()) / static_cast<double>(summary.bytes);
  }
  return summary;
}

std::string save_plan_dot(const std::vector<SavePlan>& plans, const Metadata& metadata, const PictureOptions& options,
                          const SaveContext& context) {
  const SaveSummary summary = summarise(plans, context);
  const Holders holders = holders_of(context);
  const auto files = files_of(plans, context);
  std::vector<RankContent> ranks;
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    ranks.push_back(content_of(plans[rank], rank < files.size() ? files[rank] : std::vector<std::string>(), holders, options.focus));
  }
  const Grouping grouping = group(ranks, options);
  const std::size_t rows_max = grouping.groups.size() <= 4 ? 9 : grouping.groups.size() <= 8 ? 5 : 3;
  DotGraph graph("save plan", title(plans, metadata, summary, grouping));
  std::vector<std::string> rank_column;
  std::vector<std::string> file_column;
  for (const Members& members : grouping.groups) {
    const std::string rank_id = fmt::format("rank-{}", members[0]);
    graph.node(rank_id, {{"label", DotValue::html_label(rank_card(ranks, members, grouping, summary))}, {"tooltip", rank_title(members)}});
    rank_column.push_back(rank_id);
    const std::vector<FileNode> nodes = file_nodes(ranks, members);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const std::string file_id = fmt::format("rank-{}-file-{}", members[0], i);
      graph.node(file_id, {{"label", DotValue::html_label(file_card(nodes[i], rows_max))}, {"tooltip", nodes[i].title}});
      file_column.push_back(file_id);
      const double share = summary.bytes > 0 ? static_cast<double>(nodes[i].bytes) / static_cast<double>(summary.bytes) : 0;
      graph.edge(rank_id, file_id,
                 {{"label", " " + human_bytes(nodes[i].bytes) + " "},
                  {"penwidth", fmt::format("{:.1f}", 1 + 4 * share)},
                  {"color", palette::blue},
                  {"tailport", "e"},
                  {"headport", "w"},
                  {"tooltip", fmt::format("{} bytes", nodes[i].bytes)}});
    }
  }
  graph.column(rank_column);
  graph.column(file_column);
  return graph.text();
}

}  // namespace holdfast::reports

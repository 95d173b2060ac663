#include <algorithm>
#include <initializer_list>
#include <map>
#include <set>

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
constexpr std::size_t file_cards_max = 16;
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

std::uint64_t hashed(std::initializer_list<std::uint64_t> values) {
  std::uint64_t hash = 0;
  for (const std::uint64_t value : values) hash = mixed(hash ^ value);
  return hash;
}

/// A rank's part, ready to be compared and drawn.
struct RankContent {
  std::vector<std::uint32_t>
      files;  ///< as of Writes::Part, ascending: segments before byte values, so that file n of one rank is like that of another
  std::uint64_t bytes = 0;
  std::size_t items = 0;
  std::uint64_t plan_key = 0;      ///< equal for equal plans
  std::uint64_t families_key = 0;  ///< equal for plans of the same families, shapes and counts
};

/// What the picture shows of the writes.
class View {
 public:
  View(const Writes& writes, const Focus& focus) : writes_(writes), focus_(focus) {
    std::map<std::string_view, std::uint64_t> numbers;  // of names and families
    for (const Writes::Tensor& tensor : writes.tensors()) {
      names_.push_back(numbers.emplace(tensor.name, numbers.size()).first->second);
      families_.push_back(numbers.emplace(tensor.family, numbers.size()).first->second);
      shown_.push_back(focus.tensor.empty() || matches_glob(focus.tensor, tensor.name));
    }
    ranks_.resize(writes.ranks());
    for_each([&](const Writes::Part& part) {
      RankContent& rank = ranks_[part.rank];
      if (const auto file = std::ranges::lower_bound(rank.files, part.file); file == rank.files.end() || *file != part.file) {
        rank.files.insert(file, part.file);
      }
      rank.bytes += part.bytes;
      ++rank.items;
      rank.plan_key += hashed({1, names_[part.tensor], part.file, part.size, part.bytes});
      rank.families_key += hashed({2, families_[part.tensor], part.file, part.size, writes.tensors()[part.tensor].holders});
    });
  }

  const Writes& writes() const { return writes_; }
  const std::vector<RankContent>& ranks() const { return ranks_; }

  template <typename F>
  void for_each(F visit) const {
    writes_.for_each([&](const Writes::Part& part) {
      if (!shown_[part.tensor]) return;
      if (!focus_.file.empty() && !matches_glob(focus_.file, Writes::file_name(part.rank, part.file))) return;
      visit(part);
    });
  }

  RowKey row_of(const Writes::Part& part) const {
    const Writes::Tensor& tensor = writes_.tensors()[part.tensor];
    if (tensor.dtype.empty()) return {tensor.family, std::string(byte_value), tensor.holders};
    const Dims& size = writes_.sizes()[part.size];
    return {tensor.family, fmt::format("{} {}", to_string({size.data(), size.size()}), tensor.dtype), tensor.holders};
  }

 private:
  const Writes& writes_;
  Focus focus_;
  std::vector<std::uint64_t> names_;     ///< by tensor, as a number
  std::vector<std::uint64_t> families_;  ///< likewise
  std::vector<bool> shown_;              ///< by tensor
  std::vector<RankContent> ranks_;
};

struct Grouping {
  std::vector<Group> groups;
  std::string note;  ///< for the title: how ranks were put together
};

Grouping group(const std::vector<RankContent>& ranks, const PictureOptions& options) {
  if (options.focus.rank) {
    return {groups_of(one_and_others(ranks.size(), *options.focus.rank), "all others"), "One rank, and all others together."};
  }
  // A group takes a node for its ranks and up to files_drawn_max for their files.
  std::size_t files_a_rank = 1;
  for (const RankContent& rank : ranks) files_a_rank = std::max(files_a_rank, std::min(rank.files.size(), files_drawn_max));
  const std::size_t limit = std::clamp<std::size_t>(options.node_budget / (1 + files_a_rank), 1, groups_max);
  std::vector<std::uint64_t> keys;
  for (const RankContent& rank : ranks) keys.push_back(rank.plan_key);
  auto equal = equal_groups(keys);
  for (std::size_t i = 0; i < ranks.size(); ++i) keys[i] = ranks[i].families_key;
  auto alike = equal_groups(keys);
  const bool equal_is_enough = equal.size() <= limit && (ranks.size() <= limit || equal.size() < 2 * alike.size());
  if (equal_is_enough) {
    return {groups_of(equal, "same plan"), equal.size() < ranks.size() ? "Ranks with equal plans are drawn as one." : ""};
  }
  if (alike.size() <= limit) {
    return {groups_of(alike, "alike"), "Ranks are drawn as one when they write as many chunks of the same families and shapes."};
  }
  if (std::vector<Group> named = named_groups(options.ranks, ranks.size(), limit); !named.empty()) {
    return {std::move(named), fmt::format("Ranks are drawn as one by {}, with sums.", options.named_by)};
  }
  return {groups_of(blocks(ranks.size(), limit), "neighbours"),
          "Too many different plans: neighbouring ranks are drawn as one, with sums."};
}

std::string rank_card(const std::vector<RankContent>& ranks, const Group& group, const SaveSummary& summary) {
  const Members& members = group.members;
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
  std::string rows;
  if (group.name.empty()) {
    rows += card_row(bold(rank_title(members)), coloured(group.label, palette::soft));
  } else {
    rows += card_row(bold(group.name), coloured(counted(members.size(), "rank"), palette::soft));
    rows += card_row(coloured("ranks " + rank_ranges(members, 1), palette::soft));
  }
  rows += card_row(bar(summary.spread.max > 0 ? static_cast<double>(high) / static_cast<double>(summary.spread.max) : 0, colour));
  rows += card_row(escape_xml(span_text(low, high) + (several ? " a rank" : "")));
  if (hot) rows += card_row(coloured(ratio(load) + " of the mean", palette::vermillion));
  rows += card_row(coloured(counted(items, "chunk") + (several ? " in all" : ""), palette::soft));
  return card(rows);
}

std::string holders_text(const RowKey& key, const RowValue& row) {
  if (key.holders < 2) return "";
  if (row.holder_ranks.size() == 1 && !row.holder_ranks.begin()->empty()) return fmt::format("held by ranks {}", *row.holder_ranks.begin());
  return fmt::format("each held by {} ranks", grouped(key.holders));
}

/// One drawn file: a rank's file, or that of each rank of a group, or all files of a group.
struct FileNode {
  std::string title;
  Rows rows;
  std::uint64_t bytes = 0;
  std::size_t files = 0;

  /// The row of a part. Keys are made once a tensor and size.
  RowValue& row(const Writes::Part& part, const View& view) {
    RowValue*& known = known_[{part.tensor, part.size}];
    if (!known) {
      known = &rows[view.row_of(part)];
      const std::string& holders = view.writes().tensors()[part.tensor].holder_ranks;
      if (known->holder_ranks.size() < 2) known->holder_ranks.insert(holders);
    }
    return *known;
  }

 private:
  std::map<std::pair<std::uint32_t, std::uint32_t>, RowValue*> known_;
};

/// The files of every group, one list a group.
std::vector<std::vector<FileNode>> file_nodes(const View& view, const std::vector<Group>& groups) {
  const std::vector<RankContent>& ranks = view.ranks();
  const std::size_t drawn_max = std::clamp<std::size_t>(file_cards_max / std::max<std::size_t>(1, groups.size()), 1, files_drawn_max);
  std::vector<std::vector<FileNode>> nodes(groups.size());
  std::vector<std::size_t> group_of(ranks.size(), 0);
  for (std::size_t g = 0; g < groups.size(); ++g) {
    std::size_t files_a_rank = 0;
    for (const std::size_t member : groups[g].members) files_a_rank = std::max(files_a_rank, ranks[member].files.size());
    nodes[g].resize(std::min(files_a_rank, drawn_max));
    for (const std::size_t member : groups[g].members) {
      group_of[member] = g;
      for (std::size_t number = 0; number < ranks[member].files.size(); ++number) {
        FileNode& node = nodes[g][std::min(number, nodes[g].size() - 1)];
        if (node.files++ == 0) node.title = Writes::file_name(static_cast<std::uint32_t>(member), ranks[member].files[number]);
      }
    }
  }
  view.for_each([&](const Writes::Part& part) {
    std::vector<FileNode>& of_group = nodes[group_of[part.rank]];
    const auto& files = ranks[part.rank].files;
    const auto number = static_cast<std::size_t>(std::ranges::lower_bound(files, part.file) - files.begin());
    FileNode& node = of_group[std::min(number, of_group.size() - 1)];
    RowValue& row = node.row(part, view);
    ++row.items;
    row.bytes += part.bytes;
    node.bytes += part.bytes;
  });
  for (auto& of_group : nodes) {
    for (FileNode& node : of_group) {
      if (node.files > 1) node.title += fmt::format("  and {} more", grouped(node.files - 1));
    }
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
    rows += "<TR>" + cell("LEFT", escape_xml(clip(key.family, 62))) +
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

std::string title(const Writes& writes, const SaveSummary& summary, const Grouping& grouping) {
  const std::string imbalance = fmt::format("imbalance {}", ratio(summary.spread.imbalance));
  const std::string headline = escape_xml(fmt::format("Who writes what: {}, ", counted(writes.ranks(), "rank"))) +
                               (summary.spread.imbalance > 1.25 ? coloured(imbalance, palette::vermillion) : escape_xml(imbalance));
  std::set<std::string_view> keys;
  for (const Writes::Tensor& tensor : writes.tensors()) keys.insert(tensor.name);
  const std::string numbers =
      escape_xml(fmt::format("{} in {} of {}, {}; a rank min / median / max / mean:  {} / {} / {} / {}", human_bytes(summary.bytes),
                             counted(summary.chunks, "chunk"), counted(keys.size(), "key"), counted(summary.files, "file"),
                             human_bytes(summary.spread.min), human_bytes(summary.spread.median), human_bytes(summary.spread.max),
                             human_bytes(summary.bytes / std::max<std::size_t>(1, writes.ranks()))));
  std::string note = grouping.note;
  if (summary.bytes_held > 0) {
    note += fmt::format("{}The ranks hold {}; of what several hold (\xE2\x97\x86) each part is written once.", note.empty() ? "" : " ",
                        human_bytes(summary.bytes_held));
  }
  return picture_title(headline, numbers, coloured(note, palette::soft));
}

}  // namespace

std::string save_plan_dot(const Writes& writes, const PictureOptions& options) {
  const View view(writes, options.focus);
  const SaveSummary summary = summarise(writes);
  const Grouping grouping = group(view.ranks(), options);
  const std::vector<std::vector<FileNode>> files = file_nodes(view, grouping.groups);
  std::size_t cards = 0;
  for (const std::vector<FileNode>& of_group : files) cards += of_group.size();
  const std::size_t rows_max = cards <= 4 ? 9 : cards <= 8 ? 5 : 3;
  DotGraph graph("save plan", title(writes, summary, grouping));
  std::vector<std::string> rank_column;
  std::vector<std::string> file_column;
  for (std::size_t g = 0; g < grouping.groups.size(); ++g) {
    const Group& ranks = grouping.groups[g];
    const std::string rank_id = fmt::format("rank-{}", ranks.members[0]);
    graph.node(rank_id, {{"label", DotValue::html_label(rank_card(view.ranks(), ranks, summary))}, {"tooltip", rank_title(ranks.members)}});
    rank_column.push_back(rank_id);
    for (std::size_t i = 0; i < files[g].size(); ++i) {
      const FileNode& file = files[g][i];
      const std::string file_id = fmt::format("rank-{}-file-{}", ranks.members[0], i);
      graph.node(file_id, {{"label", DotValue::html_label(file_card(file, rows_max))}, {"tooltip", file.title}});
      file_column.push_back(file_id);
      const double share = summary.bytes > 0 ? static_cast<double>(file.bytes) / static_cast<double>(summary.bytes) : 0;
      graph.edge(rank_id, file_id,
                 {{"label", edge_label(human_bytes(file.bytes))},
                  {"penwidth", fmt::format("{:.1f}", 1 + 4 * share)},
                  {"color", palette::blue},
                  {"tailport", "e"},
                  {"headport", "w"},
                  {"tooltip", fmt::format("{} bytes", file.bytes)}});
    }
  }
  graph.column(rank_column);
  graph.column(file_column);
  return graph.text();
}

}  // namespace holdfast::reports

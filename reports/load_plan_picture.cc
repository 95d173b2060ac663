#include <algorithm>
#include <charconv>
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

constexpr std::size_t side_max = 16;       // cards in one of the two columns
constexpr std::size_t edges_max = 72;      // beyond, lines are no longer told apart
constexpr double labels_min = 8;           // edges that carry words in any case
constexpr double labels_a_card_max = 1.5;  // edges that carry words, for each card of the longer column: more would tie curves into a knot

struct Traffic {
  std::uint64_t needed = 0;
  std::uint64_t spanned = 0;
  std::uint64_t items = 0;
  double amplification() const { return needed > 0 ? static_cast<double>(spanned) / static_cast<double>(needed) : 1; }
};

/// What the picture shows of the reads, and the numbers it needs of all of them.
class View {
 public:
  View(const Reads& reads, const Focus& focus) : reads_(reads), focus_(focus) {
    std::set<std::uint32_t> files;
    reads.for_each_chunk([&](const Reads::Chunk& chunk) {
      if (shown(chunk.tensor, chunk.file)) files.insert(chunk.file);
    });
    // By the rank that wrote, then by number: neighbours stand together.
    files_.assign(files.begin(), files.end());
    std::ranges::stable_sort(files_, {}, [&](std::uint32_t file) { return reads.writer(file).value_or(0); });
    for (std::size_t f = 0; f < files_.size(); ++f) number_.emplace(files_[f], f);
    stored_.assign(files_.size(), 0);
    reads.for_each_chunk([&](const Reads::Chunk& chunk) {
      if (shown(chunk.tensor, chunk.file)) stored_[number_.at(chunk.file)] += chunk.bytes;
    });
  }

  std::size_t ranks() const { return reads_.ranks(); }
  std::size_t files() const { return files_.size(); }
  std::string file_name(std::size_t file) const { return reads_.file_name(files_[file]); }
  std::optional<std::uint32_t> writer(std::size_t file) const { return reads_.writer(files_[file]); }
  std::uint64_t stored(std::size_t file) const { return stored_[file]; }
  const Reads& reads() const { return reads_; }

  template <typename F>
  void for_each(F visit) const {
    reads_.for_each([&](const Reads::Part& part) {
      if (shown(part.tensor, part.file)) visit(part, number_.at(part.file));
    });
  }

  /// A number a rank, equal for ranks that read as much from the same files.
  std::vector<std::uint64_t> keys() const {
    std::vector<std::uint64_t> of_reader(reads_.readers().size(), 0);
    for_each([&](const Reads::Part& part, std::size_t file) {
      of_reader[part.reader] += mixed(2 * file) * part.needed + mixed(2 * file + 1) * part.spanned;
    });
    std::vector<std::uint64_t> keys(ranks(), 0);
    for (std::size_t reader = 0; reader < of_reader.size(); ++reader) {
      for (const std::uint32_t rank : reads_.readers()[reader]) keys[rank] += of_reader[reader];
    }
    return keys;
  }

  /// The files that a rank reads, ascending.
  Members files_of(std::size_t rank) const {
    std::vector<bool> is_reader;
    for (const auto& ranks : reads_.readers()) {
      is_reader.push_back(std::ranges::binary_search(ranks, static_cast<std::uint32_t>(rank)));
    }
    std::set<std::size_t> files;
    for_each([&](const Reads::Part& part, std::size_t file) {
      if (is_reader[part.reader]) files.insert(file);
    });
    return {files.begin(), files.end()};
  }

 private:
  bool shown(std::uint32_t tensor, std::uint32_t file) const {
    return (focus_.tensor.empty() || matches_glob(focus_.tensor, reads_.tensors()[tensor])) &&
           (focus_.file.empty() || matches_glob(focus_.file, reads_.file_name(file)));
  }

  const Reads& reads_;
  Focus focus_;
  std::vector<std::uint32_t> files_;
  std::map<std::uint32_t, std::size_t> number_;
  std::vector<std::uint64_t> stored_;
};

using Edges = std::map<std::pair<std::size_t, std::size_t>, Traffic>;  ///< (file group, rank group)

Edges edges_between(const View& view, const std::vector<Group>& files, const std::vector<Group>& ranks) {
  std::vector<std::size_t> file_group(view.files());
  for (std::size_t group = 0; group < files.size(); ++group) {
    for (const std::size_t file : files[group].members) file_group[file] = group;
  }
  std::vector<std::size_t> rank_group(view.ranks());
  for (std::size_t group = 0; group < ranks.size(); ++group) {
    for (const std::size_t rank : ranks[group].members) rank_group[rank] = group;
  }
  // How many ranks of each group a reader stands for.
  std::vector<std::map<std::size_t, std::uint64_t>> counts;
  for (const auto& members : view.reads().readers()) {
    auto& count = counts.emplace_back();
    for (const std::uint32_t rank : members) ++count[rank_group[rank]];
  }
  std::vector<std::vector<Traffic>> table(files.size(), std::vector<Traffic>(ranks.size()));
  view.for_each([&](const Reads::Part& part, std::size_t file) {
    for (const auto& [group, count] : counts[part.reader]) {
      Traffic& traffic = table[file_group[file]][group];
      traffic.needed += part.needed * count;
      traffic.spanned += part.spanned * count;
      traffic.items += count;
    }
  });
  Edges edges;
  for (std::size_t file = 0; file < files.size(); ++file) {
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      if (table[file][rank].items > 0) edges[{file, rank}] = table[file][rank];
    }
  }
  return edges;
}

struct Drawing {
  std::vector<Group> files;
  std::vector<Group> ranks;
  Edges edges;
  std::string note;
};

std::vector<Group> rank_groups(const View& view, const PictureOptions& options, std::size_t limit, std::string& note) {
  if (options.focus.rank) {
    note = "One rank, and all others together.";
    return groups_of(one_and_others(view.ranks(), *options.focus.rank), "all others");
  }
  if (view.ranks() <= limit) return groups_of(singles(view.ranks()), "");
  auto equal = equal_groups(view.keys());
  if (equal.size() <= limit) {
    note = "Ranks that read as much from the same files are drawn as one.";
    return groups_of(std::move(equal), "same reads");
  }
  auto named = named_groups(options.ranks, view.ranks(), limit);
  note = named.empty() ? "Neighbouring ranks are drawn as one, with sums."
                       : fmt::format("Ranks are drawn as one by {}, with sums.", options.named_by);
  return named.empty() ? groups_of(blocks(view.ranks(), limit), "neighbours") : named;
}

std::vector<Group> file_groups(const View& view, const PictureOptions& options, std::size_t limit) {
  if (view.files() <= limit) return groups_of(singles(view.files()), "");
  if (options.focus.rank && limit > 1) {
    // The rank's own files one by one where they are few, and the others together.
    const Members own = view.files_of(*options.focus.rank);
    const std::size_t own_max = limit - 1;
    std::vector<Members> all;
    for (const Members& block : blocks(own.size(), own_max)) {
      Members& members = all.emplace_back();
      for (const std::size_t i : block) members.push_back(own[i]);
    }
    Members others;
    for (std::size_t file = 0; file < view.files(); ++file) {
      if (!std::ranges::binary_search(own, file)) others.push_back(file);
    }
    if (!others.empty()) all.push_back(std::move(others));
    return groups_of(std::move(all), "");
  }
  std::vector<Group> groups = named_groups(options.writers, view.reads().writers(), limit);
  if (groups.empty()) return groups_of(blocks(view.files(), limit), "");
  std::map<std::size_t, std::size_t> group_of;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const std::size_t rank : groups[group].members) group_of.emplace(rank, group);
    groups[group].members.clear();
  }
  for (std::size_t file = 0; file < view.files(); ++file) groups[group_of.at(*view.writer(file))].members.push_back(file);
  std::erase_if(groups, [](const Group& group) { return group.members.empty(); });
  return groups;
}

Drawing arrange(const View& view, const PictureOptions& options) {
  std::size_t limit = std::clamp<std::size_t>(options.node_budget / 2, 1, side_max);
  while (true) {
    Drawing drawing;
    drawing.ranks = rank_groups(view, options, limit, drawing.note);
    drawing.files = file_groups(view, options, limit);
    drawing.edges = edges_between(view, drawing.files, drawing.ranks);
    if (drawing.edges.size() <= edges_max || limit <= 2) return drawing;
    limit /= 2;
  }
}

std::string file_card(const View& view, const Group& group, const Traffic& read) {
  std::uint64_t stored = 0;
  for (const std::size_t file : group.members) stored += view.stored(file);
  const std::string first = clip(view.file_name(group.members[0]), 40);
  std::string rows;
  if (!group.name.empty()) {
    rows += card_row(bold(group.name + " wrote"), coloured(counted(group.members.size(), "file"), palette::soft));
    rows += card_row(coloured(first + (group.members.size() > 1 ? " \xE2\x80\xA6" : ""), palette::soft));
  } else {
    rows += card_row(bold(first));
    if (group.members.size() > 1) {
      rows += card_row(coloured(
          fmt::format("to {}, {}", clip(view.file_name(group.members.back()), 40), counted(group.members.size(), "file")), palette::soft));
    }
  }
  const double fan_out = stored > 0 ? static_cast<double>(read.needed) / static_cast<double>(stored) : 1;
  rows += card_row(escape_xml(human_bytes(stored) + " stored"), coloured("needed " + ratio(fan_out) + " in all", palette::soft));
  return card(rows);
}

std::string reader_card(const Group& group, const LoadSummary& summary, const Traffic& read, const std::string& most) {
  const bool several = group.members.size() > 1;
  std::string rows;
  if (group.name.empty()) {
    rows += card_row(bold(rank_title(group.members)), coloured(group.label, palette::soft));
  } else {
    rows += card_row(bold(group.name), coloured(counted(group.members.size(), "rank"), palette::soft));
    rows += card_row(coloured("ranks " + rank_ranges(group.members, 3), palette::soft));
  }
  std::uint64_t low = ~std::uint64_t{0}, high = 0;
  std::size_t files = 0;
  for (const std::size_t rank : group.members) {
    low = std::min(low, summary.rank_bytes[rank]);
    high = std::max(high, summary.rank_bytes[rank]);
    files = std::max(files, summary.rank_files[rank]);
  }
  const std::string a_rank = span_text(low, high);
  rows += card_row(escape_xml(several ? a_rank + " a rank" : a_rank + " needed"),
                   several ? coloured(human_bytes(read.needed) + " in all", palette::soft) : "");
  rows += card_row(coloured((several ? "from at most " : "from ") + counted(files, "file") + (several ? " a rank" : ""), palette::soft));
  if (!most.empty()) rows += card_row(coloured("most: " + most, palette::soft));
  return card(rows);
}

/// "549 MiB of segment-00003-000.safetensors": the card that the most comes from.
std::string main_source(const View& view, const Drawing& drawing, std::size_t rank) {
  const Traffic* largest = nullptr;
  std::string name;
  for (const auto& [ends, traffic] : drawing.edges) {
    if (ends.second != rank || (largest && traffic.needed <= largest->needed)) continue;
    largest = &traffic;
    const Group& files = drawing.files[ends.first];
    name = files.name.empty() ? clip(view.file_name(files.members[0]), 40) : files.name;
    if (files.name.empty() && files.members.size() > 1) name += " \xE2\x80\xA6";
  }
  return largest ? human_bytes(largest->needed) + " of " + name : "";
}

std::string load_title(const LoadSummary& summary, const Reads& reads, const std::string& note) {
  const std::string of = reads.writers() > 0 ? fmt::format(" of what {} wrote", grouped(reads.writers())) : "";
  const std::string headline = escape_xml(fmt::format("Who reads what: {}{}, ", counted(reads.ranks(), "rank"), of)) +
                               coloured("amplification " + ratio(summary.amplification), amplification_colour(summary.amplification));
  const std::string numbers =
      escape_xml(fmt::format("{} needed of {} stored in {}; at most {} a rank; amplification: file ranges to fetch / bytes needed",
                             human_bytes(summary.bytes_needed), human_bytes(summary.bytes_stored), counted(summary.files, "file"),
                             counted(summary.files_a_rank_max, "file")));
  // Blanks stand at the ends of texts: readers of SVG do not agree on those at the beginning.
  const std::string legend = coloured(
                                 "\xE2\x94\x81 up to \xC3\x97"
                                 "1.05    ",
                                 palette::blue) +
                             coloured(
                                 "\xE2\x94\x81 up to \xC3\x97"
                                 "2    ",
                                 palette::orange) +
                             coloured("\xE2\x94\x81 more    ", palette::vermillion) + coloured(note, palette::soft);
  return picture_title(headline, numbers, legend);
}

}  // namespace

Result<Focus> parse_focus(std::string_view text) {
  if (text.empty()) return Focus{};
  const std::size_t equals = text.find('=');
  const std::string_view key = text.substr(0, equals);
  const std::string value(equals == std::string_view::npos ? "" : text.substr(equals + 1));
  if (value.empty() || (key != "rank" && key != "tensor" && key != "file")) {
    return fail(ErrorCode::invalid_argument, "focus \"{}\": expected rank=NUMBER, tensor=GLOB or file=GLOB", clip(text, 80));
  }
  if (key == "tensor") return Focus{std::nullopt, value, ""};
  if (key == "file") return Focus{std::nullopt, "", value};
  std::size_t rank = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), rank);
  if (error != std::errc() || end != value.data() + value.size()) {
    return fail(ErrorCode::invalid_argument, "focus \"{}\": \"{}\" is no rank number", clip(text, 80), clip(value, 40));
  }
  return Focus{rank, "", ""};
}

std::string load_plan_dot(const Reads& reads, const PictureOptions& options) {
  const View view(reads, options.focus);
  const LoadSummary summary = summarise(reads);
  const Drawing drawing = arrange(view, options);
  DotGraph graph("load plan", load_title(summary, reads, drawing.note));
  const auto cards = static_cast<double>(std::max(drawing.files.size(), drawing.ranks.size()));
  const bool few = static_cast<double>(drawing.edges.size()) <= std::max(labels_min, labels_a_card_max * cards);
  // Straight lines keep apart what curves bundle into a knot.
  if (!few) graph.settings({{"splines", "line"}, {"ranksep", "3"}});
  std::vector<Traffic> of_file(drawing.files.size());
  std::vector<Traffic> of_rank(drawing.ranks.size());
  std::uint64_t widest = 1;
  for (const auto& [ends, traffic] : drawing.edges) {
    of_file[ends.first].needed += traffic.needed;
    of_rank[ends.second].needed += traffic.needed;
    // Of a rank in focus the lines are told apart, not those of all others.
    if (!options.focus.rank || ends.second == 0) widest = std::max(widest, traffic.needed);
  }
  std::vector<std::string> most(drawing.ranks.size());  // where lines carry no words
  for (std::size_t rank = 0; rank < drawing.ranks.size() && !few; ++rank) most[rank] = main_source(view, drawing, rank);
  const auto file_id = [&](std::size_t group) { return fmt::format("file-{}", drawing.files[group].members[0]); };
  const auto rank_id = [&](std::size_t group) { return fmt::format("reader-{}", drawing.ranks[group].members[0]); };
  std::vector<std::string> file_column;
  std::vector<std::string> rank_column;
  for (std::size_t group = 0; group < drawing.files.size(); ++group) {
    file_column.push_back(file_id(group));
    graph.node(file_column.back(), {{"label", DotValue::html_label(file_card(view, drawing.files[group], of_file[group]))},
                                    {"tooltip", clip(view.file_name(drawing.files[group].members[0]), 120)}});
  }
  for (std::size_t group = 0; group < drawing.ranks.size(); ++group) {
    const Group& ranks = drawing.ranks[group];
    rank_column.push_back(rank_id(group));
    graph.node(rank_column.back(), {{"label", DotValue::html_label(reader_card(ranks, summary, of_rank[group], most[group]))},
                                    {"tooltip", rank_title(ranks.members)}});
  }
  for (const auto& [ends, traffic] : drawing.edges) {
    const std::string words = human_bytes(traffic.needed) + " " + ratio(traffic.amplification());
    const double share = std::min(1.0, static_cast<double>(traffic.needed) / static_cast<double>(widest));
    graph.edge(file_id(ends.first), rank_id(ends.second),
               {{"label", few ? edge_label(words) : DotValue("")},
                {"color", amplification_colour(traffic.amplification())},
                {"penwidth", fmt::format("{:.1f}", few ? 0.7 + 2.8 * share : 0.4 + 2.2 * share)},
                {"arrowhead", few ? "normal" : "none"},
                {"tailport", "e"},
                {"headport", "w"},
                {"tooltip", fmt::format("{}, {} items", words, traffic.items)}});
  }
  graph.column(file_column);
  graph.column(rank_column);
  return graph.text();
}

}  // namespace holdfast::reports

#include <algorithm>
#include <charconv>
#include <set>

#include "reports/dot.h"
#include "reports/grouping.h"
#include "reports/palette.h"
#include "reports/plan_labels.h"
#include "reports/plan_picture.h"
#include "reports/text.h"

namespace holdfast::reports {
namespace {

constexpr std::size_t side_max = 16;    // cards in one of the two columns
constexpr std::size_t edges_max = 72;   // beyond, lines are no longer told apart
constexpr std::size_t labels_max = 40;  // and beyond, words hide the lines

struct Traffic {
  std::uint64_t needed = 0;
  std::uint64_t spanned = 0;
  std::size_t items = 0;
  Traffic& operator+=(const Traffic& other) {
    needed += other.needed;
    spanned += other.spanned;
    items += other.items;
    return *this;
  }
  double amplification() const { return needed > 0 ? static_cast<double>(spanned) / static_cast<double>(needed) : 1; }
};

/// Bytes from the first to the last element of a region of `lengths` in a row-major chunk: the least that one ranged read must fetch.
/// Where in the chunk the region starts does not matter.
std::uint64_t span_bytes(const Dims& chunk, const Dims& lengths, std::uint32_t element_bytes) {
  std::int64_t stride = 1;
  std::int64_t last = 0;
  for (std::size_t dim = chunk.size(); dim-- > 0;) {
    if (lengths[dim] == 0) return 0;
    last += (lengths[dim] - 1) * stride;
    stride *= chunk[dim];
  }
  return static_cast<std::uint64_t>(last + 1) * element_bytes;
}

struct SavedChunk {
  Box box;
  std::uint32_t element_bytes = 0;
};

/// None for a byte value, and for what the metadata does not hold: bytes nobody here can count.
std::optional<SavedChunk> find_chunk(const MetadataIndex& index, const Metadata& saved) {
  const auto entry = saved.entries.find(index.fqn);
  const auto* tensor = entry == saved.entries.end() ? nullptr : std::get_if<TensorMetadata>(&entry->second);
  if (!tensor || !index.offset) return std::nullopt;
  const auto position = tensor->chunks.find(*index.offset);
  if (!position) return std::nullopt;
  return std::optional<SavedChunk>(std::in_place, SavedChunk{tensor->chunks.box(*position), size_bytes(tensor->dtype)});
}

Traffic traffic_of(const ReadItem& item, const Metadata& saved) {
  Traffic traffic{0, 0, 1};
  const auto chunk = find_chunk(item.storage_index, saved);
  if (!chunk || item.lengths.size() != chunk->box.size.size()) return traffic;
  traffic.needed = static_cast<std::uint64_t>(volume({item.lengths.data(), item.lengths.size()})) * chunk->element_bytes;
  traffic.spanned = span_bytes(chunk->box.size, item.lengths, chunk->element_bytes);
  return traffic;
}

std::uint64_t chunk_bytes(const MetadataIndex& index, const Metadata& saved) {
  const auto chunk = find_chunk(index, saved);
  return chunk ? static_cast<std::uint64_t>(chunk->box.volume()) * chunk->element_bytes : 0;
}

/// The plans as a table of traffic between files and ranks.
struct Reads {
  std::vector<std::string> files;                       ///< by name
  std::vector<std::map<std::size_t, Traffic>> by_rank;  ///< file position -> traffic
  std::vector<std::uint64_t> stored;                    ///< bytes of the chunks of each file that are read
};

Reads reads_of(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of, const Focus& focus) {
  Reads reads;
  const auto name_of = [&](const ReadItem& item) {
    const auto found = file_of.find(item.storage_index);
    return found == file_of.end() ? std::string("file not given") : found->second;
  };
  const auto shown = [&](const ReadItem& item, const std::string& file) {
    return (focus.tensor.empty() || matches_glob(focus.tensor, item.storage_index.fqn)) &&
           (focus.file.empty() || matches_glob(focus.file, file));
  };
  std::map<std::string, std::size_t> position;
  for (const LoadPlan& plan : plans) {
    for (const ReadItem& item : plan.items) {
      if (const std::string file = name_of(item); shown(item, file)) position.emplace(file, 0);
    }
  }
  for (auto& [name, index] : position) {
    index = reads.files.size();
    reads.files.push_back(name);
  }
  reads.stored.resize(reads.files.size());
  std::set<MetadataIndex> seen;
  for (const LoadPlan& plan : plans) {
    auto& row = reads.by_rank.emplace_back();
    for (const ReadItem& item : plan.items) {
      const std::string file = name_of(item);
      if (!shown(item, file)) continue;
      row[position[file]] += traffic_of(item, saved);
      if (seen.insert(item.storage_index).second) reads.stored[position[file]] += chunk_bytes(item.storage_index, saved);
    }
  }
  return reads;
}

using Edges = std::map<std::pair<std::size_t, std::size_t>, Traffic>;  ///< (file group, rank group)

Edges edges_between(const Reads& reads, const std::vector<Members>& files, const std::vector<Members>& ranks) {
  std::vector<std::size_t> group_of(reads.files.size());
  for (std::size_t group = 0; group < files.size(); ++group) {
    for (const std::size_t file : files[group]) group_of[file] = group;
  }
  Edges edges;
  for (std::size_t group = 0; group < ranks.size(); ++group) {
    for (const std::size_t rank : ranks[group]) {
      for (const auto& [file, traffic] : reads.by_rank[rank]) edges[{group_of[file], group}] += traffic;
    }
  }
  return edges;
}

struct Drawing {
  std::vector<Members> files;
  std::vector<Members> ranks;
  Edges edges;
  std::string note;
  std::string label;  ///< for a card of several ranks
};

Drawing arrange(const Reads& reads, const PictureOptions& options) {
  const std::size_t rank_count = reads.by_rank.size();
  std::size_t limit = std::clamp<std::size_t>(options.node_budget / 2, 1, side_max);
  Drawing drawing;
  if (options.focus.rank) {
    drawing.ranks = one_and_others(rank_count, *options.focus.rank);
    drawing.note = "One rank, and all others together.";
    drawing.label = "all others";
  } else if (rank_count <= limit) {
    drawing.ranks = singles(rank_count);
  } else {
    std::vector<std::string> keys;
    for (const auto& row : reads.by_rank) {
      std::string& key = keys.emplace_back();
      for (const auto& [file, traffic] : row) key += fmt::format("{} {} {}\n", file, traffic.needed, traffic.spanned);
    }
    drawing.ranks = equal_groups(keys);
    drawing.note = "Ranks that read as much from the same files are drawn as one.";
    drawing.label = "same reads";
  }
  const bool fixed = options.focus.rank.has_value();
  if (!fixed && drawing.ranks.size() > limit) drawing.ranks.clear();
  for (; true; limit /= 2) {
    if (drawing.ranks.empty()) {
      drawing.ranks = blocks(rank_count, limit);
      drawing.note = "Neighbouring ranks are drawn as one, with sums.";
      drawing.label = "neighbours";
    }
    drawing.files = blocks(reads.files.size(), limit);
    drawing.edges = edges_between(reads, drawing.files, drawing.ranks);
    if (drawing.edges.size() <= edges_max || limit <= 2) return drawing;
    if (!fixed && drawing.ranks.size() > limit / 2) drawing.ranks.clear();
  }
}

std::string file_card(const Reads& reads, const Members& members, const Traffic& read) {
  std::uint64_t stored = 0;
  for (const std::size_t file : members) stored += reads.stored[file];
  std::string rows = card_row(bold(clip(reads.files[members[0]], 40)));
  if (members.size() > 1) {
    const std::string last = fmt::format("to {}, {}", clip(reads.files[members.back()], 40), counted(members.size(), "file"));
    rows += card_row(coloured(last, palette::soft));
  }
  const double fan_out = stored > 0 ? static_cast<double>(read.needed) / static_cast<double>(stored) : 1;
  rows += card_row(escape_xml(human_bytes(stored) + " stored"), coloured("needed " + ratio(fan_out), palette::soft));
  return card(rows);
}

std::string reader_card(const Reads& reads, const Members& members, const Drawing& drawing, const Traffic& read) {
  std::set<std::size_t> files;
  std::size_t files_a_rank = 0;
  for (const std::size_t rank : members) {
    for (const auto& [file, traffic] : reads.by_rank[rank]) files.insert(file);
    files_a_rank = std::max(files_a_rank, reads.by_rank[rank].size());
  }
  const bool several = members.size() > 1;
  std::string rows = card_row(bold(rank_title(members)), several ? coloured(drawing.label, palette::soft) : "");
  rows += card_row(escape_xml(several ? human_bytes(read.needed / members.size()) + " a rank" : human_bytes(read.needed) + " needed"),
                   several ? coloured(human_bytes(read.needed) + " in all", palette::soft) : "");
  rows += card_row(
      coloured("from " + counted(files.size(), "file") + (several ? fmt::format(", at most {} a rank", files_a_rank) : ""), palette::soft));
  return card(rows);
}

std::string load_title(const LoadSummary& summary, std::size_t ranks, const std::string& note) {
  const std::string headline = escape_xml(fmt::format("Who reads what: {} ranks, ", grouped(ranks))) +
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

LoadSummary summarise(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of) {
  const Reads reads = reads_of(plans, saved, file_of, {});
  LoadSummary summary;
  summary.files = reads.files.size();
  for (const auto& row : reads.by_rank) {
    summary.files_a_rank_max = std::max(summary.files_a_rank_max, row.size());
    for (const auto& [file, traffic] : row) {
      summary.bytes_needed += traffic.needed;
      summary.bytes_spanned += traffic.spanned;
    }
  }
  for (const std::uint64_t stored : reads.stored) summary.bytes_stored += stored;
  for (const LoadPlan& plan : plans) {
    summary.byte_values += static_cast<std::size_t>(std::ranges::count(plan.items, ReadItemType::bytes, &ReadItem::type));
  }
  if (summary.bytes_needed > 0) {
    summary.amplification = static_cast<double>(summary.bytes_spanned) / static_cast<double>(summary.bytes_needed);
  }
  return summary;
}

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

std::string load_plan_dot(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of, const PictureOptions& options) {
  const Reads reads = reads_of(plans, saved, file_of, options.focus);
  const Drawing drawing = arrange(reads, options);
  DotGraph graph("load plan", load_title(summarise(plans, saved, file_of), plans.size(), drawing.note));
  const bool few = drawing.edges.size() <= labels_max;
  // Straight lines keep apart what curves bundle into a knot.
  if (!few) graph.settings({{"splines", "line"}, {"ranksep", "3"}});
  std::vector<Traffic> of_file(drawing.files.size());
  std::vector<Traffic> of_rank(drawing.ranks.size());
  std::uint64_t widest = 1;
  for (const auto& [ends, traffic] : drawing.edges) {
    of_file[ends.first] += traffic;
    of_rank[ends.second] += traffic;
    widest = std::max(widest, traffic.needed);
  }
  const auto file_id = [&](std::size_t group) { return fmt::format("file-{}", drawing.files[group][0]); };
  const auto rank_id = [&](std::size_t group) { return fmt::format("reader-{}", drawing.ranks[group][0]); };
  std::vector<std::string> file_column;
  std::vector<std::string> rank_column;
  for (std::size_t group = 0; group < drawing.files.size(); ++group) {
    file_column.push_back(file_id(group));
    graph.node(file_column.back(), {{"label", DotValue::html_label(file_card(reads, drawing.files[group], of_file[group]))},
                                    {"tooltip", clip(reads.files[drawing.files[group][0]], 120)}});
  }
  for (std::size_t group = 0; group < drawing.ranks.size(); ++group) {
    rank_column.push_back(rank_id(group));
    graph.node(rank_column.back(), {{"label", DotValue::html_label(reader_card(reads, drawing.ranks[group], drawing, of_rank[group]))},
                                    {"tooltip", rank_title(drawing.ranks[group])}});
  }
  for (const auto& [ends, traffic] : drawing.edges) {
    const std::string words = human_bytes(traffic.needed) + " " + ratio(traffic.amplification());
    const double share = static_cast<double>(traffic.needed) / static_cast<double>(widest);
    graph.edge(file_id(ends.first), rank_id(ends.second),
               {{"label", few ? " " + words + " " : std::string()},
                {"color", amplification_colour(traffic.amplification())},
                {"penwidth", fmt::format("{:.1f}", few ? 0.7 + 2.8 * share : 0.5 + share)},
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

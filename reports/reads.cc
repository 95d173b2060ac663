#include "reports/reads.h"

#include <algorithm>

#include "impl/core/check.h"
#include "reports/footprint.h"

namespace holdfast::reports {
namespace {

/// A position of each group of replicas, and the ranks of the group, from the first rank of the mesh.
struct Reader {
  std::int64_t position = 0;
  std::vector<std::uint32_t> ranks;
};

std::vector<Reader> readers_in(const MeshLayout& layout) {
  const Mesh& mesh = layout.mesh;
  const std::vector<int> replicated = replicated_axes(layout);
  std::map<std::int64_t, std::vector<std::uint32_t>> groups;  // by the position whose coordinates along the replicated axes are 0
  for (std::int64_t position = 0; position < mesh.size(); ++position) {
    std::int64_t distinct = 0, rest = position, weight = 1;
    for (std::size_t a = mesh.axes.size(); a-- > 0;) {
      const bool is_replicated = std::ranges::find(replicated, static_cast<int>(a)) != replicated.end();
      distinct += is_replicated ? 0 : rest % mesh.axes[a].size * weight;
      rest /= mesh.axes[a].size;
      weight *= mesh.axes[a].size;
    }
    groups[distinct].push_back(static_cast<std::uint32_t>(mesh.rank(position).value - mesh.first));
  }
  std::vector<Reader> readers;
  for (auto& [position, ranks] : groups) {
    std::ranges::sort(ranks);
    readers.push_back({position, std::move(ranks)});
  }
  return readers;
}

/// Elements from the first to the last of a part of `lengths` in a row-major chunk of `sizes`, wherever in it the part lies.
std::uint64_t span_elements(const Dims& sizes, const Dims& lengths) {
  std::int64_t last = 0;
  std::int64_t stride = 1;
  for (std::size_t d = sizes.size(); d-- > 0;) {
    if (lengths[d] == 0) return 0;
    last += (lengths[d] - 1) * stride;
    stride *= sizes[d];
  }
  return static_cast<std::uint64_t>(last) + 1;
}

/// Chunks one after the other, however they are named: the box, and what is known of its place.
struct Chunks {
  explicit Chunks(const StoredTensor& stored) : tensor(stored) {
    if (stored.files.empty()) return;
    stored.chunks.for_each([&](ChunkSet::Id id, const Box&) { order.emplace(id, static_cast<std::uint32_t>(order.size())); });
  }
  /// Writer and number of a chunk, or file and 0.
  std::pair<std::uint32_t, std::uint32_t> place(ChunkSet::Id id) const {
    if (!tensor.files.empty()) return {tensor.files.at(order.at(id)), 0};
    const ChunkSet::Holder holder = tensor.chunks.holder(id);
    return {static_cast<std::uint32_t>(holder.rank.value - tensor.chunks.mesh()->layout.mesh.first),
            static_cast<std::uint32_t>(holder.number)};
  }
  const StoredTensor& tensor;
  std::map<ChunkSet::Id, std::uint32_t> order;
};

}  // namespace

Reads::Pattern Reads::look_at(const StoredTensor& stored, const MeshLayout& wanted, const Dims& wanted_shape) {
  Pattern pattern;
  const Chunks chunks(stored);
  const Box all = whole(stored.shape);
  std::map<ChunkSet::Id, std::uint64_t> seen;
  std::uint32_t reader = 0;
  for (const Reader& group : readers_in(wanted)) {
    for (const LocalBox& local : local_part(wanted, wanted_shape, group.position)) {
      const auto inside = intersection(local.box, all);
      const std::int64_t padding = local.box.volume() - (inside ? inside->volume() : 0);
      pattern.padding += static_cast<std::uint64_t>(padding) * group.ranks.size();
      if (!inside) continue;
      for (const ChunkSet::Id id : stored.chunks.intersecting(*inside)) {
        const Box chunk = stored.chunks.box(id);
        const auto common = intersection(chunk, *inside);
        if (!common) continue;
        const auto [writer, number] = chunks.place(id);
        pattern.parts.push_back(
            {reader, writer, number, static_cast<std::uint64_t>(common->volume()), span_elements(chunk.size, common->size)});
        if (seen.emplace(id, 0).second) pattern.chunks.push_back({writer, number, static_cast<std::uint64_t>(chunk.volume())});
      }
    }
    ++reader;
  }
  return pattern;
}

const Reads::Pattern& Reads::pattern_of(const StoredTensor& stored, const MeshLayout& wanted, const Dims& wanted_shape) {
  const ChunkSet::OfMesh* rule = stored.files.empty() ? stored.chunks.mesh() : nullptr;
  CHECK(rule || !stored.files.empty(), "chunks of \"{}\" without files", stored.name);
  // Chunks that name their files are those of one tensor.
  const std::string from = rule ? signature(rule->layout, rule->shape) : "\"" + stored.name;
  const std::string key = signature(wanted, wanted_shape) + from;
  const auto known = patterns_.find(key);
  return known != patterns_.end() ? known->second : patterns_.emplace(key, look_at(stored, wanted, wanted_shape)).first->second;
}

std::uint32_t Reads::readers_of(const MeshLayout& wanted) {
  std::string key = to_string(wanted.mesh);
  for (const int axis : replicated_axes(wanted)) key += fmt::format(" {}", axis);
  const auto [number, added] = reader_numbers_.emplace(key, static_cast<std::uint32_t>(readers_.size()));
  if (!added) return number->second;
  for (Reader& reader : readers_in(wanted)) {
    for (std::uint32_t& rank : reader.ranks) rank += static_cast<std::uint32_t>(wanted.mesh.first);
    readers_.push_back(std::move(reader.ranks));
  }
  return number->second;
}

void Reads::add_rule(const StoredTensor& stored, const MeshLayout& wanted, const Dims& wanted_shape) {
  Rule rule;
  rule.tensor = static_cast<std::uint32_t>(tensors_.size());
  rule.first_reader = readers_of(wanted);
  rule.element_bytes = size_bytes(stored.dtype);
  rule.pattern = &pattern_of(stored, wanted, wanted_shape);
  rule.by_holder = stored.files.empty();
  if (rule.by_holder) rule.first_writer = static_cast<std::uint32_t>(stored.chunks.mesh()->layout.mesh.first);
  padding_ += rule.pattern->padding * rule.element_bytes;
  tensors_.push_back(stored.name);
  rules_.push_back(rule);
}

void Reads::add_item(std::size_t rank, const std::string& tensor, std::uint32_t file, std::uint64_t needed, std::uint64_t spanned,
                     std::uint64_t chunk) {
  CHECK(rank < ranks_, "rank {} of {}", rank, ranks_);
  const auto [number, added] = tensor_numbers_.try_emplace(tensor, static_cast<std::uint32_t>(tensors_.size()));
  if (added) tensors_.push_back(tensor);
  const auto [reader, first] = reader_numbers_.emplace(fmt::format("rank {}", rank), static_cast<std::uint32_t>(readers_.size()));
  if (first) readers_.push_back({static_cast<std::uint32_t>(rank)});
  parts_.push_back({reader->second, file, number->second, needed, spanned});
  chunks_.try_emplace({number->second, file}, chunk);
}

std::uint32_t Reads::file_number(const Rule& rule, std::uint32_t writer, std::uint32_t number) const {
  return rule.by_holder ? static_cast<std::uint32_t>(number * writers_) + rule.first_writer + writer : writer;
}

void Reads::for_each(const std::function<void(const Part&)>& visit) const {
  for (const Part& part : parts_) visit(part);
  for (const Rule& rule : rules_) {
    for (const Pattern::Part& part : rule.pattern->parts) {
      visit({rule.first_reader + part.reader, file_number(rule, part.writer, part.number), rule.tensor, part.needed * rule.element_bytes,
             part.spanned * rule.element_bytes});
    }
  }
}

void Reads::for_each_chunk(const std::function<void(const Chunk&)>& visit) const {
  for (const auto& [place, bytes] : chunks_) visit({place.second, place.first, bytes});
  for (const Rule& rule : rules_) {
    for (const Pattern::Chunk& chunk : rule.pattern->chunks) {
      visit({file_number(rule, chunk.writer, chunk.number), rule.tensor, chunk.elements * rule.element_bytes});
    }
  }
}

std::optional<std::uint32_t> Reads::writer(std::uint32_t file) const {
  return file < names_.size() || writers_ == 0 ? std::nullopt : std::optional(static_cast<std::uint32_t>(file % writers_));
}

std::string Reads::file_name(std::uint32_t file) const {
  if (file < names_.size()) return names_[file];
  return Writes::file_name(static_cast<std::uint32_t>(file % writers_), static_cast<std::uint32_t>(file / writers_));
}

Reads reads_of(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of) {
  std::map<std::string, std::uint32_t> numbers;
  const auto name_of = [&](const ReadItem& item) {
    const auto found = file_of.find(item.storage_index);
    return found == file_of.end() ? std::string("file not given") : found->second;
  };
  for (const LoadPlan& plan : plans) {
    for (const ReadItem& item : plan.items) numbers.emplace(name_of(item), 0);
  }
  std::vector<std::string> names;
  for (auto& [name, number] : numbers) {
    number = static_cast<std::uint32_t>(names.size());
    names.push_back(name);
  }
  Reads reads(plans.size(), 0, std::move(names));
  for (std::size_t rank = 0; rank < plans.size(); ++rank) {
    for (const ReadItem& item : plans[rank].items) {
      const auto entry = saved.entries.find(item.storage_index.fqn);
      const auto* tensor = entry == saved.entries.end() ? nullptr : std::get_if<TensorMetadata>(&entry->second);
      const auto id = tensor && item.storage_index.offset ? tensor->chunks.find(*item.storage_index.offset) : std::nullopt;
      if (!id) continue;
      const Box chunk = tensor->chunks.box(*id);
      if (chunk.size.size() != item.lengths.size()) continue;
      const std::uint64_t width = size_bytes(tensor->dtype);
      reads.add_item(rank, item.storage_index.fqn, numbers[name_of(item)],
                     static_cast<std::uint64_t>(volume({item.lengths.data(), item.lengths.size()})) * width,
                     span_elements(chunk.size, item.lengths) * width, static_cast<std::uint64_t>(chunk.volume()) * width);
    }
  }
  return reads;
}

namespace {

/// How many files each rank reads: those of all its readers. `ranks_of_file` counts the ranks of each file.
std::vector<std::size_t> files_by_rank(const Reads& reads, std::vector<std::vector<std::uint32_t>> files_of_reader,
                                       std::vector<std::size_t>& ranks_of_file) {
  std::vector<std::vector<std::uint32_t>> readers_of(reads.ranks());
  for (std::uint32_t reader = 0; reader < reads.readers().size(); ++reader) {
    std::vector<std::uint32_t>& files = files_of_reader[reader];
    std::ranges::sort(files);
    files.erase(std::unique(files.begin(), files.end()), files.end());
    for (const std::uint32_t rank : reads.readers()[reader]) readers_of[rank].push_back(reader);
  }
  std::vector<std::size_t> counts;
  std::vector<std::size_t> last_rank(ranks_of_file.size(), ~std::size_t{0});
  for (std::size_t rank = 0; rank < readers_of.size(); ++rank) {
    std::size_t count = 0;
    for (const std::uint32_t reader : readers_of[rank]) {
      for (const std::uint32_t file : files_of_reader[reader]) {
        if (std::exchange(last_rank[file], rank) == rank) continue;
        ++count;
        ++ranks_of_file[file];
      }
    }
    counts.push_back(count);
  }
  return counts;
}

}  // namespace

LoadSummary summarise(const Reads& reads) {
  LoadSummary summary;
  std::vector<std::uint32_t> files;  // those that are read, ascending
  reads.for_each_chunk([&](const Reads::Chunk& chunk) {
    summary.bytes_stored += chunk.bytes;
    files.push_back(chunk.file);
  });
  std::ranges::sort(files);
  files.erase(std::unique(files.begin(), files.end()), files.end());
  summary.files = files.size();
  std::vector<std::uint32_t> number(files.empty() ? 0 : files.back() + 1, 0);
  for (std::size_t f = 0; f < files.size(); ++f) number[files[f]] = static_cast<std::uint32_t>(f);

  std::vector<std::vector<std::uint32_t>> files_of_reader(reads.readers().size());
  std::vector<std::uint64_t> reader_bytes(reads.readers().size(), 0);
  std::vector<std::uint64_t> file_bytes(files.size(), 0);
  reads.for_each([&](const Reads::Part& part) {
    const std::uint64_t ranks = reads.readers()[part.reader].size();
    reader_bytes[part.reader] += part.needed;
    file_bytes[number[part.file]] += part.needed * ranks;
    summary.bytes_needed += part.needed * ranks;
    summary.bytes_spanned += part.spanned * ranks;
    summary.reads += ranks;
    summary.reads_small += part.spanned < small_read_bytes ? ranks : 0;
    std::vector<std::uint32_t>& read = files_of_reader[part.reader];
    if (read.empty() || read.back() != number[part.file]) read.push_back(number[part.file]);
  });
  summary.rank_bytes.assign(reads.ranks(), 0);
  for (std::size_t reader = 0; reader < reads.readers().size(); ++reader) {
    for (const std::uint32_t rank : reads.readers()[reader]) summary.rank_bytes[rank] += reader_bytes[reader];
  }
  std::vector<std::size_t> ranks_of_file(files.size(), 0);
  summary.rank_files = files_by_rank(reads, std::move(files_of_reader), ranks_of_file);
  for (const std::size_t count : summary.rank_files) summary.files_a_rank_max = std::max(summary.files_a_rank_max, count);
  for (std::size_t f = 0; f < files.size(); ++f) {
    if (f == 0 || file_bytes[f] > summary.hottest.needed) summary.hottest = {reads.file_name(files[f]), file_bytes[f], ranks_of_file[f]};
  }
  if (summary.bytes_needed > 0) {
    summary.amplification = static_cast<double>(summary.bytes_spanned) / static_cast<double>(summary.bytes_needed);
  }
  summary.spread = spread_of(summary.rank_bytes);
  return summary;
}

}  // namespace holdfast::reports

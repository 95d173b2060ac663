#include "impl/plan/summary.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "impl/plan/check.h"

namespace holdfast::plan {
namespace {

SavePlan listed(const SavePlan& plan, std::size_t rank) { return expand(plan, Rank{static_cast<std::int32_t>(rank)}); }

std::uint64_t plan_bytes(const SavePlan& plan) {
  std::uint64_t bytes = 0;
  for (const WriteItem& item : plan.items) bytes += item.stored_bytes();
  return bytes;
}

std::uint64_t total(std::span<const std::uint64_t> values) { return std::accumulate(values.begin(), values.end(), std::uint64_t{0}); }

/// Elements from the first to the last of a part of `lengths` in a row-major chunk of `sizes`, wherever in it the part lies.
std::uint64_t span_elements(const Dims& sizes, const Dims& lengths) {
  std::int64_t last = 0;
  std::int64_t stride = 1;
  for (std::size_t d = sizes.size(); d-- > 0;) {
    last += (lengths[d] - 1) * stride;
    stride *= sizes[d];
  }
  return static_cast<std::uint64_t>(last) + 1;
}

std::map<MetadataIndex, std::size_t> files_by_index(std::span<const SavePlan> written) {
  std::map<MetadataIndex, std::size_t> files;
  for (std::size_t rank = 0; rank < written.size(); ++rank) {
    for (const WriteItem& item : listed(written[rank], rank).items) files.try_emplace(item.index, rank);
  }
  return files;
}

std::string findings_text(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) text += to_string(finding) + "\n";
  return text;
}

std::string ranks_text(const Spread& spread, double factor) {
  return fmt::format("bytes a rank  min {}, median {}, max {}, imbalance {:.1f}\n", bytes_text(spread.min), bytes_text(spread.median),
                     bytes_text(spread.max), factor);
}

/// Bytes read from each file over all ranks; files beyond the known ones stand for single chunks.
class FileTally {
 public:
  explicit FileTally(std::span<const SavePlan> written) : files_(files_by_index(written)), known_(written.size()) {}

  std::size_t read(const MetadataIndex& index, std::uint64_t bytes) {
    const std::size_t file = files_.try_emplace(index, known_ + files_.size()).first->second;
    bytes_[file] += bytes;
    return file;
  }

  void warn_of_hot_files(std::vector<Finding>& findings) const {
    std::uint64_t sum = 0;
    for (const auto& [file, bytes] : bytes_) sum += bytes;
    const double mean = bytes_.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(bytes_.size());
    for (const auto& [file, bytes] : bytes_) {
      if (file >= known_ || static_cast<double>(bytes) <= hot_file_warning * mean) continue;
      findings.push_back({Severity::warning, "hot-file",
                          fmt::format("{} are read of what rank {} wrote, {} on average", bytes_text(bytes), file,
                                      bytes_text(static_cast<std::uint64_t>(mean)))});
    }
  }

 private:
  std::map<MetadataIndex, std::size_t> files_;
  std::size_t known_;
  std::map<std::size_t, std::uint64_t> bytes_;
};

}  // namespace

double imbalance(std::span<const std::uint64_t> bytes) {
  const std::uint64_t sum = total(bytes);
  if (sum == 0) return 1;
  return static_cast<double>(std::ranges::max(bytes)) * static_cast<double>(bytes.size()) / static_cast<double>(sum);
}

void warn_of_imbalance(double factor, std::vector<Finding>& findings) {
  if (factor > imbalance_warning) findings.push_back({Severity::warning, "imbalance", fmt::format("{:.1f}", factor)});
}

Spread spread(std::vector<std::uint64_t> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  return {values.front(), values[(values.size() - 1) / 2], values.back()};
}

SaveSummary summarize(const GlobalSavePlan& global, std::span<const SavePlan> local) {
  SaveSummary summary;
  summary.ranks = global.plans.size();
  std::vector<std::uint64_t> bytes;
  std::map<std::string_view, std::uint64_t> byte_values;
  for (std::size_t rank = 0; rank < global.plans.size(); ++rank) {
    const SavePlan plan = listed(global.plans[rank], rank);
    bytes.push_back(plan_bytes(plan));
    summary.files += plan.items.empty() ? 0 : 1;
    for (const WriteItem& item : plan.items) {
      if (item.type == WriteItemType::bytes) {
        byte_values[item.index.fqn] = item.nbytes;
      } else {
        ++summary.chunks;
      }
    }
  }
  for (const auto& [key, nbytes] : byte_values) summary.logical_bytes += nbytes;
  for (const auto& [key, entry] : global.metadata.entries) {
    const auto* tensor = std::get_if<TensorMetadata>(&entry);
    if (tensor) summary.logical_bytes += static_cast<std::uint64_t>(whole(tensor->shape).volume()) * size_bytes(tensor->dtype);
  }
  summary.written_bytes = total(bytes);
  std::uint64_t held = 0;
  for (std::size_t rank = 0; rank < local.size(); ++rank) held += plan_bytes(listed(local[rank], rank));
  summary.dedup_saved_bytes = held - std::min(held, summary.written_bytes);
  SavePlanCheck check = check_save_plan(global, local);
  summary.findings = std::move(check.findings);
  summary.imbalance = check.imbalance;
  summary.bytes_a_rank = spread(std::move(bytes));
  return summary;
}

LoadSummary summarize(std::span<const LoadPlan> plans, const Metadata& metadata, std::span<const SavePlan> written) {
  LoadSummary summary;
  summary.ranks = plans.size();
  FileTally files(written);
  std::vector<std::uint64_t> needed;
  for (const LoadPlan& plan : plans) {
    needed.push_back(0);
    std::set<std::size_t> opened;
    for (const ReadItem& item : plan.items) {
      ++summary.items;
      const auto entry = metadata.entries.find(item.storage_index.fqn);
      const auto* tensor = entry == metadata.entries.end() ? nullptr : std::get_if<TensorMetadata>(&entry->second);
      const auto chunk = tensor && item.storage_index.offset ? tensor->chunks.find(*item.storage_index.offset) : std::nullopt;
      std::uint64_t read = 0;
      if (chunk) {
        needed.back() += static_cast<std::uint64_t>(volume({item.lengths.data(), item.lengths.size()})) * size_bytes(tensor->dtype);
        read = span_elements(tensor->chunks.box(*chunk).size, item.lengths) * size_bytes(tensor->dtype);
      }
      summary.read_bytes += read;
      opened.insert(files.read(item.storage_index, read));
    }
    summary.files_a_rank_max = std::max(summary.files_a_rank_max, opened.size());
  }
  summary.needed_bytes = total(needed);
  if (summary.needed_bytes > 0) summary.amplification = static_cast<double>(summary.read_bytes) / static_cast<double>(summary.needed_bytes);
  summary.imbalance = imbalance(needed);
  warn_of_imbalance(summary.imbalance, summary.findings);
  files.warn_of_hot_files(summary.findings);
  summary.bytes_a_rank = spread(std::move(needed));
  return summary;
}

std::string to_string(const SaveSummary& summary) {
  return fmt::format("logical       {}\nwritten       {} in {} chunks, {} files\ndedup saved   {}\nranks         {}\n",
                     bytes_text(summary.logical_bytes), bytes_text(summary.written_bytes), summary.chunks, summary.files,
                     bytes_text(summary.dedup_saved_bytes), summary.ranks) +
         ranks_text(summary.bytes_a_rank, summary.imbalance) + findings_text(summary.findings);
}

std::string to_string(const LoadSummary& summary) {
  return fmt::format("needed        {} in {} items\nread          {}, amplification {:.2f}\nranks         {}\nfiles a rank  at most {}\n",
                     bytes_text(summary.needed_bytes), summary.items, bytes_text(summary.read_bytes), summary.amplification, summary.ranks,
                     summary.files_a_rank_max) +
         ranks_text(summary.bytes_a_rank, summary.imbalance) + findings_text(summary.findings);
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace holdfast::plan

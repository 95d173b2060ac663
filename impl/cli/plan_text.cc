#include "impl/cli/plan_text.h"

#include <algorithm>

#include "reports/text.h"

namespace holdfast::cli {
namespace {

using reports::counted;
using reports::grouped;
using reports::human_bytes;

/// "name          value".
std::string line(std::string_view name, std::string_view value) { return fmt::format("{:<13} {}\n", name, value); }

std::string findings_text(const std::vector<plan::Finding>& findings) {
  std::string text;
  for (const plan::Finding& finding : findings) text += plan::to_string(finding) + "\n";
  return text;
}

Json findings_json(const std::vector<plan::Finding>& findings) {
  Json list = Json::array();
  for (const plan::Finding& finding : findings) {
    list.push_back(
        {{"severity", finding.severity == plan::Severity::error ? "error" : "warning"}, {"id", finding.id}, {"message", finding.message}});
  }
  return list;
}

std::string spread_text(const reports::Spread& spread) {
  return fmt::format("min {}, median {}, max {}, imbalance {:.2f}", human_bytes(spread.min), human_bytes(spread.median),
                     human_bytes(spread.max), spread.imbalance);
}

Json spread_json(const reports::Spread& spread) { return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}}; }

std::string seconds_text(double seconds, double rank_gbps, double storage_gbps) {
  std::string text = fmt::format("{:.3g} s at {:g} GB/s a rank", seconds, rank_gbps);
  if (storage_gbps > 0) text += fmt::format(", {:g} GB/s in all", storage_gbps);
  return text;
}

double save_seconds(const Planned& planned, const Rates& rates) {
  return seconds_of(planned.save.spread.max, planned.save.bytes, rates.write_gbps, rates.storage_gbps);
}

double load_seconds(const Planned& planned, const Rates& rates) {
  // A rank reads what its needs span.
  const auto most = static_cast<std::uint64_t>(static_cast<double>(planned.load.spread.max) * planned.load.amplification);
  return seconds_of(most, planned.load.bytes_spanned, rates.read_gbps, rates.storage_gbps);
}

}  // namespace

double seconds_of(std::uint64_t rank_bytes_max, std::uint64_t bytes, double rank_gbps, double storage_gbps) {
  const double by_rank = static_cast<double>(rank_bytes_max) / (rank_gbps * 1e9);
  return storage_gbps > 0 ? std::max(by_rank, static_cast<double>(bytes) / (storage_gbps * 1e9)) : by_rank;
}

std::string header_text(const Planned& planned, const Rates& rates) {
  const spec::Model& model = planned.inventory.model;
  std::string text = line("layout", model.name);
  text += line("parameters", grouped(model.parameters()));
  text += line("elements", fmt::format("{} in {}", grouped(model.elements()), counted(model.tensors.size(), "tensor")));
  std::string ranks = grouped(planned.save.rank_bytes.size());
  if (planned.loading) ranks += " -> " + grouped(planned.load.rank_bytes.size());
  return text + line("ranks", ranks) + "\n" + save_text(planned, rates) + (planned.loading ? "\n" + load_text(planned, rates) : "");
}

std::string save_text(const Planned& planned, const Rates& rates) {
  const reports::SaveSummary& save = planned.save;
  std::string text = line("save", planned.saving.what);
  text += line("logical",
               fmt::format("{} under {}", human_bytes(planned.logical_bytes), counted(planned.global.metadata.entries.size(), "key")));
  text += line("written", fmt::format("{} in {}, {}", human_bytes(save.bytes), counted(save.chunks, "chunk"), counted(save.files, "file")));
  if (save.bytes_held > 0) text += line("dedup saved", human_bytes(save.bytes_held - std::min(save.bytes_held, save.bytes)));
  text += line("bytes a rank", spread_text(save.spread));
  text += line("files a rank", fmt::format("at most {}", save.files_a_rank_max));
  text += line("peak staging", human_bytes(save.spread.max) + " a rank");
  text += line("estimated", seconds_text(save_seconds(planned, rates), rates.write_gbps, rates.storage_gbps));
  return text + findings_text(planned.save_findings);
}

std::string load_text(const Planned& planned, const Rates& rates) {
  const reports::LoadSummary& load = planned.load;
  std::string text = line("load", planned.loading->what);
  text += line("needed", fmt::format("{} of {} stored", human_bytes(load.bytes_needed), human_bytes(load.bytes_stored)));
  text += line("read", fmt::format("{} in {}, amplification {:.3f}", human_bytes(load.bytes_spanned), counted(load.reads, "read"),
                                   load.amplification));
  text += line("small reads", fmt::format("{} under {}", grouped(load.reads_small), human_bytes(reports::small_read_bytes)));
  text += line("bytes a rank", spread_text(load.spread));
  text += line("files a rank", fmt::format("at most {} of {}", load.files_a_rank_max, grouped(load.files)));
  text += line("peak staging", human_bytes(load.spread.max) + " a rank");
  text += line("estimated", seconds_text(load_seconds(planned, rates), rates.read_gbps, rates.storage_gbps));
  return text + findings_text(planned.load_findings);
}

Json save_json(const Planned& planned, const Rates& rates) {
  const spec::Model& model = planned.inventory.model;
  const reports::SaveSummary& save = planned.save;
  return {{"name", model.name},
          {"parameters", model.parameters()},
          {"elements", model.elements()},
          {"tensors", model.tensors.size()},
          {"keys", planned.global.metadata.entries.size()},
          {"saved_on", planned.saving.what},
          {"bytes", planned.logical_bytes},
          {"ranks", save.rank_bytes.size()},
          {"files", save.files},
          {"chunks", save.chunks},
          {"written_bytes", save.bytes},
          {"dedup_saved_bytes", save.bytes_held - std::min(save.bytes_held, save.bytes)},
          {"bytes_a_rank", spread_json(save.spread)},
          {"imbalance", save.spread.imbalance},
          {"files_a_rank_max", save.files_a_rank_max},
          {"staging_bytes_max", save.spread.max},
          {"seconds", save_seconds(planned, rates)},
          {"findings", findings_json(planned.save_findings)}};
}

Json load_json(const Planned& planned, const Rates& rates) {
  const reports::LoadSummary& load = planned.load;
  return {{"ranks", load.rank_bytes.size()},
          {"loaded_on", planned.loading->what},
          {"reads", load.reads},
          {"reads_small", load.reads_small},
          {"needed_bytes", load.bytes_needed},
          {"read_bytes", load.bytes_spanned},
          {"stored_bytes", load.bytes_stored},
          {"amplification", load.amplification},
          {"files", load.files},
          {"files_a_rank_max", load.files_a_rank_max},
          {"bytes_a_rank", spread_json(load.spread)},
          {"imbalance", load.spread.imbalance},
          {"staging_bytes_max", load.spread.max},
          {"seconds", load_seconds(planned, rates)},
          {"rank_bytes", load.rank_bytes},
          {"findings", findings_json(planned.load_findings)}};
}

std::string cause_of(const Planned& planned) {
  for (const auto* findings : {&planned.save_findings, &planned.load_findings}) {
    const auto error = std::ranges::find(*findings, plan::Severity::error, &plan::Finding::severity);
    if (error != findings->end()) return plan::to_string(*error);
  }
  return "";
}

}  // namespace holdfast::cli

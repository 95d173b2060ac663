#include <algorithm>
#include <limits>

#include "impl/cli/cut.h"
#include "impl/cli/inventory.h"
#include "impl/cli/output_file.h"
#include "impl/cli/verbs.h"
#include "impl/plan/load_plan.h"
#include "impl/plan/summary.h"
#include "reports/dot.h"
#include "reports/plan_picture.h"

namespace holdfast::cli {
namespace {

struct Arguments {
  std::string source;
  int ranks = 1;
  int to = 0;  ///< ranks that load; 0: none
  std::string dot;
  std::string svg;
};

/// Memory that a plan names and nobody touches.
std::byte* nowhere() { return reinterpret_cast<std::byte*>(std::uintptr_t{4096}); }

Result<StateDict> state_of(const Inventory& inventory, int ranks, Rank rank) {
  StateDict state;
  for (const Inventory::Tensor& tensor : inventory.tensors) {
    TRY(add_part(state, tensor.name, nowhere(), tensor.dtype, tensor.shape, ranks, rank, Small::replicated));
  }
  return state;
}

struct Planned {
  std::vector<SavePlan> local;
  plan::GlobalSavePlan global;
  plan::SaveSummary save;
  std::vector<LoadPlan> load;
  plan::LoadSummary load_summary;
};

Result<Planned> make_plan(const Inventory& inventory, const Arguments& arguments) {
  Planned planned;
  for (Rank rank{0}; rank.value < arguments.ranks; ++rank.value) {
    const StateDict state = TRY(state_of(inventory, arguments.ranks, rank));
    planned.local.push_back(TRY(plan::local_save_plan(state)));
  }
  for (const Inventory::Value& value : inventory.values) {
    planned.local[0].items.push_back(
        {.index = {value.name, {}, {}}, .type = WriteItemType::bytes, .chunk = {}, .shape = {}, .nbytes = value.bytes});
  }
  planned.global = TRY(plan::global_save_plan(planned.local));
  planned.save = plan::summarize(planned.global, planned.local);
  planned.save.files = reports::summarise(planned.global.plans).files;  // as our storage writes them: value files have names of their own
  for (Rank rank{0}; rank.value < arguments.to; ++rank.value) {
    const StateDict destination = TRY(state_of(inventory, arguments.to, rank));
    planned.load.push_back(TRY(plan::local_load_plan(destination, planned.global.metadata)));
  }
  planned.load_summary = plan::summarize(planned.load, planned.global.metadata, planned.global.plans);
  return planned;
}

/// Where our storage puts each item: box number n of a tensor on a rank goes to the rank's segment n, values have files of their own.
reports::FileOf files_of(const std::vector<SavePlan>& plans) {
  reports::FileOf files;
  for (std::size_t r = 0; r < plans.size(); ++r) {
    const Rank rank{static_cast<std::int32_t>(r)};
    std::map<std::string_view, std::uint32_t> boxes;
    std::uint32_t values = 0;
    for (const WriteItem& item : plans[r].items) {
      const bool is_value = item.type == WriteItemType::bytes;
      files[item.index] =
          is_value ? format::value_name(rank, values++) : format::segment_name(format::segment_of_box(rank, boxes[item.index.fqn]++));
    }
  }
  return files;
}

Status draw(const Planned& planned, const Arguments& arguments) {
  if (arguments.dot.empty() && arguments.svg.empty()) return {};
  const reports::SaveContext context{{}, &planned.local};
  const std::string dot = arguments.to > 0 ? reports::load_plan_dot(planned.load, planned.global.metadata, files_of(planned.global.plans))
                                           : reports::save_plan_dot(planned.global.plans, planned.global.metadata, {}, context);
  if (!arguments.dot.empty()) TRY(write_output(arguments.dot, as_bytes(dot), Existing::replace));
  if (arguments.svg.empty()) return {};
  const std::string svg = TRY(reports::render_svg(dot));
  return write_output(arguments.svg, as_bytes(svg), Existing::replace);
}

Json json_of(const plan::Spread& spread) { return {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}}; }

Json json_of(const std::vector<plan::Finding>& findings) {
  Json list = Json::array();
  for (const plan::Finding& finding : findings) {
    list.push_back(
        {{"severity", finding.severity == plan::Severity::error ? "error" : "warning"}, {"id", finding.id}, {"message", finding.message}});
  }
  return list;
}

Json json_of(const plan::LoadSummary& load) {
  return {{"ranks", load.ranks},
          {"items", load.items},
          {"needed_bytes", load.needed_bytes},
          {"read_bytes", load.read_bytes},
          {"amplification", load.amplification},
          {"files_a_rank_max", load.files_a_rank_max},
          {"bytes_a_rank", json_of(load.bytes_a_rank)},
          {"imbalance", load.imbalance},
          {"findings", json_of(load.findings)}};
}

/// "1,234,567".
std::string with_commas(std::uint64_t number) {
  std::string text = fmt::format("{}", number);
  for (std::size_t at = text.size(); at > 3;) text.insert(at -= 3, ",");
  return text;
}

Result<Report> plan_verb(const Arguments& arguments, const Console& console) {
  const Inventory inventory = TRY(take_inventory(arguments.source, console));
  const Planned planned = TRY(make_plan(inventory, arguments));
  TRY(draw(planned, arguments));
  const plan::SaveSummary& save = planned.save;
  Report report;
  report.text = fmt::format("layout        {}\nparameters    {}\nelements      {} in {} tensors\n", inventory.name,
                            with_commas(inventory.parameters), with_commas(inventory.elements), with_commas(inventory.tensors.size())) +
                plan::to_string(save);
  if (arguments.to > 0) report.text += fmt::format("\nload on {} ranks\n", arguments.to) + plan::to_string(planned.load_summary);
  report.json = {{"source", arguments.source},
                 {"name", inventory.name},
                 {"parameters", inventory.parameters},
                 {"elements", inventory.elements},
                 {"tensors", inventory.tensors.size()},
                 {"bytes", save.logical_bytes},
                 {"ranks", save.ranks},
                 {"files", save.files},
                 {"chunks", save.chunks},
                 {"written_bytes", save.written_bytes},
                 {"dedup_saved_bytes", save.dedup_saved_bytes},
                 {"bytes_a_rank", json_of(save.bytes_a_rank)},
                 {"imbalance", save.imbalance},
                 {"findings", json_of(save.findings)}};
  if (arguments.to > 0) report.json["load"] = json_of(planned.load_summary);
  const auto first_error = std::ranges::find(save.findings, plan::Severity::error, &plan::Finding::severity);
  if (first_error != save.findings.end()) report.cause = plan::to_string(*first_error);
  return report;
}

}  // namespace

void add_plan(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = add_verb(app, command, "plan", "Say who would write what, and with --to who would read what.",
                            "Example: holdfast plan layout.json --ranks 8 --to 6 --svg plan.svg\n\n"
                            "Tensors are cut along dimension 0; one with fewer rows than ranks is replicated, and written once.",
                            [arguments](const Console& console) { return plan_verb(*arguments, console); });
  verb->add_option("SRC", arguments->source, "A checkpoint, a folder of them, a safetensors file, or a layout: JSON with \"tensors\"")
      ->required();
  verb->add_option("--ranks", arguments->ranks, "Ranks that save")->check(CLI::Range(1, planned_ranks_max))->capture_default_str();
  verb->add_option("--to", arguments->to, "Ranks that load what was saved")->check(CLI::Range(1, planned_ranks_max));
  verb->add_option("--dot", arguments->dot, "Write the picture as Graphviz text");
  verb->add_option("--svg", arguments->svg, "Draw the picture (needs the program dot)");
}

}  // namespace holdfast::cli

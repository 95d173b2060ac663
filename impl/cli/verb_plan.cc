#include <algorithm>
#include <map>

#include "impl/cli/output_file.h"
#include "impl/cli/plan_file.h"
#include "impl/cli/plan_options.h"
#include "impl/cli/verbs.h"
#include "reports/dot.h"
#include "reports/plan_picture.h"
#include "reports/rank_bars.h"
#include "reports/tensor_overlay.h"
#include "reports/text.h"

namespace holdfast::cli {
namespace {

constexpr std::size_t focus_files_max = 20;

struct Arguments {
  PlanArguments plan;
  Rates rates;
  std::string dot;
  std::string svg;
  std::string bars;
  std::string tensor;
  std::string focus;
  bool full = false;
};

Status write_text(const std::string& path, const std::string& text) {
  return path.empty() ? Status() : write_output(path, as_bytes(text), Existing::replace);
}

/// The boxes of one tensor that are wanted, one of each group of replicas, and the one of a rank in focus.
Result<reports::TensorOverlay> overlay_of(const Planned& planned, const std::string& name, const reports::Focus& focus) {
  const auto stored = std::ranges::lower_bound(planned.stored, name, {}, &reports::StoredTensor::name);
  if (stored == planned.stored.end() || stored->name != name) {
    return fail(ErrorCode::not_found, "--tensor \"{}\": the plan has no such tensor; it has {} keys", name,
                planned.global.metadata.entries.size());
  }
  reports::TensorOverlay overlay{name, stored->dtype, stored->shape, {}, {}};
  stored->chunks.for_each([&](ChunkSet::Id, const Box& box) { overlay.saved.push_back(box); });
  std::ranges::sort(overlay.saved, std::less<>());
  const auto wanted = std::ranges::find(planned.wanted, &*stored, &Wanted::stored);
  if (wanted == planned.wanted.end()) return overlay;
  const MeshLayout& layout = wanted->tensor->item.layout;
  const auto in_focus = focus.rank ? layout.mesh.position(Rank{static_cast<std::int32_t>(*focus.rank)}) : std::nullopt;
  std::map<Box, bool> boxes;  // replicas are drawn once; true: in focus
  for (std::int64_t position = 0; position < layout.mesh.size(); ++position) {
    for (const LocalBox& local : local_part(layout, wanted->tensor->item.shape, position)) {
      if (const auto inside = intersection(local.box, whole(stored->shape))) boxes[*inside] |= position == in_focus;
    }
  }
  for (const auto& [box, mine] : boxes) {
    if (mine) overlay.mine.push_back(overlay.wanted.size());
    overlay.wanted.push_back(box);
  }
  return overlay;
}

reports::PictureOptions picture_options(const Planned& planned, const reports::Focus& focus) {
  reports::PictureOptions options;
  options.focus = focus;
  options.named_by = "pipeline stage";
  options.ranks = planned.loading ? planned.loading->stages : planned.saving.stages;
  if (planned.loading) options.writers = planned.saving.stages;
  return options;
}

Status draw_bars(const Planned& planned, const std::string& path) {
  if (path.empty()) return {};
  reports::RankBars bars{planned.inventory.model.name, {{"Written", planned.saving.what, planned.save.rank_bytes}}};
  if (planned.loading) bars.rows.push_back({"Needed", planned.loading->what, planned.load.rank_bytes});
  return write_text(path, reports::rank_bars_svg(bars));
}

Status draw(const Planned& planned, const Arguments& arguments, const reports::Focus& focus) {
  TRY(draw_bars(planned, arguments.bars));
  if (!arguments.tensor.empty()) {
    const reports::TensorOverlay overlay = TRY(overlay_of(planned, arguments.tensor, focus));
    return write_text(arguments.svg, reports::tensor_overlay_svg(overlay));
  }
  if (arguments.dot.empty() && arguments.svg.empty()) return {};
  const reports::PictureOptions options = picture_options(planned, focus);
  const std::string dot =
      planned.loading ? reports::load_plan_dot(*planned.reads, options) : reports::save_plan_dot(planned.writes, options);
  TRY(write_text(arguments.dot, dot));
  if (arguments.svg.empty()) return {};
  return write_text(arguments.svg, TRY(reports::render_svg(dot)));
}

/// What the rank in focus writes or reads, file by file.
struct FocusFile {
  std::uint64_t bytes = 0;
  std::uint64_t spanned = 0;
  std::uint64_t parts = 0;
};
using FocusFiles = std::map<std::string, FocusFile>;

FocusFiles focus_files(const Planned& planned, std::size_t rank) {
  FocusFiles files;
  if (!planned.loading) {
    planned.writes.for_each([&](const reports::Writes::Part& part) {
      if (part.rank != rank) return;
      FocusFile& file = files[reports::Writes::file_name(part.rank, part.file)];
      file.bytes += part.bytes;
      file.spanned += part.bytes;
      ++file.parts;
    });
    return files;
  }
  std::vector<bool> is_reader;
  for (const auto& ranks : planned.reads->readers())
    is_reader.push_back(std::ranges::binary_search(ranks, static_cast<std::uint32_t>(rank)));
  std::map<std::uint32_t, FocusFile> by_number;
  planned.reads->for_each([&](const reports::Reads::Part& part) {
    if (!is_reader[part.reader]) return;
    FocusFile& file = by_number[part.file];
    file.bytes += part.needed;
    file.spanned += part.spanned;
    ++file.parts;
  });
  for (const auto& [number, file] : by_number) files[planned.reads->file_name(number)] = file;
  return files;
}

Status add_focus(const Planned& planned, const reports::Focus& focus, Report& report) {
  if (!focus.rank) return {};
  const auto ranks = static_cast<std::size_t>(planned.loading ? planned.loading->job.ranks : planned.saving.job.ranks);
  if (*focus.rank >= ranks) return fail(ErrorCode::invalid_argument, "focus rank={}: there are {} ranks", *focus.rank, ranks);
  const FocusFiles files = focus_files(planned, *focus.rank);
  std::uint64_t bytes = 0;
  Json list = Json::array();
  std::string lines;
  for (const auto& [name, file] : files) {
    bytes += file.bytes;
    if (list.size() < focus_files_max) {
      lines += fmt::format("  {:<34} {:>10} in {}", name, reports::human_bytes(file.bytes), reports::counted(file.parts, "part"));
      if (planned.loading) lines += fmt::format(", {} to read", reports::human_bytes(file.spanned));
      lines += "\n";
    }
    list.push_back({{"file", name}, {"bytes", file.bytes}, {"read_bytes", file.spanned}, {"parts", file.parts}});
  }
  if (files.size() > focus_files_max) lines += fmt::format("  and {} more; --json lists them\n", files.size() - focus_files_max);
  report.text += fmt::format("\nrank {} {} {} {} {}\n{}", *focus.rank, planned.loading ? "reads" : "writes", reports::human_bytes(bytes),
                             planned.loading ? "of" : "to", reports::counted(files.size(), "file"), lines);
  report.json["focus"] = {{"rank", *focus.rank}, {"bytes", bytes}, {"files", list}};
  return {};
}

Status add_tensor(const Planned& planned, const std::string& name, Report& report) {
  if (name.empty()) return {};
  const reports::TensorOverlay overlay = TRY(overlay_of(planned, name, {}));
  const auto rule = [](const std::vector<spec::JobTensor>& tensors, const std::string& fqn) -> std::string {
    const auto found =
        std::ranges::lower_bound(tensors, fqn, {}, [](const spec::JobTensor& tensor) -> const std::string& { return tensor.item.fqn; });
    return found == tensors.end() || found->item.fqn != fqn ? "" : to_string(found->item.layout);
  };
  const std::string saved = rule(planned.saving.job.tensors, name);
  const std::string wanted = planned.loading ? rule(planned.loading->job.tensors, name) : "";
  report.text += fmt::format("\n{} {} {}\n", name, to_string(overlay.dtype), to_string({overlay.shape.data(), overlay.shape.size()}));
  report.text +=
      fmt::format("  saved   {}{}\n", reports::counted(overlay.saved.size(), "chunk"), saved.empty() ? "" : ", held by " + saved);
  if (!wanted.empty()) {
    report.text += fmt::format("  wanted  {} different {}, by {}\n", reports::grouped(overlay.wanted.size()),
                               overlay.wanted.size() == 1 ? "box" : "boxes", wanted);
  }
  report.json["tensor"] = {
      {"name", name}, {"chunks", overlay.saved.size()}, {"boxes", overlay.wanted.size()}, {"held_by", saved}, {"wanted_by", wanted}};
  return {};
}

Result<Report> plan_verb(const Arguments& arguments, const Console& console) {
  const reports::Focus focus = TRY(reports::parse_focus(arguments.focus));
  if (arguments.full && !console.json) return fail(ErrorCode::invalid_argument, "--full needs --json");
  if (!arguments.tensor.empty() && !arguments.dot.empty()) {
    return fail(ErrorCode::invalid_argument, "--tensor draws one tensor, which is no graph; expected --svg, not --dot");
  }
  const std::unique_ptr<Planned> planned = TRY(make_plan(arguments.plan, console));
  Report report;
  report.text = header_text(*planned, arguments.rates);
  report.json["source"] = arguments.plan.source;
  report.json.update(save_json(*planned, arguments.rates));
  if (planned->loading) report.json["load"] = load_json(*planned, arguments.rates);
  TRY(add_focus(*planned, focus, report));
  TRY(add_tensor(*planned, arguments.tensor, report));
  TRY(draw(*planned, arguments, focus));
  if (arguments.full) report.json["plan"] = TRY(plan_to_json(*planned));
  report.cause = cause_of(*planned);
  return report;
}

}  // namespace

void add_plan(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb =
      add_verb(app, command, "plan", "Say who would write what, and with --to who would read what; draw it.",
               "Example: holdfast plan layout.json --ranks 8 --to 6 --svg plan.svg\n"
               "         holdfast plan llama.json --meshes meshes.json --sharding sharding.json --mesh torchtitan-512 --to 384\n\n"
               "Without a mesh, tensors are cut along dimension 0; one with fewer rows than ranks is replicated, and written once.\n"
               "No GPU and no ranks are needed; files are read for their names, types and shapes alone.",
               [arguments](const Console& console) { return plan_verb(*arguments, console); });
  add_plan_options(*verb, arguments->plan);
  add_rate_options(*verb, arguments->rates);
  verb->add_option("--dot", arguments->dot, "Write the picture of files and ranks as Graphviz text");
  verb->add_option("--svg", arguments->svg, "Draw it (needs the program dot); with --tensor: draw that tensor");
  verb->add_option("--bars", arguments->bars, "Draw the bytes of each rank as bars, an SVG");
  verb->add_option("--tensor", arguments->tensor, "One tensor: how it is saved, and over it how it is wanted");
  verb->add_option("--focus", arguments->focus, "rank=NUMBER, tensor=GLOB or file=GLOB: what the picture shows; a rank's files are listed");
  verb->add_flag("--full", arguments->full, "With --json: the whole plan, item by item, as check-plan reads it");
}

}  // namespace holdfast::cli

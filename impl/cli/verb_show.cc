#include "impl/cli/folder.h"
#include "impl/cli/verbs.h"
#include "impl/core/rank_values.h"
#include "impl/plan/summary.h"
#include "reports/footprint.h"

namespace holdfast::cli {
namespace {

struct Arguments {
  std::string path;
  std::string tensor;
};

std::string text_of(const Dims& dims) { return to_string({dims.data(), dims.size()}); }
Json json_of(const Dims& dims) { return std::vector<std::int64_t>(dims.begin(), dims.end()); }

Json head_of(const std::string& directory, const format::Manifest& manifest) {
  return {{"directory", directory},
          {"step", manifest.step.value},
          {"attempt", manifest.attempt},
          {"sequence", manifest.sequence},
          {"parent", manifest.parent},
          {"ranks", manifest.world_size},
          {"block_bytes", manifest.block_bytes},
          {"logical_bytes", logical_bytes(manifest)},
          {"stored_bytes", stored(manifest).bytes}};
}

/// Tensors as they are told: those that lie by the rule of a mesh are counted once a rule, whatever the number of ranks.
class Teller {
 public:
  Json json(const std::string& name, const format::TensorRecord& record) {
    Json told{{"name", name},
              {"dtype", to_string(record.metadata.dtype)},
              {"shape", json_of(record.metadata.shape)},
              {"chunks", chunks(record)},
              {"digest", to_string(record.digest)}};
    if (const ChunkSet::OfMesh* rule = record.metadata.chunks.mesh()) told["layout"] = to_string(rule->layout);
    return told;
  }

  std::string line(const std::string& name, const format::TensorRecord& record) {
    std::string text = fmt::format("{:<40} {:<5} {:<18} {:>11}  {}", name, to_string(record.metadata.dtype), text_of(record.metadata.shape),
                                   count_text(chunks(record), "chunk"), to_string(record.digest));
    if (const ChunkSet::OfMesh* rule = record.metadata.chunks.mesh()) text += "  by " + to_string(rule->layout);
    return text + "\n";
  }

 private:
  std::size_t chunks(const format::TensorRecord& record) {
    const ChunkSet::OfMesh* rule = record.metadata.chunks.mesh();
    return rule ? footprints_.of(rule->layout, rule->shape).parts.size() : record.metadata.chunks.size();
  }
  reports::Footprints footprints_;
};

Result<Report> show_tensor(Checkpoints& checkpoints, const std::string& directory, const format::Manifest& manifest,
                           const std::string& name) {
  const auto found = manifest.tensors.find(name);
  if (found == manifest.tensors.end()) {
    return fail(ErrorCode::not_found, "{} holds no tensor \"{}\"; holdfast show lists its {}", directory, name, manifest.tensors.size());
  }
  Report report;
  Teller teller;
  report.text = teller.line(name, found->second);
  report.json = head_of(directory, manifest);
  report.json["tensor"] = teller.json(name, found->second);
  Json chunks = Json::array();
  for (const ChunkPlace& place : TRY(checkpoints.places(directory, manifest, name))) {
    const std::string file = place.file.substr(directory.size() + 1);
    report.text += fmt::format("  {:<28} {} @ {}+{}\n", to_string(place.box), file, place.file_offset, place.bytes);
    chunks.push_back({{"offset", json_of(place.box.offset)},
                      {"size", json_of(place.box.size)},
                      {"file", file},
                      {"file_offset", place.file_offset},
                      {"bytes", place.bytes}});
  }
  report.json["chunks"] = chunks;
  return report;
}

/// Byte values by name; what single ranks saved of one name together.
struct RankValues {
  RankValueKey first;
  std::size_t holders = 0;
  std::uint64_t bytes = 0;
};

void show_values(const format::Manifest& manifest, Report& report) {
  std::map<std::string, RankValues> of_ranks;
  Json values = Json::array(), rank_values = Json::array();
  std::string text;
  for (const auto& [name, record] : manifest.bytes) {
    values.push_back({{"name", name}, {"bytes", record.bytes}, {"file", record.path()}, {"digest", to_string(record.digest)}});
    if (const auto key = parse_rank_value_key(name)) {
      RankValues& of = of_ranks.try_emplace(key->name, RankValues{*key}).first->second;
      ++of.holders;
      of.bytes += record.bytes;
    } else {
      text += fmt::format("{:<40} {} bytes  {}  {}\n", name, record.bytes, record.path(), to_string(record.digest));
    }
  }
  if (!text.empty()) report.text += "\nbyte values\n" + text;
  if (!of_ranks.empty()) report.text += "\nvalues of single ranks\n";
  for (const auto& [name, of] : of_ranks) {
    report.text +=
        fmt::format("{:<40} {} of {} ranks, {} bytes, policy {}\n", name, of.holders, of.first.ranks, of.bytes, to_string(of.first.policy));
    rank_values.push_back(
        {{"name", name}, {"ranks", of.first.ranks}, {"holders", of.holders}, {"bytes", of.bytes}, {"policy", to_string(of.first.policy)}});
  }
  report.json["values"] = values;
  report.json["rank_values"] = rank_values;
}

Report show_all(const std::string& directory, const format::Manifest& manifest) {
  Report report;
  report.text =
      fmt::format("{}: step {}, attempt {}, sequence {}, parent {}\n{}, {}, {}, {} in {}, blocks of {}\n", directory, manifest.step,
                  manifest.attempt, manifest.sequence, manifest.parent.empty() ? "none" : manifest.parent,
                  count_text(static_cast<std::size_t>(manifest.world_size), "rank"), count_text(manifest.tensors.size(), "tensor"),
                  count_text(manifest.bytes.size(), "byte value"), plan::bytes_text(stored(manifest).bytes),
                  count_text(stored(manifest).files, "file"), plan::bytes_text(manifest.block_bytes));
  report.json = head_of(directory, manifest);
  Json tensors = Json::array(), segments = Json::array();
  Teller teller;
  report.text += "\ntensors\n";
  for (const auto& [name, record] : manifest.tensors) {
    report.text += teller.line(name, record);
    tensors.push_back(teller.json(name, record));
  }
  show_values(manifest, report);
  report.text += "\nsegments\n";
  for (const format::SegmentRecord& segment : manifest.segments) {
    report.text += fmt::format("{:<40} {} bytes, header {}  {}\n", segment.path(), segment.file_bytes, segment.header_bytes,
                               to_string(segment.header_digest));
    segments.push_back({{"file", segment.path()},
                        {"bytes", segment.file_bytes},
                        {"header_bytes", segment.header_bytes},
                        {"header_digest", to_string(segment.header_digest)}});
  }
  report.json.update({{"tensors", tensors}, {"segments", segments}});
  return report;
}

Result<Report> show(const Arguments& arguments, const Console& console) {
  const Location location = TRY(locate(arguments.path));
  Progress progress(console, 0);
  OpenFolder folder = TRY(OpenFolder::open(location, progress));
  const std::string directory = TRY(choose(folder.checkpoints(), location, console));
  const Result<format::Manifest> manifest = folder.checkpoints().manifest(directory);
  if (!manifest) return fail(within(manifest.error(), "show {} of \"{}\"", directory, location.folder));
  if (!arguments.tensor.empty()) return show_tensor(folder.checkpoints(), directory, *manifest, arguments.tensor);
  return show_all(directory, *manifest);
}

}  // namespace

void add_show(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb =
      add_verb(app, command, "show", "Show what a checkpoint holds, and where.", "Example: holdfast show checkpoints --tensor wte.weight",
               [arguments](const Console& console) { return show(*arguments, console); });
  verb->add_option("PATH", arguments->path, "One checkpoint, or a folder of them: the newest committed one")->required();
  verb->add_option("--tensor", arguments->tensor, "The chunks of this tensor, with file and offset");
}

}  // namespace holdfast::cli

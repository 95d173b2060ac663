#include <algorithm>
#include <filesystem>
#include <optional>

#include "impl/api/folder.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/cli/cut.h"
#include "impl/cli/folder.h"
#include "impl/cli/metered_storage.h"
#include "impl/cli/output_file.h"
#include "impl/cli/safetensors_output.h"
#include "impl/cli/verbs.h"
#include "impl/plan/summary.h"

namespace holdfast::cli {
namespace {

struct Arguments {
  std::string source;
  std::string destination;
  std::string directory;  ///< empty: the newest intact one
  std::string values;     ///< where to write byte values; empty: nowhere
  int ranks = 1;
  bool force = false;
  double deadline_s = 3600;

  Existing existing() const { return force ? Existing::replace : Existing::refuse; }
};

/// What came out of one checkpoint.
struct Whole {
  std::size_t tensors = 0;
  std::uint64_t bytes = 0;
  std::map<std::string, Bytes> values;
};

/// A file name for any key: what is no letter, digit or one of _- is written as %XX, a dot only when it does not come first.
std::string value_file(std::string_view key) {
  std::string name;
  for (const char c : key) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || (c == '.' && !name.empty());
    name += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return name + ".bin";
}

class Loading {
 public:
  Loading(const Arguments& arguments, const Console& console) : arguments_(arguments), console_(console) {}

  Result<Report> run() {
    TRY(check_output(arguments_.destination, arguments_.existing()));
    Location location = TRY(locate(arguments_.source));
    if (location.kind == PathKind::file)
      return fail(ErrorCode::invalid_argument, "load \"{}\": it is a file; expected a folder of checkpoints", arguments_.source);
    if (!arguments_.directory.empty()) location = {PathKind::attempt, location.folder, arguments_.directory};
    Progress survey_progress(console_, 0);
    OpenFolder folder = TRY(OpenFolder::open(location, survey_progress));
    std::vector<std::string> candidates{location.directory};
    if (location.kind == PathKind::folder) candidates = TRY(newest_first(folder.checkpoints()));
    for (const std::string& directory : candidates) {
      Result<Whole> whole = load_one(folder.checkpoints(), location.folder, directory);
      if (whole) return report(directory, *whole);
      const Error error = within(whole.error(), "load {} of \"{}\"", directory, arguments_.source);
      if (whole.error().code != ErrorCode::corrupt || location.kind == PathKind::attempt) return fail(error);
      skip(directory, whole.error().message);
    }
    if (skipped_.empty()) return fail(ErrorCode::not_found, "load \"{}\": there is no committed checkpoint", arguments_.source);
    return fail(ErrorCode::corrupt, "load \"{}\": none of {} checkpoints is intact; the newest: {}", arguments_.source, skipped_.size(),
                skipped_.front());
  }

 private:
  void skip(const std::string& directory, const std::string& reason) {
    skipped_.push_back(fmt::format("{}: {}", directory, reason));
    console_.note("skipped {}", skipped_.back());
  }

  Result<std::vector<std::string>> newest_first(Checkpoints& checkpoints) {
    const Survey found = TRY(checkpoints.list());
    for (const protocol::DamagedAttempt& attempt : found.damaged) skip(attempt.directory, attempt.error.message);
    std::vector<std::string> directories;
    for (const protocol::CommittedAttempt& attempt : found.committed) directories.push_back(attempt.directory);
    return directories;
  }

  /// Loads straight into the mapped output, which gets its name when everything in it is verified.
  Result<Whole> load_one(Checkpoints& checkpoints, const std::string& folder, const std::string& directory) {
    const format::Manifest manifest = TRY(checkpoints.manifest(directory));
    Progress progress(console_, logical_bytes(manifest));
    const auto storage = std::make_shared<MeteredStorage>(TRY(backend::PosixStorage::open_root(folder)), progress);
    // Byte values come first: one of them may belong into the header, and so decide where the tensors lie.
    Whole whole{manifest.tensors.size(), 0, TRY(load_values(manifest, directory, storage))};
    const SafetensorsPlan plan = plan_safetensors(manifest, take_metadata(whole));
    OutputFile file = TRY(OutputFile::create(arguments_.destination, plan.file_bytes, arguments_.existing()));
    std::ranges::copy(plan.header, file.bytes().begin());
    TRY(run_ranks(arguments_.ranks, directory, storage, progress, [&](StateDict& state, Rank rank) -> Status {
      for (const auto& [name, record] : manifest.tensors) {
        std::byte* data = file.bytes().data() + plan.offsets.at(name);
        TRY(add_part(state, name, data, record.metadata.dtype, record.metadata.shape, arguments_.ranks, rank, Small::on_one_rank));
      }
      return {};
    }));
    whole.bytes = plan.file_bytes - plan.header.size();
    TRY(write_values(whole));
    TRY(file.commit());
    return whole;
  }

  /// Runs one load; `fill` makes each rank's destination. Returns the first error, which is the same on every rank.
  template <typename Fill>
  Status run_ranks(int ranks, const std::string& directory, const std::shared_ptr<port::Storage>& storage, Progress& progress, Fill fill) {
    LoadOptions options{.directory = directory, .reading = {.mode = LoadMode::streamed}};  // a file that fails gets no name
    options.deadline = std::chrono::duration_cast<port::Duration>(std::chrono::duration<double>(arguments_.deadline_s));
    const std::vector<Status> results = run_local_job(ranks, [&](Job& job) -> Status {
      Checkpoints of_rank(job, storage, job.rank() == Rank{0} ? &progress : nullptr);
      StateDict state;
      TRY(fill(state, job.rank()));
      const Checkpointed<Loaded> loaded = of_rank.load(state, options);
      if (!loaded) return fail(to_error(loaded.error()));
      if (job.rank() == Rank{0}) take_values(state);
      return {};
    });
    for (const Status& result : results) TRY(result);
    return {};
  }

  void take_values(StateDict& state) {
    for (auto& [name, entry] : state.entries()) {
      if (auto* value = std::get_if<BytesEntry>(&entry)) values_[name] = std::move(value->value);
    }
  }

  Result<std::map<std::string, Bytes>> load_values(const format::Manifest& manifest, const std::string& directory,
                                                   const std::shared_ptr<port::Storage>& storage) {
    if (manifest.bytes.empty()) return std::map<std::string, Bytes>();
    Progress progress(console_, 0);
    TRY(run_ranks(1, directory, storage, progress, [&](StateDict& state, Rank) -> Status {
      for (const auto& [name, record] : manifest.bytes) TRY(state.add_bytes(name, {}));
      return {};
    }));
    return std::exchange(values_, {});
  }

  static StringMap take_metadata(Whole& whole) {
    const auto found = whole.values.find(std::string(stored_metadata_name));
    std::optional<StringMap> metadata = found == whole.values.end() ? std::nullopt : decode_metadata(found->second);
    if (!metadata) return {};
    whole.values.erase(found);
    return *std::move(metadata);
  }

  Status write_values(const Whole& whole) {
    for (const auto& [name, value] : whole.values) {
      if (arguments_.values.empty()) {
        console_.note("left out: the byte value \"{}\" of {} bytes; --bytes DIR writes it to a file", name, value.size());
        continue;
      }
      TRY(make_folder(arguments_.values));
      TRY(write_output((std::filesystem::path(arguments_.values) / value_file(name)).string(), value, arguments_.existing()));
    }
    return {};
  }

  Result<Report> report(const std::string& directory, const Whole& whole) const {
    Report report;
    report.text = fmt::format("{}: {}, {} to \"{}\"\n", directory, count_text(whole.tensors, "tensor"), plan::bytes_text(whole.bytes),
                              arguments_.destination);
    Json values = Json::object();
    for (const auto& [name, value] : whole.values) values[name] = value.size();
    report.json = {{"directory", directory},   {"file", arguments_.destination}, {"ranks", arguments_.ranks},
                   {"tensors", whole.tensors}, {"bytes", whole.bytes},           {"values", values},
                   {"skipped", skipped_}};
    return report;
  }

  const Arguments& arguments_;
  const Console& console_;
  std::vector<std::string> skipped_;
  std::map<std::string, Bytes> values_;
};

}  // namespace

void add_load(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = add_verb(app, command, "load", "Load the newest intact checkpoint and write it as one safetensors file.",
                            "Example: holdfast load checkpoints model.safetensors\n\n"
                            "Every byte is verified before DST gets its name. Damaged checkpoints are passed over, and each is named.\n"
                            "Exit 1: there are checkpoints, none intact. Exit 2: there is none.",
                            [arguments](const Console& console) { return Loading(*arguments, console).run(); });
  verb->add_option("SRC", arguments->source, "A folder of checkpoints, or one checkpoint in it")->required();
  verb->add_option("DST", arguments->destination, "The safetensors file to make")->required();
  verb->add_option("--directory", arguments->directory, "This checkpoint of the folder (step-7.a1), and no other");
  verb->add_option("--ranks", arguments->ranks, "Load as so many ranks, threads, each a part of the rows")
      ->check(CLI::Range(1, local_ranks_max))
      ->capture_default_str();
  verb->add_option("--bytes", arguments->values, "Write byte values to files in this directory");
  verb->add_flag("--force", arguments->force, "Replace DST where it exists");
  verb->add_option("--deadline", arguments->deadline_s, "Seconds after which the load gives up")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
}

}  // namespace holdfast::cli

#include <algorithm>

#include "impl/api/folder.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/cli/cut.h"
#include "impl/cli/folder.h"
#include "impl/cli/metered_storage.h"
#include "impl/cli/source_file.h"
#include "impl/cli/stored_metadata.h"
#include "impl/cli/verbs.h"
#include "impl/plan/summary.h"

namespace holdfast::cli {
namespace {

/// Far from overflow, and far from what CLI11 makes of numbers that are too large.
constexpr std::int64_t step_max = std::int64_t{1} << 60;

struct Arguments {
  std::string source;
  std::string folder;
  std::int64_t step = -1;  ///< -1: 1 + the highest there is
  int ranks = 1;
  std::uint32_t block_bytes = format::default_block_bytes;
  std::size_t keep = plan::RetentionPolicy{}.keep_last;
  double deadline_s = 3600;
};

Status check_source(const SafetensorsFile& source) {
  for (const format::SafetensorsTensor& tensor : source.header.tensors) {
    if (tensor.known_dtype()) continue;
    return fail(ErrorCode::unsupported, "save \"{}\": tensor \"{}\" is of dtype {}; expected one of whole bytes", source.file.path(),
                tensor.name, tensor.dtype);
  }
  return {};
}

Result<StateDict> state_of(const SafetensorsFile& source, int ranks, Rank rank) {
  StateDict state;
  for (const format::SafetensorsTensor& tensor : source.header.tensors) {
    // A save only reads; state dicts, which loads fill as well, hold writable memory.
    auto* data = const_cast<std::byte*>(source.data(tensor).data());
    TRY(add_part(state, tensor.name, data, *tensor.known_dtype(), tensor.shape, ranks, rank, Small::replicated));
  }
  if (!source.header.metadata.empty()) TRY(state.add_bytes(std::string(stored_metadata_name), encode_metadata(source.header.metadata)));
  return state;
}

Result<Step> next_step(Checkpoints& checkpoints, const Console& console) {
  Step step{0};
  for (const plan::AttemptId id : TRY(checkpoints.list()).all) step = std::max(step, id.step);
  if (step.value >= step_max)
    return fail(ErrorCode::invalid_argument, "save: there is a checkpoint of step {}; expected a --step for the new one", step);
  ++step.value;
  console.note("save: step {}, one above the highest there", step);
  return step;
}

Result<Report> save(const Arguments& arguments, const Console& console) {
  const SafetensorsFile source = TRY(open_safetensors(arguments.source));
  TRY(check_source(source));
  TRY(make_folder(arguments.folder));
  Progress progress(console, source.data().size());
  const auto storage = std::make_shared<MeteredStorage>(TRY(backend::PosixStorage::open_root(arguments.folder)), progress);

  SaveOptions options{.step = Step{arguments.step}, .block_bytes = arguments.block_bytes, .retention = {.keep_last = arguments.keep}};
  options.deadline = std::chrono::duration_cast<port::Duration>(std::chrono::duration<double>(arguments.deadline_s));
  if (arguments.step < 0) {
    const auto job = Job::alone();
    Checkpoints checkpoints(*job, storage);
    options.step = TRY(next_step(checkpoints, console));
  }
  Saved saved;
  const std::vector<Status> results = run_local_job(arguments.ranks, [&](Job& job) -> Status {
    Checkpoints checkpoints(job, storage, job.rank() == Rank{0} ? &progress : nullptr);
    const StateDict state = TRY(state_of(source, arguments.ranks, job.rank()));
    Checkpointed<Saved> done = checkpoints.save(state, options);
    if (!done) return fail(to_error(done.error()));
    if (job.rank() == Rank{0}) saved = *std::move(done);
    return {};
  });
  for (const Status& result : results) {
    if (!result) return fail(within(result.error(), "save step {} to \"{}\"", options.step, arguments.folder));
  }
  for (const std::string& warning : saved.warnings) console.note("warning: after the commit: {}", warning);

  const std::size_t tensors = source.header.tensors.size();
  const std::uint64_t bytes = source.data().size();
  Report report;
  report.text = fmt::format("{}: step {}, {}, {}, {}, {:.2f} s, {}\n", saved.directory, options.step, count_text(tensors, "tensor"),
                            plan::bytes_text(bytes), count_text(static_cast<std::size_t>(arguments.ranks), "rank"), progress.seconds(),
                            rate_text(bytes, progress.seconds()));
  report.json = {{"folder", arguments.folder},
                 {"directory", saved.directory},
                 {"step", options.step.value},
                 {"sequence", saved.sequence},
                 {"ranks", arguments.ranks},
                 {"tensors", tensors},
                 {"bytes", bytes},
                 {"seconds", progress.seconds()},
                 {"warnings", saved.warnings}};
  return report;
}

}  // namespace

void add_save(CLI::App& app, Command& command) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* verb =
      add_verb(app, command, "save", "Save a safetensors file as a new checkpoint, all of it or nothing.",
               "Example: holdfast save model.safetensors checkpoints --step 100 --ranks 4\n\n"
               "A save that fails or is interrupted, even by SIGKILL or a power cut, leaves older checkpoints as they were; what it\n"
               "wrote is no checkpoint and is swept by the next save that commits.",
               [arguments](const Console& console) { return save(*arguments, console); });
  verb->add_option("SRC", arguments->source, "A safetensors file")->required();
  verb->add_option("DST", arguments->folder, "A folder of checkpoints, made if absent")->required();
  verb->add_option("--step", arguments->step, "The trainer's step; default: 1 + the highest in DST")
      ->check(CLI::Range(std::int64_t{0}, step_max));
  verb->add_option("--ranks", arguments->ranks, "Save as so many ranks, threads, each a part of the rows")
      ->check(CLI::Range(1, local_ranks_max))
      ->capture_default_str();
  verb->add_option("--block-bytes", arguments->block_bytes, "Bytes of data that share one digest")
      ->check(CLI::Range(std::uint32_t{64}, std::uint32_t{1} << 30))
      ->capture_default_str();
  verb->add_option("--keep", arguments->keep, "Newest checkpoints to keep; older ones are removed after the commit")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30))
      ->capture_default_str();
  verb->add_option("--deadline", arguments->deadline_s, "Seconds after which the save gives up")
      ->check(CLI::Range(1.0, 1e6))
      ->capture_default_str();
}

}  // namespace holdfast::cli

// Two ranks save a tensor into a store of one's own and a single one loads it; then a bit of the store flips. Usage: storage_writer FOLDER
#include <cstdio>
#include <numeric>

#include "memory_storage.h"

namespace {

using namespace example;

constexpr std::int64_t rows = 6, columns = 4;

ChunkLayout cut_over(int ranks) {
  ChunkLayout layout{0, {}};
  for (int rank = 0; rank < ranks; ++rank) layout.placements.push_back(Rank{rank});
  return layout;
}

/// A rank's rows of a tensor that counts up from 0.
struct Part {
  std::vector<std::int32_t> values;
  StateDict state;

  static Result<std::unique_ptr<Part>> of(const Job& job, bool filled) {
    auto part = std::make_unique<Part>();
    const ChunkSplit split = chunk_split(rows, job.world_size());
    part->values.resize(static_cast<std::size_t>(split.size(job.rank().value) * columns));
    if (filled) std::iota(part->values.begin(), part->values.end(), static_cast<std::int32_t>(split.begin(job.rank().value) * columns));
    auto* const memory = reinterpret_cast<std::byte*>(part->values.data());
    HOLDFAST_TRY(part->state.add("counts", memory, DType::i32, {rows, columns}, cut_over(job.world_size()), job.rank()));
    return part;
  }
};

/// A folder is opened too, and stays empty: the writer and the reader bring their own storage.
Status save(Job& job, Store& store, const std::string& empty_folder) {
  const auto checkpoints = HOLDFAST_TRY(Checkpoints::open(job, empty_folder));
  const auto part = HOLDFAST_TRY(Part::of(job, true));
  const auto saved = checkpoints->save(part->state, {.step = Step{1}, .writer = std::make_shared<MemoryWriter>(store)});
  if (!saved) return fail(to_error(saved.error()));
  return job.close(job.clock().after(std::chrono::seconds(10)));
}

Result<std::vector<std::int32_t>> load(Job& job, const Store& store, const std::string& empty_folder) {
  const auto checkpoints = HOLDFAST_TRY(Checkpoints::open(job, empty_folder));
  const auto part = HOLDFAST_TRY(Part::of(job, false));
  const auto loaded = checkpoints->load(part->state, {.reader = std::make_shared<MemoryReader>(store)});
  if (!loaded) return fail(to_error(loaded.error()));
  return part->values;
}

Status demonstrate(const std::string& folder) {
  Store store;
  for (const Status& done : run_local_job(2, [&](Job& job) { return save(job, store, folder); })) HOLDFAST_TRY(done);
  fmt::print("saved by 2 ranks as {}\n", fmt::join(store.keys(), " "));

  const auto alone = Job::alone();
  const std::vector<std::int32_t> values = HOLDFAST_TRY(load(*alone, store, folder));
  fmt::print("loaded by 1 rank: {} to {}\n", values.front(), values.back());

  store.damage(store.keys().front());
  const auto damaged = load(*alone, store, folder);
  fmt::print("after a flipped bit: {}\n", damaged ? "loaded, which it should not" : damaged.error().message);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const Status done = argc == 2 ? demonstrate(argv[1]) : fail(ErrorCode::invalid_argument, "usage: storage_writer FOLDER");
  if (!done) fmt::print(stderr, "{}\n", done.error().message);
  return done ? 0 : 1;
}

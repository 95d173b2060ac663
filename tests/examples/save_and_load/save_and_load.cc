// Saves a tensor and a value, forgets them, and loads them again. Usage: save_and_load FOLDER
#include <holdfast/holdfast.h>

#include <cstdio>
#include <numeric>

using namespace holdfast;

Status save_and_load(const char* folder) {
  std::vector<float> weights(1024 * 256);
  std::iota(weights.begin(), weights.end(), 0.0f);
  const auto job = Job::alone();
  StateDict state;
  auto* const memory = reinterpret_cast<std::byte*>(weights.data());
  HOLDFAST_TRY(state.add("weights", memory, DType::f32, {1024, 256}, ReplicatedLayout{}, job->rank()));
  HOLDFAST_TRY(state.add_bytes("trainer", to_bytes(as_bytes("epoch 3"))));

  const auto checkpoints = HOLDFAST_TRY(Checkpoints::open(*job, folder));
  const auto saved = checkpoints->save(state, {.step = Step{1000}});
  if (!saved) return fail(to_error(saved.error()));

  weights.assign(weights.size(), 0.0f);
  const auto loaded = checkpoints->load(state);
  if (!loaded) return fail(to_error(loaded.error()));
  fmt::print("loaded {}: last weight {}\n", loaded->directory, weights.back());
  return {};
}

int main(int argc, char** argv) {
  const Status done = argc == 2 ? save_and_load(argv[1]) : fail(ErrorCode::invalid_argument, "usage: save_and_load FOLDER");
  if (!done) fmt::print(stderr, "{}\n", done.error().message);
  return done ? 0 : 1;
}

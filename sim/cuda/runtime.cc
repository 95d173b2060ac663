#include "sim/cuda/runtime.h"

#include "sim/cuda/state.h"

namespace holdfast::sim::cuda {
namespace {

/// Steele, Lea and Flood's SplitMix64, by the high half of a multiplication: no distribution of the standard library's.
Pick from_seed(std::uint64_t seed) {
  return [seed](std::uint32_t n) mutable {
    seed += 0x9e3779b97f4a7c15u;
    std::uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::uint32_t>((((z ^ (z >> 31)) >> 32) * n) >> 32);
  };
}

std::unique_ptr<State>& current() {
  static std::unique_ptr<State> state = std::make_unique<State>(from_seed(0), Pace::any);
  return state;
}

}  // namespace

State& state() { return *current(); }

void reset(std::uint64_t seed, Pace pace) { reset(from_seed(seed), pace); }
void reset(Pick pick, Pace pace) { current() = std::make_unique<State>(std::move(pick), pace); }

void set_device_count(int count) { state().device_count = count; }
void set_memory_limit(std::size_t bytes) { state().memory.limit = bytes; }

void fail_call(std::string_view name, std::uint64_t nth, int code, const Context* caller, int caller_device) {
  state().failing_call = State::FailingCall{std::string(name), nth, static_cast<cudaError_t>(code), caller, caller_device};
}
void fail_operation(std::uint64_t nth, int code, int device) {
  state().failing_operation = State::FailingOperation{nth, static_cast<cudaError_t>(code), device};
}
bool disarm() {
  const bool failed = !state().failing_call && !state().failing_operation;
  state().failing_call.reset();
  state().failing_operation.reset();
  return failed;
}
void capture_elsewhere() { state().captures.begin_elsewhere(); }
void find(std::string what) { state().find(std::move(what)); }

std::vector<std::string> findings() { return state().findings; }
std::vector<std::string> report() { return state().report(); }
Live live() { return state().live(); }
std::map<std::string, std::uint64_t> calls() { return state().calls; }

Context* switch_context(Context* context) {
  Context* before = state().context_ == &state().own_context ? nullptr : state().context_;
  state().context_ = context == nullptr ? &state().own_context : context;
  return before;
}

}  // namespace holdfast::sim::cuda

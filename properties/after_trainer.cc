// The trainer's stream is behind when a save, load or transfer is called: it still has to write the tensors, or to read what will be replaced. What comes of it is as if
// it had not been.
#include <algorithm>
#include <functional>

#include "impl/core/mark.h"
#include "impl/protocol/default_planner.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/transfer.h"
#include "properties/device_state.h"
#include "properties/on_ranks.h"
#include "properties/property.h"
#include "properties/transfer_job.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration patience = std::chrono::seconds(60);
constexpr port::StreamId no_stream{1 << 20};

/// A stream of the trainer's.
class TrainerStream {
 public:
  explicit TrainerStream(const port::Env& env) : env_(env), stream_(opened(env.device.create_stream())) {}
  ~TrainerStream() { env_.device.destroy_stream(stream_); }
  TrainerStream(const TrainerStream&) = delete;
  TrainerStream& operator=(const TrainerStream&) = delete;

  port::StreamId id() const { return stream_; }
  void drain() const {
    const port::EventId end = opened(env_.device.record(stream_));
    const Status over = env_.device.synchronize(end, env_.clock.after(patience));
    CHECK(over.has_value(), "{}", over.error());
    env_.device.destroy_event(end);
  }

 private:
  template <typename T>
  static T opened(Result<T> made) {
    CHECK(made.has_value(), "{}", made.error());
    return *made;
  }

  port::Env env_;
  port::StreamId stream_;
};

/// Tensors of a rank in device memory, which holds the complement of what the host image says until the stream comes to what update() gave it.
class Tensors {
 public:
  Tensors(gen::RankState state, const port::Env& env, const TrainerStream& stream)
      : stream_(stream), state_(complement(std::move(state))), on_device_(state_, env) {
    flip();
  }

  gen::RankState& state() { return state_; }
  void update() { on_device_.enqueue_upload(stream_.id()); }
  /// The next step: every element changes.
  void train() {
    flip();
    update();
  }
  /// The trainer looks at its tensors, in the order of its stream.
  void read() { seen_ = on_device_.enqueue_reading(stream_.id()); }
  /// What it saw is what it had given them itself. The stream must have run.
  Wrong saw_its_own() const {
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      if (!std::ranges::equal(seen_[i].bytes, state_.memory[i])) return "the trainer read what was written to its tensors only later";
    }
    return std::nullopt;
  }
  /// The state is the device's. The stream must have run.
  void download() { on_device_.download(); }

 private:
  static gen::RankState complement(gen::RankState state) {
    for (Bytes& memory : state.memory) std::ranges::transform(memory, memory.begin(), std::bit_not());
    return state;
  }
  void flip() {
    for (Bytes& memory : state_.memory) std::ranges::transform(memory, memory.begin(), std::bit_not());
  }

  const TrainerStream& stream_;
  gen::RankState state_;
  DeviceState on_device_;
  std::vector<port::Buffer> seen_;
};

class AfterTrainer {
 public:
  AfterTrainer(World& world, const gen::DrawnCase& drawn)
      : world_(world), drawn_(drawn), values_(make_values(drawn.saved, drawn.seed)), refused_(drawn.seed % 5 == 0) {}

  Wrong run() {
    world_.reset();
    if (Wrong wrong = on_ranks(world_, drawn_.saved.world_size, drawn_.seed, drawn_.coordinator,
                               [&](protocol::Session& session, Rank rank) { return saves(session, rank); }))
      return wrong;
    if (Wrong wrong = on_ranks(world_, drawn_.loaded.world_size, drawn_.seed + 1, drawn_.load_coordinator,
                               [&](protocol::Session& session, Rank rank) { return loads(session, rank); }))
      return wrong;
    const TransferJob job = transfer_job(world_, drawn_);
    if (job.wanted_bytes() == 0) return std::nullopt;
    return on_ranks(world_, job.ranks, job.seed + 2, job.coordinator,
                    [&](protocol::Session& session, Rank rank) { return transfers(session, rank, job); });
  }

 private:
  /// The chosen ranks name a stream that is none.
  static port::StreamId bad_on(const std::vector<Rank>& chosen, Rank rank, const TrainerStream& stream) {
    return std::ranges::find(chosen, rank) == chosen.end() ? stream.id() : no_stream;
  }
  template <typename T>
  static Wrong must_be_refused(std::string_view what, const protocol::Checkpointed<T>& done, const std::vector<Rank>& chosen) {
    if (done) return fmt::format("{} after a stream that is none succeeded", what);
    const auto& groups = done.error().failures.groups();
    const bool is_refusal = done.error().outcome == Outcome::failed && done.error().failures.ranks() == chosen &&
                            done.error().lost.empty() &&
                            std::ranges::all_of(groups, [](const auto& group) { return group.error.code == ErrorCode::invalid_argument; });
    if (!is_refusal) return fmt::format("{} after a stream that is none: {}", what, to_string(done.error()));
    MARK("after_trainer.refused");
    return std::nullopt;
  }

  Wrong saves(protocol::Session& session, Rank rank) const {
    const TrainerStream stream(session.env());
    Tensors tensors(make_state(drawn_.saved, rank, values_), session.env(), stream);
    protocol::SaveOptions options{.step = Step{1}, .block_bytes = drawn_.block_bytes};
    if (refused_) {
      options.after = bad_on(drawn_.chosen, rank, stream);
      if (Wrong wrong = must_be_refused("a save", protocol::save(session, tensors.state().dict, options), drawn_.chosen)) return wrong;
    }
    options.after = stream.id();
    tensors.update();
    const Wrong wrong = drawn_.seed % 4 == 0 ? saves_beside(session, tensors, options) : saves_at_once(session, tensors, options);
    stream.drain();
    return wrong;
  }

  Wrong saves_at_once(protocol::Session& session, Tensors& tensors, protocol::SaveOptions options) const {
    if (drawn_.seed % 4 == 1) options.replicas = protocol::Replicas::refuse;
    if (drawn_.seed % 4 == 2) {  // a writer that knows nothing of the trainer's stream
      options.writer = std::make_shared<protocol::SegmentWriter>(session.env(), session.staging(),
                                                                 protocol::SegmentWriterOptions{options.step, options.block_bytes, {}});
    }
    const auto saved = protocol::save(session, tensors.state().dict, options);
    return saved ? std::nullopt : Wrong("save: " + to_string(saved.error()));
  }

  Wrong saves_beside(protocol::Session& session, Tensors& tensors, protocol::SaveOptions options) const {
    if (drawn_.seed % 8 == 0) options.snapshot = protocol::Snapshot::device;
    auto started = protocol::async_save(session, tensors.state().dict, options);
    if (!started) return "async_save: " + to_string(started.error());
    tensors.train();  // without a wait for anything
    const auto outcome = started->wait(session.env().clock.after(patience));
    if (!outcome) return "the save did not end";
    if (!*outcome) return "the save: " + to_string(outcome->error());
    MARK("after_trainer.saved_beside");
    return std::nullopt;
  }

  Wrong loads(protocol::Session& session, Rank rank) const {
    const TrainerStream stream(session.env());
    Tensors tensors(make_destination(drawn_.loaded, rank), session.env(), stream);
    tensors.update();
    tensors.read();
    protocol::LoadOptions options{
        .reading = {drawn_.seed % 2 == 0 ? protocol::LoadMode::streamed : protocol::LoadMode::all_or_nothing, 64}};
    if (refused_) {
      options.after = bad_on(drawn_.load_chosen, rank, stream);
      if (Wrong wrong = must_be_refused("a load", protocol::load(session, tensors.state().dict, options), drawn_.load_chosen)) {
        stream.drain();
        return wrong;
      }
    }
    options.after = stream.id();
    if (drawn_.seed % 3 == 0) options.planner = std::make_shared<protocol::DefaultLoadPlanner>();  // one that knows nothing of that stream
    const auto loaded = protocol::load(session, tensors.state().dict, options);
    stream.drain();
    if (!loaded) return "load: " + to_string(loaded.error());
    if (Wrong wrong = tensors.saw_its_own()) return wrong;
    tensors.download();
    if (auto differs = difference(tensors.state(), drawn_.loaded, rank, values_)) return "load: " + *differs;
    MARK("after_trainer.loaded");
    return std::nullopt;
  }

  Wrong transfers(protocol::Session& session, Rank rank, const TransferJob& job) const {
    const gen::WholeValues values = make_values(job.to, job.seed + 1);
    const TrainerStream stream(session.env());
    Tensors source(job.source(rank, make_values(job.from, job.seed + 1)), session.env(), stream);
    Tensors destination(job.destination(rank), session.env(), stream);
    protocol::TransferOptions options{.strict = job.missing.empty(), .memory_budget_bytes = job.budget_bytes};
    source.update();
    destination.update();
    destination.read();
    if (refused_) {
      const std::vector<Rank> chosen{job.coordinator};
      options.after = bad_on(chosen, rank, stream);
      const auto done = protocol::transfer(session, source.state().dict, destination.state().dict, options);
      if (Wrong wrong = must_be_refused("a transfer", done, chosen)) {
        stream.drain();
        return wrong;
      }
    }
    options.after = stream.id();
    const auto done = protocol::transfer(session, source.state().dict, destination.state().dict, options);
    stream.drain();
    if (!done) return "transfer: " + to_string(done.error());
    if (Wrong wrong = destination.saw_its_own()) return wrong;
    destination.download();
    MARK("after_trainer.transferred");
    return job.difference(destination.state(), rank, values);
  }

  World& world_;
  const gen::DrawnCase& drawn_;
  gen::WholeValues values_;
  bool refused_;
};

}  // namespace

std::vector<Property> after_trainer_properties() {
  const auto property = [](World& world, const gen::DrawOptions& options) {
    return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return AfterTrainer(world, drawn).run(); });
  };
  return {
      {"after-trainer",
       "S4 S6 L2 A1 A3",
       "What a trainer's stream has been given before a save, load or transfer comes before it, whatever the schedule; a stream that is "
       "none is an error of its rank, and nothing has changed.",
       in_every_world(),
       property,
       {"after_trainer.refused", "after_trainer.saved_beside", "after_trainer.loaded", "after_trainer.transferred",
        "trainer_work.waited_for", "trainer_work.awaited"}}};
}

}  // namespace holdfast::properties

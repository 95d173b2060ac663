// What a load that fails leaves behind, in either mode, and what a streamed one refuses. The exact words.
#include <gtest/gtest.h>

#include "impl/protocol/default_planner.h"
#include "impl/protocol/durable.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

constexpr std::int64_t size = 300000;  // several blocks

/// Tensors that every rank holds whole, each filled with one byte.
struct Tensors {
  StateDict state;
  std::map<std::string, Bytes> memory;

  explicit Tensors(const std::map<std::string, char>& fills) {
    for (const auto& [key, fill] : fills) {
      Bytes& of = memory[key] = Bytes(size, static_cast<std::byte>(fill));
      EXPECT_TRUE(state.add(key, of.data(), DType::u8, {size}, ReplicatedLayout{}, Rank{0}));
    }
  }
  Tensors(const Tensors&) = delete;
  Tensors& operator=(const Tensors&) = delete;
  ~Tensors() = default;
  bool holds(const std::string& key, char fill) const {
    return std::ranges::all_of(memory.at(key), [&](std::byte byte) { return byte == static_cast<std::byte>(fill); });
  }
};

class LoadModes : public testing::Test {
 protected:
  void in_session(const std::function<void(Session&)>& body) {
    const properties::WorldRun run = world_->run(1, 0, [&](const port::Env& env, Rank) {
      Session session(env);
      body(session);
      return Bytes();
    });
    EXPECT_EQ(run.problems, std::vector<std::string>());
  }

  void save_step(std::int64_t step, const Tensors& tensors) {
    in_session([&](Session& session) { EXPECT_TRUE(save(session, tensors.state, {.step = Step{step}, .retention = {.keep_last = 3}})); });
  }

  /// Flips a bit of the last byte of every segment of an attempt.
  void damage(const std::string& directory) {
    in_session([&](Session& session) {
      port::Storage& storage = session.env().storage;
      const port::Deadline deadline = session.env().clock.after(std::chrono::seconds(60));
      const std::vector<port::DirectoryEntry> entries = storage.list(directory, deadline).value();
      for (const port::DirectoryEntry& entry : entries) {
        if (!entry.name.ends_with(".safetensors")) continue;
        const std::string path = join(directory, entry.name);
        Bytes changed = to_bytes(read_file(storage, path, 64 << 20, deadline)->view());
        changed.back() ^= std::byte{1};
        ASSERT_TRUE(storage.remove(path, deadline));
        const SharedBytes bytes(std::move(changed));
        const port::WritePiece piece{0, bytes.view(), bytes.owner()};
        ASSERT_TRUE(write_new_file(storage, path, {&piece, 1}, deadline));
        ++damaged_;
      }
    });
    EXPECT_GT(damaged_, 0);
  }

  std::string load_into(Tensors& tensors, const LoadOptions& options) {
    std::string told;
    in_session([&](Session& session) {
      const Checkpointed<Loaded> loaded = load(session, tensors.state, options);
      told = loaded ? loaded->directory : to_string(loaded.error());
    });
    return told;
  }

 private:
  std::unique_ptr<properties::World> world_ = *properties::ThreadsWorld::make();
  int damaged_ = 0;
};

constexpr ReadingOptions streamed{.mode = LoadMode::streamed, .window_bytes = 64 << 10};

TEST_F(LoadModes, OnlyAStreamedLoadThatFailsTouchesItsDestination) {
  save_step(1, Tensors({{"w", 'a'}}));
  damage("step-1.a1");
  const std::string told = "read failed: rank 0: tensor \"w\" block 4 (";
  Tensors whole({{"w", '.'}});
  EXPECT_EQ(load_into(whole, {.directory = "step-1.a1"}).substr(0, told.size()), told);
  EXPECT_TRUE(whole.holds("w", '.'));
  Tensors mixed({{"w", '.'}});
  EXPECT_EQ(load_into(mixed, {.directory = "step-1.a1", .reading = streamed}).substr(0, told.size()), told);
  EXPECT_EQ(mixed.memory["w"].front(), std::byte{'a'});
  EXPECT_EQ(mixed.memory["w"].back(), std::byte{'.'});  // it was never verified
}

TEST_F(LoadModes, AStreamedLoadFallsBackToWhatReplacesAllThatItTouched) {
  save_step(1, Tensors({{"v", 'a'}}));
  save_step(2, Tensors({{"v", 'b'}, {"w", 'b'}}));
  save_step(3, Tensors({{"v", 'c'}, {"w", 'c'}}));
  damage("step-3.a3");
  Tensors tensors({{"v", '.'}, {"w", '.'}});
  const LoadOptions options{.plan = {.strict = false}, .reading = streamed};
  EXPECT_EQ(load_into(tensors, options), "step-2.a2");
  EXPECT_TRUE(tensors.holds("v", 'b') && tensors.holds("w", 'b'));
  damage("step-2.a2");
  EXPECT_EQ(
      load_into(tensors, options),
      R"(plan failed: rank 0: plan load: "w" may hold values of step-2.a2, which is damaged, and the checkpoint before has none for it; )"
      R"(a load with LoadMode::all_or_nothing can fall back here (invalid_argument))");
  Tensors kept({{"v", '.'}, {"w", '.'}});
  EXPECT_EQ(load_into(kept, {.plan = {.strict = false}}), "step-1.a1");
  EXPECT_TRUE(kept.holds("v", 'a') && kept.holds("w", '.'));
}

TEST_F(LoadModes, ANewStateFallsBackToWhateverIsIntact) {
  save_step(1, Tensors({{"v", 'a'}}));
  save_step(2, Tensors({{"v", 'b'}, {"w", 'b'}}));
  damage("step-2.a2");
  in_session([&](Session& session) {
    const auto loaded = load_new(session, {}, {.reading = {.window_bytes = 64 << 10}});
    ASSERT_TRUE(loaded) << to_string(loaded.error());
    EXPECT_EQ(loaded->loaded.directory, "step-1.a1");
    EXPECT_EQ(loaded->made.state.entries().size(), 1u);
    EXPECT_LE(session.staging()->peak_bytes(), std::uint64_t{128} << 20);
  });
}

/// Fills memory of its own, item by item, as planners written for PyTorch do.
class WholeItems : public DefaultLoadPlanner {
 public:
  bool takes_parts() const override { return false; }
  Status load_tensor(const ReadItem& item, const std::vector<Part>& parts, std::shared_ptr<const void> owner) override {
    return LoadPlanner::load_tensor(item, parts, std::move(owner));
  }
};

TEST_F(LoadModes, APlannerThatTakesWholeItemsCannotBeStreamedTo) {
  save_step(1, Tensors({{"w", 'a'}}));
  Tensors tensors({{"w", '.'}});
  EXPECT_EQ(load_into(tensors, {.reading = streamed, .planner = std::make_shared<WholeItems>()}),
            "plan failed: rank 0: plan load: LoadMode::streamed, with a planner that takes whole items only (invalid_argument)");
  EXPECT_EQ(load_into(tensors, {.reading = {.window_bytes = 64 << 10}, .planner = std::make_shared<WholeItems>()}), "step-1.a1");
  EXPECT_TRUE(tensors.holds("w", 'a'));
}

TEST_F(LoadModes, OneWindowIsHeldWhateverTheBudget) {
  save_step(1, Tensors({{"w", 'a'}}));
  Tensors tensors({{"w", '.'}});
  EXPECT_EQ(load_into(tensors, {.reading = {.mode = LoadMode::streamed, .staging_budget_bytes = 4096}}), "step-1.a1");
  EXPECT_TRUE(tensors.holds("w", 'a'));
}

}  // namespace
}  // namespace holdfast::protocol

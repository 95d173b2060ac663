// A preflight passes where all is well, and finds each thing that is not, by its step.
#include "properties/preflight/preflight.h"

#include <gtest/gtest.h>

#include "impl/backend/decorators/faulty_storage.h"
#include "properties/worlds/sim_world.h"

namespace holdfast::properties {
namespace {

constexpr PreflightSize small{10'000, 1'000'000, 100'000, 50'000};

/// Runs ranks of the simulator with some of their doors exchanged.
class Exchanged : public World {
 public:
  using Wrap = std::function<Bytes(const port::Env&, Rank, const RankMain&)>;
  explicit Exchanged(Wrap wrap) : wrap_(std::move(wrap)) {}
  std::string_view name() const override { return "exchanged"; }
  void reset() override { inner_.reset(); }
  WorldRun run(int world_size, std::uint64_t seed, const RankMain& rank_main) override {
    return inner_.run(world_size, seed, [&](const port::Env& env, Rank rank) { return wrap_(env, rank, rank_main); });
  }

 private:
  SimWorld inner_;
  Wrap wrap_;
};

template <typename Storage>
Exchanged with_storage() {
  return Exchanged([](const port::Env& env, Rank rank, const RankMain& rank_main) {
    Storage storage(env.storage, rank);
    return rank_main({env.net, env.data, storage, env.device, env.clock, env.tasks}, rank);
  });
}

std::string last_of(World& world) {
  const std::vector<PreflightRow> rows = preflight(world, 3, small);
  const PreflightRow& last = rows.back();
  return fmt::format("{} {}: {}", last.passed ? "ok" : "FAIL", last.step, last.found);
}

TEST(Preflight, PassesInTheSimulatorAndLeavesNothing) {
  SimWorld world;
  for (int ranks = 1; ranks <= 4; ++ranks) {
    for (const PreflightRow& row : preflight(world, ranks, small)) EXPECT_TRUE(row.passed) << row.step << ": " << row.found;
    std::size_t left = 1;
    world.run(1, 0, [&](const port::Env& env, Rank) {
      const auto entries = env.storage.list("", env.clock.after(std::chrono::seconds(1)));
      left = entries ? entries->size() : 99;
      return Bytes();
    });
    EXPECT_EQ(left, 0u);
  }
}

/// Two may give the same name, and both are told that they did.
struct LooseLinks : backend::FaultyStorage {
  LooseLinks(port::Storage& inner, Rank) : FaultyStorage(inner) {}
  Status link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) override {
    const Status linked = FaultyStorage::link_if_absent(from, to, deadline);
    if (!linked && linked.error().code == ErrorCode::already_exists) return {};
    return linked;
  }
};

TEST(Preflight, FindsLinksThatAreNotExclusive) {
  Exchanged world = with_storage<LooseLinks>();
  const std::string found = last_of(world);
  EXPECT_TRUE(found.starts_with(
      "FAIL link: rank 0: 3 ranks at once gave one file the name \"preflight/winner-0\": 3 were told that they had; expected 1"))
      << found;
}

/// Each rank has files of its own.
struct NotShared : backend::FaultyStorage {
  NotShared(port::Storage& inner, Rank rank) : FaultyStorage(inner), other_(rank == Rank{1} ? "seen-0" : "no such file") {}
  Result<port::FileId> open(std::string_view path, port::Deadline deadline) override {
    if (path.ends_with(other_)) return fail(ErrorCode::not_found, "open \"{}\": not found", path);
    return FaultyStorage::open(path, deadline);
  }
  std::string_view other_;
};

TEST(Preflight, FindsStorageThatIsNotShared) {
  Exchanged world = with_storage<NotShared>();
  const std::string found = last_of(world);
  EXPECT_TRUE(found.starts_with("FAIL storage, seen by all: ")) << found;
  EXPECT_NE(found.find("rank 1: \"preflight/seen-0\", which another rank has written and synced, is not there after 30"), std::string::npos)
      << found;
}

/// A rename that keeps the old name.
struct RenameCopies : backend::FaultyStorage {
  RenameCopies(port::Storage& inner, Rank) : FaultyStorage(inner) {}
  Status rename(std::string_view from, std::string_view to, port::Deadline deadline) override {
    TRY(FaultyStorage::remove(to, deadline));
    return FaultyStorage::link_if_absent(from, to, deadline);
  }
};

TEST(Preflight, FindsARenameThatLeavesTheOldName) {
  Exchanged world = with_storage<RenameCopies>();
  const std::string found = last_of(world);
  EXPECT_TRUE(found.starts_with("FAIL rename: ")) << found;
  EXPECT_NE(found.find("\"preflight/fresh-1\" is still there after its rename"), std::string::npos) << found;
}

/// Turns a bit of what it has received.
class Flipping : public port::DataPlane {
 public:
  explicit Flipping(port::DataPlane& inner) : inner_(inner) {}
  Status exchange(std::string_view name, std::uint64_t sequence, std::span<const port::Transfer> sends,
                  std::span<const port::Transfer> receives, port::Deadline deadline) override {
    const Status done = inner_.exchange(name, sequence, sends, receives, deadline);
    if (!receives.empty()) receives.back().bytes[7] ^= std::byte{1};
    return done;
  }
  void abort() override { inner_.abort(); }

 private:
  port::DataPlane& inner_;
};

TEST(Preflight, FindsADataPlaneThatChangesABit) {
  Exchanged world([](const port::Env& env, Rank rank, const RankMain& rank_main) {
    Flipping data(env.data);
    return rank_main({env.net, data, env.storage, env.device, env.clock, env.tasks}, rank);
  });
  const std::string found = last_of(world);
  EXPECT_TRUE(found.starts_with("FAIL data plane, all pairs: rank 0: what rank 2 sent: byte 7 of 10000 is ")) << found;
}

TEST(Preflight, NamesARankThatIsNotThere) {
  Exchanged world(
      [](const port::Env& env, Rank rank, const RankMain& rank_main) { return rank == Rank{1} ? Bytes() : rank_main(env, rank); });
  const std::string found = last_of(world);
  EXPECT_TRUE(found.starts_with("FAIL ranks: rank 0: ")) << found;
  EXPECT_NE(found.find("rank 1: was not there"), std::string::npos) << found;
}

}  // namespace
}  // namespace holdfast::properties

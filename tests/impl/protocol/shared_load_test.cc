// Ranks that share what they read: what each reads, and what is refused. The exact words.
#include "impl/protocol/shared_load.h"

#include <gtest/gtest.h>

#include "impl/protocol/default_planner.h"
#include "impl/protocol/load.h"
#include "impl/protocol/save.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

constexpr std::int64_t size = 300000;
constexpr std::uint32_t block = 4096;

/// One tensor that every rank holds whole.
struct Whole {
  Bytes memory;
  StateDict state;
  explicit Whole(char fill) : memory(size, static_cast<std::byte>(fill)) {
    EXPECT_TRUE(state.add("w", memory.data(), DType::u8, {size}, ReplicatedLayout{}, Rank{0}));
  }
  Whole(const Whole&) = delete;
  Whole& operator=(const Whole&) = delete;
  ~Whole() = default;
};

class SharedLoads : public testing::Test {
 protected:
  SharedLoads() {
    run(1, [](Session& session, Rank) {
      const Whole tensor('a');
      EXPECT_TRUE(save(session, tensor.state, {.step = Step{1}, .block_bytes = block}));
      return std::string();
    });
  }

  std::vector<std::string> run(int ranks, const std::function<std::string(Session&, Rank)>& body) {
    const properties::WorldRun run = world_->run(ranks, 0, [&](const port::Env& env, Rank rank) {
      Session session(env);
      return to_bytes(as_bytes(body(session, rank)));
    });
    EXPECT_EQ(run.problems, std::vector<std::string>());
    std::vector<std::string> results;
    for (const Bytes& result : run.results) results.emplace_back(as_text(result));
    return results;
  }

  /// What a rank says that was given this part of a plan.
  static std::string tried(Session& session, const plan::SharedReads& part) {
    Whole tensor('.');
    const Role role{session.comm().rank(), session.comm().world_size(), false, session.env().clock.after(std::chrono::seconds(10)), {}};
    SegmentReader reader(session.env(), session.staging(), "step-1.a1");
    const auto planner = std::make_shared<DefaultLoadPlanner>();
    const Metadata metadata = reader.read_metadata(role).value();
    EXPECT_TRUE(planner->set_up_planner(tensor.state, metadata, false));
    reader.take_part(session, {part, 1});
    const Status read = reader.read_data(planner->create_local_plan().value(), planner).value().get(role.work);
    if (!read) return fmt::format("{}", read.error());
    const Result<FailureMap> exchanged = reader.exchange(*planner, role.work);
    return exchanged ? to_string(*exchanged) : fmt::format("{}", exchanged.error());
  }

 private:
  std::unique_ptr<properties::World> world_ = *properties::ThreadsWorld::make();
};

/// Rank 0 reads so many blocks of the tensor for both.
plan::SharedReads first_blocks(std::uint64_t blocks) {
  plan::SharedReads part;
  part.chunks = {{"w", Dims{0}, {}}};
  part.groups = {{Rank{0}, Rank{1}}};
  part.reads = {{0, {0, blocks}, 0, Rank{0}, 0}};
  part.steps = 1;
  return part;
}

TEST_F(SharedLoads, TwoReplicasReadHalfEach) {
  const auto results = run(2, [](Session& session, Rank) {
    Whole tensor('.');
    const auto loaded = load(session, tensor.state, {.share_reads = true});
    if (!loaded) return to_string(loaded.error());
    const bool whole = std::ranges::all_of(tensor.memory, [](std::byte byte) { return byte == std::byte{'a'}; });
    return fmt::format("{}: {} of {}", whole ? "whole" : "not whole", loaded->volume.bytes_read, loaded->volume.bytes_needed);
  });
  EXPECT_EQ(results, (std::vector<std::string>{"whole: 151552 of 300000", "whole: 148448 of 300000"}));
}

TEST_F(SharedLoads, RanksMustAgreeOnIt) {
  const auto results = run(2, [](Session& session, Rank rank) {
    Whole tensor('.');
    const auto loaded = load(session, tensor.state, {.share_reads = rank.value == 0});
    return loaded ? "loaded" : to_string(loaded.error());
  });
  const std::string refused =
      "read failed: rank 1: plan load: LoadOptions::share_reads is false here, and true on the coordinator (invalid_argument)";
  EXPECT_EQ(results, (std::vector<std::string>{refused, refused}));
}

TEST_F(SharedLoads, APlannerOfTheCallersOwnReadsForItself) {
  const auto results = run(2, [](Session& session, Rank) {
    Whole tensor('.');
    const auto loaded = load(session, tensor.state, {.share_reads = true, .planner = std::make_shared<DefaultLoadPlanner>()});
    return loaded ? fmt::format("{}", loaded->volume.bytes_read) : to_string(loaded.error());
  });
  EXPECT_EQ(results, (std::vector<std::string>{"300000", "300000"}));
}

TEST_F(SharedLoads, APlanThatDoesNotFitIsRefused) {
  const auto told = [&](const plan::SharedReads& part) {
    return run(1, [&](Session& session, Rank) { return tried(session, part); }).front();
  };
  EXPECT_EQ(told(first_blocks(75)), "load: the plan shares blocks 0 to 75 of w@[0], which has 74 of 4096 bytes (corrupt)");
  plan::SharedReads part = first_blocks(74);
  part.chunks[0].fqn = "v";
  EXPECT_EQ(told(part), "load: the plan shares reads of v@[0], of which this rank wants nothing (corrupt)");
  part = first_blocks(74);
  part.groups[0] = {Rank{1}, Rank{2}};
  EXPECT_EQ(told(part), "load: the plan gives rank 0 reads of ranks 1,2 (corrupt)");
}

/// Plans of which one rank's does not go with the other's: the data plane compares sizes before it moves a byte.
TEST_F(SharedLoads, RanksThatExpectOtherSizesAreRefused) {
  const auto results = run(2, [](Session& session, Rank rank) { return tried(session, first_blocks(rank.value == 0 ? 9 : 8)); });
  const std::string refused =
      "exchange \"transfer 1\" #1: send 0 from rank 0 to rank 1 has 36864 bytes, its receive has 32768 (invalid_argument)";
  EXPECT_EQ(results, (std::vector<std::string>{"rank 0: " + refused, "rank 1: " + refused}));
}

}  // namespace
}  // namespace holdfast::protocol

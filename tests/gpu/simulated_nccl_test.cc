// The simulated NCCL itself, called as NCCL is called, and what needs a function of NCCL replaced.
#include "impl/backend/nccl/table.h"
#include "tests/sim/cuda/nccl_ranks.h"

namespace holdfast::testing_cuda {
namespace {

using namespace std::chrono_literals;
using port::Transfer;
using sim::must;

/// Two ranks of one process, each a context of its own: no fibres.
struct Pair {
  struct Side {
    sim::cuda::Context context;
    ncclComm_t communicator = nullptr;
    cudaStream_t stream = nullptr;
    char* memory = nullptr;
  };

  explicit Pair(std::uint64_t seed, sim::cuda::Pace pace = sim::cuda::Pace::any) {
    sim::cuda::reset(seed, pace);
    sim::cuda::set_device_count(2);
    ncclUniqueId id;
    nccl->get_unique_id(&id);
    for (int rank = 0; rank < 2; ++rank) {
      in(rank, [&](Side& side) {
        EXPECT_EQ(cudaSetDevice(rank), cudaSuccess);
        EXPECT_EQ(cudaStreamCreateWithFlags(&side.stream, cudaStreamNonBlocking), cudaSuccess);
        EXPECT_EQ(cudaMalloc(reinterpret_cast<void**>(&side.memory), 64), cudaSuccess);
        EXPECT_EQ(nccl->comm_init_rank_config(&side.communicator, 2, id, rank, &config), ncclInProgress);
      });
    }
  }
  ~Pair() { sim::cuda::switch_context(nullptr); }

  template <typename Body>
  void in(int rank, Body body) {
    Side& side = sides[rank];
    sim::cuda::switch_context(&side.context);
    body(side);
  }
  void settle() {
    for (int rank = 0; rank < 2; ++rank) {
      in(rank, [&](Side& side) {
        ncclResult_t state = ncclInProgress;
        for (int i = 0; i < 20 && state == ncclInProgress; ++i) nccl->comm_get_async_error(side.communicator, &state);
        EXPECT_EQ(state, ncclSuccess);
      });
    }
  }
  std::string findings() { return fmt::format("{}", fmt::join(sim::cuda::findings(), "\n")); }

  std::shared_ptr<const backend::NcclTable> nccl = sim::cuda::simulated_nccl();
  ncclConfig_t config = [] {
    ncclConfig_t initial = NCCL_CONFIG_INITIALIZER;
    initial.blocking = 0;
    return initial;
  }();
  Side sides[2];
};

TEST(SimulatedNccl, MovesBytesOnlyWhenBothSidesHavePosted) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Pair pair(seed);
    pair.settle();
    pair.in(0, [&](Pair::Side& side) {
      EXPECT_EQ(cudaMemsetAsync(side.memory, 7, 64, side.stream), cudaSuccess);
      const ncclResult_t sent = pair.nccl->send(side.memory, 64, ncclInt8, 1, side.communicator, side.stream);
      EXPECT_TRUE(sent == ncclSuccess || sent == ncclInProgress);
    });
    char out[64] = {};
    pair.in(1, [&](Pair::Side& side) {
      const ncclResult_t received = pair.nccl->receive(side.memory, 64, ncclInt8, 0, side.communicator, side.stream);
      EXPECT_TRUE(received == ncclSuccess || received == ncclInProgress);
    });
    pair.settle();
    pair.in(1, [&](Pair::Side& side) {
      EXPECT_EQ(cudaMemcpyAsync(out, side.memory, 64, cudaMemcpyDeviceToHost, side.stream), cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(side.stream), cudaSuccess);
    });
    EXPECT_EQ(out[0], 7);
    EXPECT_EQ(out[63], 7);
    EXPECT_EQ(pair.findings(), "") << "seed " << seed;
  }
}

TEST(SimulatedNccl, FindsSizesThatDoNotMeet) {
  Pair pair(1);
  pair.settle();
  pair.in(0, [&](Pair::Side& side) { pair.nccl->send(side.memory, 64, ncclInt8, 1, side.communicator, side.stream); });
  pair.in(1, [&](Pair::Side& side) { pair.nccl->receive(side.memory, 60, ncclInt8, 0, side.communicator, side.stream); });
  pair.settle();
  pair.in(1, [&](Pair::Side& side) { EXPECT_EQ(cudaStreamSynchronize(side.stream), cudaSuccess); });
  EXPECT_EQ(pair.findings(), "NCCL: a send of 64 bytes from rank 0 meets a receive of 60 bytes on rank 1");
}

TEST(SimulatedNccl, FindsUseBeforeACommunicatorIsReady) {
  Pair pair(1);
  sim::cuda::hold_communicators();
  pair.in(0, [&](Pair::Side& side) {
    EXPECT_EQ(pair.nccl->send(side.memory, 64, ncclInt8, 1, side.communicator, side.stream), ncclInvalidUsage);
  });
  EXPECT_EQ(pair.findings(), "ncclSend: communicator 2, rank 0 of 2 is not ready");
}

TEST(SimulatedNccl, FindsUseAfterAbort) {
  Pair pair(1);
  pair.settle();
  pair.in(0, [&](Pair::Side& side) {
    EXPECT_EQ(pair.nccl->comm_abort(side.communicator), ncclSuccess);
    EXPECT_EQ(pair.nccl->send(side.memory, 64, ncclInt8, 1, side.communicator, side.stream), ncclInvalidArgument);
    EXPECT_EQ(pair.nccl->comm_abort(side.communicator), ncclInvalidArgument);
  });
  EXPECT_EQ(pair.findings(), "ncclSend: the communicator is aborted\nncclCommAbort: the communicator is aborted");
}

TEST(SimulatedNccl, FindsTheStreamOfAnotherDevice) {
  Pair pair(1);
  pair.settle();
  pair.in(0, [&](Pair::Side& side) {
    EXPECT_EQ(pair.nccl->send(side.memory, 64, ncclInt8, 1, side.communicator, pair.sides[1].stream), ncclInvalidUsage);
  });
  EXPECT_EQ(pair.findings(), "ncclSend: the stream is of device 1, the communicator of 0");
}

TEST(SimulatedNccl, FindsACommunicatorThatIsLeftAndAGroupThatIsNotEnded) {
  Pair pair(1);
  pair.in(0, [&](Pair::Side&) { pair.nccl->group_start(); });
  const std::vector<std::string> report = sim::cuda::report();
  EXPECT_TRUE(std::ranges::find(report, "leak: NCCL communicator 2, rank 0 of 2") != report.end());
  EXPECT_TRUE(std::ranges::find(report, "a group of NCCL was not ended") != report.end());
}

TEST(SimulatedNccl, WorkOfAnAbortedCommunicatorEndsLaterAndLeavesGarbage) {
  Pair pair(1, sim::cuda::Pace::lazy);
  pair.settle();
  pair.in(0, [&](Pair::Side& side) {
    pair.nccl->receive(side.memory, 64, ncclInt8, 1, side.communicator, side.stream);
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) pair.nccl->comm_get_async_error(side.communicator, &state);
    EXPECT_EQ(sim::cuda::live().queued_operations, 2u);
    EXPECT_EQ(pair.nccl->comm_abort(side.communicator), ncclSuccess);
    EXPECT_EQ(sim::cuda::live().queued_operations, 2u) << "an abort does not wait";
    char out[64] = {};
    EXPECT_EQ(cudaMemcpyAsync(out, side.memory, 64, cudaMemcpyDeviceToHost, side.stream), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(side.stream), cudaSuccess);
    EXPECT_EQ(out[0], static_cast<char>(0xDA));
  });
  EXPECT_EQ(pair.findings(), "");
}

/// Functions of NCCL are plain pointers: what the one that is replaced needs lies here.
struct SlowAbort {
  port::Clock* clock = nullptr;
  std::shared_ptr<const backend::NcclTable> table;
};
SlowAbort* slow_abort = nullptr;

ncclResult_t abort_slowly(ncclComm_t communicator) {
  SlowAbort& with = *slow_abort;
  with.clock->sleep_until(with.clock->now() + 100s);
  return with.table->comm_abort(communicator);
}

TEST(NcclDataPlane, AnAbortThatDoesNotReturnIsUnfinishedWork) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    sim::cuda::reset(seed);
    sim::cuda::Context context;
    sim::Disk disk;
    SlowAbort with;
    slow_abort = &with;
    const sim::Trace trace = sim::run({.name = "slow abort", .seed = seed}, disk, [&](const port::Env& env, Rank) {
      const auto doors = must(properties::RankDoors::open(env, 0, 1, context));
      const port::Env in_context = doors->env();
      with = {&env.clock, sim::cuda::simulated_nccl()};
      auto table = std::make_shared<backend::NcclTable>(*with.table);
      table->comm_abort = abort_slowly;
      const auto unfinished = std::make_shared<port::Unfinished>(env.tasks.make_monitor());
      const auto plane = must(backend::make_nccl_data_plane(table, 0, {env.net, env.clock, env.tasks, unfinished}));
      const OnDevice from(in_context, Bytes(100, std::byte{7})), to(in_context, Bytes(100));
      const Transfer send = from.with(Rank{0}), receive = to.with(Rank{0});
      sim::cuda::switch_context(&context);  // the plane's own calls are this rank's, the only one
      must(plane->exchange("self", 1, {&send, 1}, {&receive, 1}, env.clock.after(8s)));
      expect(to.read() == Bytes(100, std::byte{7}) && unfinished->empty(), {});
      sim::cuda::break_communicator(0, ncclInternalError, context);
      const Status done = plane->exchange("self", 2, {&send, 1}, {&receive, 1}, env.clock.after(8s));
      expect(
          !done && done.error() == error(ErrorCode::io_error,
                                         "exchange \"self\" #2: a communicator on device 0: internal error (injected); and the memory is "
                                         "still in use: ncclCommAbort has not returned"),
          done);
      expect(!unfinished->await(env.clock.after(10s)), {});
      expect(unfinished->await(env.clock.after(200s)), {});
      must(plane->exchange("self", 3, {&send, 1}, {&receive, 1}, env.clock.after(8s)));
      const Status closed = plane->close(env.clock.after(1s));
      expect(!closed && closed.error() == error(ErrorCode::timeout, "ncclCommAbort has not returned"), closed);
      expect(unfinished->await(env.clock.after(200s)), {});
      sim::cuda::switch_context(nullptr);
      must(doors->close(env.clock.after(1s)));
    });
    sim::cuda::switch_context(nullptr);
    ASSERT_EQ(trace.ends.at(0).how, sim::RankEnd::returned) << "seed " << seed << ": " << trace.ends.at(0).what;
    EXPECT_EQ(fmt::format("{}", fmt::join(sim::cuda::report(), "\n")), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace holdfast::testing_cuda

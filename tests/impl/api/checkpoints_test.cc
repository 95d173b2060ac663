#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "impl/api/holdfast.h"
#include "impl/backend/decorators/faulty_storage.h"
#include "impl/backend/host/device.h"
#include "impl/backend/posix/posix_storage.h"
#include "tests/impl/backend/temporary_directory.h"

namespace holdfast {
namespace {

/// Rows of a 6 x 2 tensor, cut over the ranks, and a value on each.
struct Trainer {
  std::vector<std::uint8_t> rows;
  StateDict state;

  Trainer(Rank rank, int ranks, std::uint8_t first) {
    ChunkLayout layout{0, {}};
    for (Rank placed{0}; placed.value < ranks; ++placed.value) layout.placements.push_back(placed);
    const ChunkSplit split = chunk_split(6, ranks);
    for (std::int64_t i = 0; i < 2 * split.size(rank.value); ++i)
      rows.push_back(static_cast<std::uint8_t>(first + 2 * split.begin(rank.value) + i));
    EXPECT_TRUE(state.add("rows", reinterpret_cast<std::byte*>(rows.data()), DType::u8, {6, 2}, layout, rank));
    EXPECT_TRUE(state.add_bytes("trainer", Bytes{std::byte{first}}));
  }
};

TEST(Checkpoints, SaveOnThreeRanksAndLoadAlone) {
  const test::TemporaryDirectory directory;
  const std::string folder = directory.path() + "/runs/gpt";
  for (const Status& result : run_local_job(3, [&](Job& job) -> Status {
         auto checkpoints = TRY(Checkpoints::open(job, folder));
         const Trainer trainer(job.rank(), job.world_size(), 10);
         const auto saved = checkpoints->save(trainer.state, {.step = Step{4}});
         if (!saved) return fail(to_error(saved.error()));
         return job.close(job.clock().after(std::chrono::seconds(5)));
       })) {
    EXPECT_TRUE(result) << result.error().message;
  }
  const auto job = Job::alone();
  auto checkpoints = *Checkpoints::open(*job, folder);
  EXPECT_EQ(checkpoints->latest(), "step-4.a1");
  EXPECT_TRUE(checkpoints->verify_all()->findings.empty());
  EXPECT_EQ(checkpoints->verify("step-4.a1")->tensors, 1u);
  EXPECT_EQ(checkpoints->manifest("step-4.a1")->world_size, 3);
  Trainer trainer(Rank{0}, 1, 90);
  const auto loaded = checkpoints->load(trainer.state);
  ASSERT_TRUE(loaded) << to_string(loaded.error());
  EXPECT_EQ(trainer.rows, Trainer(Rank{0}, 1, 10).rows);
  EXPECT_EQ(std::get<BytesEntry>(*trainer.state.find("trainer")).value, Bytes{std::byte{10}});
}

TEST(Checkpoints, LoadWithoutATemplate) {
  const test::TemporaryDirectory directory;
  const auto job = Job::alone();
  auto checkpoints = *Checkpoints::open(*job, directory.path());
  Trainer trainer(Rank{0}, 1, 10);
  ASSERT_TRUE(checkpoints->save(trainer.state, {.step = Step{1}, .replicas = Replicas::refuse}));
  const auto loaded = checkpoints->load_new();
  ASSERT_TRUE(loaded) << to_string(loaded.error());
  EXPECT_EQ(loaded->loaded.directory, "step-1.a1");
  EXPECT_FALSE(loaded->made.structure);
  const auto& rows = std::get<TensorEntry>(*loaded->made.state.find("rows"));
  EXPECT_EQ(rows.shape, (Dims{6, 2}));
  EXPECT_EQ(std::memcmp(rows.shards.at(0).memory.data, trainer.rows.data(), 12), 0);
  EXPECT_EQ(std::get<BytesEntry>(*loaded->made.state.find("trainer")).value, Bytes{std::byte{10}});
}

TEST(Checkpoints, TransferFromThreeRanksToTwoOfThem) {
  const test::TemporaryDirectory directory;
  for (const Status& result : run_local_job(3, [&](Job& job) -> Status {
         auto checkpoints = TRY(Checkpoints::open(job, directory.path()));
         const Trainer trainer(job.rank(), job.world_size(), 10);
         std::vector<std::uint8_t> served(12);
         StateDict server;
         if (job.rank() != Rank{1})
           TRY(server.add("rows", reinterpret_cast<std::byte*>(served.data()), DType::u8, {6, 2}, ReplicatedLayout{}, job.rank()));
         const auto done = checkpoints->transfer(trainer.state, server);
         if (!done) return fail(to_error(done.error()));
         for (std::size_t i = 0; job.rank() != Rank{1} && i < served.size(); ++i) EXPECT_EQ(served[i], 10 + i);
         EXPECT_EQ(done->received_bytes, job.rank() == Rank{1} ? 0u : 8u);
         return job.close(job.clock().after(std::chrono::seconds(5)));
       })) {
    EXPECT_TRUE(result) << result.error().message;
  }
}

TEST(Checkpoints, OnADeviceOfTheCallersOwnComeAfterTheTrainersStream) {
  const test::TemporaryDirectory directory;
  const auto job = Job::alone();
  auto lazy = std::make_unique<backend::HostDevice>(backend::HostDeviceOptions{.streams = backend::StreamMode::lazy});
  port::Device& device = *lazy;
  job->use_device(std::move(lazy));
  auto checkpoints = *Checkpoints::open(*job, directory.path());
  Trainer trainer(Rank{0}, 1, 0);
  const auto rows = packed_block(reinterpret_cast<std::byte*>(trainer.rows.data()), {12}, 1);
  const auto give = [&](std::uint8_t first, port::StreamId stream) {
    const Trainer given(Rank{0}, 1, first);
    const auto values = std::make_shared<Bytes>(to_bytes(std::as_bytes(std::span(given.rows))));
    return device.copy_in(*values, values, rows, stream);
  };
  const port::StreamId stream = device.create_stream().value();
  ASSERT_TRUE(give(10, stream));
  EXPECT_EQ(trainer.rows, Trainer(Rank{0}, 1, 0).rows) << "the trainer's stream is behind";
  ASSERT_TRUE(checkpoints->save(trainer.state, {.step = Step{1}, .after = stream}));
  ASSERT_TRUE(give(20, stream));
  auto pending = checkpoints->async_save(trainer.state, {.step = Step{2}, .after = stream});
  ASSERT_TRUE(pending);
  ASSERT_TRUE(give(30, stream));
  EXPECT_TRUE(pending->wait(job->clock().after(std::chrono::seconds(60))).value());
  for (const auto& [directory_name, first] : {std::pair("step-1.a1", 10), std::pair("step-2.a2", 20)}) {
    const auto loaded = checkpoints->load(trainer.state, {.directory = directory_name, .after = stream});
    ASSERT_TRUE(loaded) << to_string(loaded.error());
    EXPECT_EQ(trainer.rows, Trainer(Rank{0}, 1, static_cast<std::uint8_t>(first)).rows);
  }
  device.destroy_stream(stream);
  const auto refused = checkpoints->save(trainer.state, {.step = Step{3}, .after = stream});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().step, "plan");
  EXPECT_EQ(to_error(refused.error()).code, ErrorCode::invalid_argument);
  EXPECT_NE(to_string(refused.error())
                .find(fmt::format("come after the work on the trainer's stream: record an event: stream {} is not open", stream.value)),
            std::string::npos)
      << to_string(refused.error());
}

TEST(Checkpoints, TellNoneFromNoneIntact) {
  const test::TemporaryDirectory directory;
  const auto job = Job::alone();
  auto checkpoints = *Checkpoints::open(*job, directory.path());
  Trainer trainer(Rank{0}, 1, 1);
  EXPECT_EQ(checkpoints->latest().error().code, ErrorCode::not_found);
  EXPECT_EQ(to_error(checkpoints->load(trainer.state).error()).code, ErrorCode::not_found);
  EXPECT_EQ(checkpoints->verify_all().error().code, ErrorCode::not_found);
  ASSERT_TRUE(checkpoints->save(trainer.state, {.step = Step{1}}));
  std::ofstream(directory.path() + "/step-1.a1/MANIFEST", std::ios::trunc) << "no manifest";
  EXPECT_EQ(checkpoints->latest().error().code, ErrorCode::corrupt);
  EXPECT_EQ(to_error(checkpoints->load(trainer.state).error()).code, ErrorCode::corrupt);
  EXPECT_EQ(checkpoints->verify_all()->findings.size(), 1u);
}

TEST(Checkpoints, RecoverClearsAwayWhatACrashLeft) {
  const test::TemporaryDirectory directory;
  const auto job = Job::alone();
  auto checkpoints = *Checkpoints::open(*job, directory.path());
  ASSERT_TRUE(checkpoints->save(Trainer(Rank{0}, 1, 1).state, {.step = Step{1}}));
  for (const char* attempt : {"/step-2.a2", "/step-2.a3"}) {
    std::filesystem::create_directory(directory.path() + attempt);
    std::ofstream(directory.path() + attempt + "/segment-00000-000.safetensors") << "half";
  }
  EXPECT_EQ(checkpoints->list()->uncommitted.size(), 2u);
  const auto recovered = checkpoints->recover();
  ASSERT_TRUE(recovered);
  EXPECT_EQ(recovered->newest, "step-1.a1");
  EXPECT_EQ(recovered->swept, (std::vector<std::string>{"step-2.a3", "step-2.a2"}));
  // Their names stay taken, and their commit names, until the next commit.
  for (const char* attempt : {"/step-2.a2", "/step-2.a3"}) {
    EXPECT_FALSE(std::filesystem::exists(directory.path() + attempt + "/segment-00000-000.safetensors"));
    std::ifstream record(directory.path() + attempt + "/MANIFEST");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(record), {}), "holdfast: this attempt was given up\n");
  }
  EXPECT_EQ(checkpoints->list()->uncommitted.size(), 2u);
  EXPECT_TRUE(checkpoints->list()->damaged.empty());
  const auto next = checkpoints->save(Trainer(Rank{0}, 1, 1).state, {.step = Step{2}});
  ASSERT_TRUE(next);
  EXPECT_EQ(next->directory, "step-2.a4");
  EXPECT_TRUE(checkpoints->list()->uncommitted.empty());
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/step-2.a3"));
}

/// A folder of one checkpoint, and of a save that a crash ended.
struct Crashed {
  const test::TemporaryDirectory directory;
  std::unique_ptr<Job> job = Job::alone();
  std::unique_ptr<backend::PosixStorage> disk = *backend::PosixStorage::open_root(directory.path());
  std::shared_ptr<backend::FaultyStorage> storage = std::make_shared<backend::FaultyStorage>(*disk);
  Checkpoints checkpoints{*job, storage};
  const std::string half = directory.path() + "/step-2.a2/segment-00000-000.safetensors";

  Crashed() {
    Checkpoints before(*job, std::shared_ptr<port::Storage>(disk.get(), [](port::Storage*) {}));
    EXPECT_TRUE(before.save(Trainer(Rank{0}, 1, 1).state, {.step = Step{1}}));
    std::filesystem::create_directory(directory.path() + "/step-2.a2");
    std::ofstream(half) << "half";
  }

  void expect_swept() {
    const auto recovered = checkpoints.recover();
    ASSERT_TRUE(recovered) << to_string(recovered.error());
    EXPECT_EQ(recovered->swept, std::vector<std::string>{"step-2.a2"});
    EXPECT_FALSE(std::filesystem::exists(half));
    EXPECT_TRUE(checkpoints.list()->damaged.empty());
  }
};

TEST(Checkpoints, RecoverNeedsNoRoom) {
  Crashed folder;
  folder.storage->plant({backend::StorageOp::create, 1, error(ErrorCode::no_space, "no space left on device")});
  folder.expect_swept();
  EXPECT_EQ(folder.storage->fired(), 0u) << "nothing is created";
}

TEST(Checkpoints, RecoverWithoutTheMarkRemovesNothingOnAFullDisk) {
  Crashed folder;
  std::filesystem::remove(folder.directory.path() + "/given-up");
  folder.storage->plant({backend::StorageOp::create, 1, error(ErrorCode::no_space, "no space left on device")});
  const auto recovered = folder.checkpoints.recover();
  ASSERT_FALSE(recovered);
  EXPECT_EQ(to_error(recovered.error()).code, ErrorCode::no_space);
  EXPECT_TRUE(std::filesystem::exists(folder.half));
  folder.expect_swept();
}

TEST(Checkpoints, WhereFilesOfTwoFoldersCannotBeLinkedThereIsNoMark) {
  Crashed folder;
  const std::string mark = folder.directory.path() + "/given-up";
  folder.storage->plant({backend::StorageOp::link_if_absent, 1, error(ErrorCode::unsupported, "link: Invalid cross-device link")});
  folder.expect_swept();
  std::filesystem::remove(mark);
  folder.storage->plant({backend::StorageOp::link_if_absent, 3, error(ErrorCode::unsupported, "link: Invalid cross-device link")});
  EXPECT_TRUE(folder.checkpoints.save(Trainer(Rank{0}, 1, 1).state, {.step = Step{3}}));
  EXPECT_EQ(folder.storage->fired(), 2u);
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST(Checkpoints, ADamagedMarkIsFoundAndMadeAnew) {
  Crashed folder;
  std::ofstream(folder.directory.path() + "/given-up", std::ios::trunc) << "holdfast: this attempt was given in\n";
  const auto report = folder.checkpoints.verify_all();
  ASSERT_TRUE(report);
  ASSERT_EQ(report->findings.size(), 1u);
  EXPECT_EQ(report->findings[0].file, "given-up");
  folder.expect_swept();
  EXPECT_TRUE(folder.checkpoints.save(Trainer(Rank{0}, 1, 1).state, {.step = Step{3}}));
  EXPECT_TRUE(folder.checkpoints.verify_all()->findings.empty());
}

TEST(Checkpoints, WhatGaveACheckpointUpTooLateIsNoDamage) {
  Crashed folder;
  folder.expect_swept();
  std::ofstream(folder.directory.path() + "/step-1.a1/given-up.0") << "holdfast: this";
  EXPECT_TRUE(folder.checkpoints.verify_all()->findings.empty());
}

TEST(Checkpoints, TwoFoldersOfOneJobDoNotHearEachOther) {
  const test::TemporaryDirectory directory;
  const auto both = run_local_job(2, [&](Job& job) -> Status {
    for (std::int64_t round = 1; round <= 2; ++round) {
      auto fast = TRY(Checkpoints::open(job, directory.path() + "/fast"));
      auto archive = TRY(Checkpoints::open(job, directory.path() + "/archive"));
      for (Checkpoints* checkpoints : {fast.get(), archive.get(), fast.get()}) {
        const auto saved = checkpoints->save(Trainer(job.rank(), job.world_size(), 10).state, {.step = Step{round}});
        if (!saved) return fail(to_error(saved.error()));
        if (!checkpoints->unfinished().empty()) return fail(ErrorCode::aborted, "a save left something behind");
      }
    }
    return job.close(job.clock().after(std::chrono::seconds(5)));
  });
  for (const Status& result : both) EXPECT_TRUE(result) << result.error().message;
}

TEST(Checkpoints, RefuseAFileAsFolder) {
  const test::TemporaryDirectory directory;
  const std::string file = directory.path() + "/file";
  std::ofstream(file) << "x";
  const auto job = Job::alone();
  for (const std::string& path : {file, file + "/below"}) {
    const auto checkpoints = Checkpoints::open(*job, path);
    ASSERT_FALSE(checkpoints) << path;
    EXPECT_EQ(checkpoints.error().message, fmt::format("make the folder \"{}\": Not a directory", path));
  }
}

TEST(LocalJob, ARankThatThrowsIsAnErrorOfItsOwnAndLeavesTheOthersNoWait) {
  const test::TemporaryDirectory directory;
  const std::vector<Status> results = run_local_job(3, [&](Job& job) -> Status {
    if (job.rank() == Rank{1}) throw std::runtime_error("lost my mind");
    auto checkpoints = TRY(Checkpoints::open(job, directory.path()));
    const Trainer trainer(job.rank(), job.world_size(), 1);
    const auto saved = checkpoints->save(trainer.state, {.step = Step{1}, .deadline = std::chrono::hours(1)});
    if (!saved) return fail(to_error(saved.error()));
    return {};
  });
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1].error().message, "rank 1: lost my mind");
  EXPECT_EQ(results[0].error().code, ErrorCode::peer_lost);
  EXPECT_EQ(results[2].error(), results[0].error());
}

TEST(ToError, IsCorruptOnlyForDamageAlone) {
  const auto code = [](std::vector<ErrorCode> codes, std::vector<Rank> lost, Outcome outcome) {
    FailureMap failures;
    for (std::size_t rank = 0; rank < codes.size(); ++rank)
      failures.add(Rank{static_cast<std::int32_t>(rank)}, {codes[rank], fmt::format("{}", rank)});
    return to_error({"read", outcome, failures, std::move(lost)}).code;
  };
  EXPECT_EQ(code({ErrorCode::corrupt, ErrorCode::corrupt}, {}, Outcome::failed), ErrorCode::corrupt);
  EXPECT_EQ(code({ErrorCode::corrupt, ErrorCode::timeout}, {}, Outcome::failed), ErrorCode::io_error);
  EXPECT_EQ(code({ErrorCode::corrupt}, {Rank{1}}, Outcome::failed), ErrorCode::io_error);
  EXPECT_EQ(code({ErrorCode::no_space}, {}, Outcome::failed), ErrorCode::no_space);
  EXPECT_EQ(code({}, {Rank{1}}, Outcome::failed), ErrorCode::peer_lost);
  EXPECT_EQ(code({ErrorCode::io_error}, {}, Outcome::unknown), ErrorCode::unknown_outcome);
}

}  // namespace
}  // namespace holdfast

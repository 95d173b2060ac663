// The order of a save's durable steps, as types: who can make a proof, and that a step which failed gives none.
#include "impl/protocol/durable.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <type_traits>

#include "impl/protocol/commit.h"
#include "properties/workload/recording_storage.h"

namespace holdfast::protocol {
namespace {

using properties::RecordingStorage;
using Calls = std::vector<std::string>;

template <typename Proof, typename... Parts>
constexpr bool cannot_be_made_from =
    !std::is_default_constructible_v<Proof> && !std::is_copy_constructible_v<Proof> && !std::is_copy_assignable_v<Proof> &&
    !std::is_aggregate_v<Proof> && !std::is_constructible_v<Proof, Parts...> && std::is_move_constructible_v<Proof>;

static_assert(cannot_be_made_from<SyncedFile, std::string>);
static_assert(cannot_be_made_from<NewFile, port::Storage&, port::FileId, std::string>);
static_assert(cannot_be_made_from<DurablePart, std::string>);
static_assert(cannot_be_made_from<DurablePart, std::string, std::vector<std::string>>);
static_assert(cannot_be_made_from<DurablePart, std::string, std::vector<SyncedFile>>);
static_assert(cannot_be_made_from<CommitRecord, plan::Committed, SharedBytes, format::ManifestReader>);
static_assert(cannot_be_made_from<CommitRecord, SharedBytes>);
static_assert(cannot_be_made_from<Published, plan::Committed>);
static_assert(cannot_be_made_from<Published, CommitRecord>);

// A rank reports nothing without a proof.
template <typename... Arguments>
concept Encodes = requires(const Arguments&... arguments) { encode(arguments...); };
static_assert(Encodes<TensorPlace, DurablePart> && Encodes<format::BytesRecord, DurablePart>);
static_assert(!Encodes<TensorPlace> && !Encodes<format::BytesRecord>);
static_assert(!Encodes<TensorPlace, std::vector<SyncedFile>> && !Encodes<TensorPlace, std::string>);

// Nothing but what build_manifest made of all results is published, and once; nothing older goes without what publishing gave.
template <typename Record>
constexpr bool can_publish = std::is_invocable_v<decltype(publish), port::Storage&, Record, port::Deadline>;
static_assert(can_publish<CommitRecord>);
static_assert(!can_publish<const CommitRecord&> && !can_publish<SharedBytes> && !can_publish<format::Manifest>);
template <typename Proof>
constexpr bool can_retire = std::is_invocable_v<decltype(retire), port::Storage&, const Proof&, plan::RetentionPolicy,
                                                std::optional<plan::AttemptId>, port::Deadline> &&
                            std::is_invocable_v<decltype(point_hint_at), port::Storage&, const Proof&, port::Deadline>;
static_assert(can_retire<Published>);
static_assert(!can_retire<CommitRecord> && !can_retire<plan::Committed> && !can_retire<plan::AttemptId>);

const Error refused{ErrorCode::io_error, "the disk is gone"};

Result<SyncedFile> write(RecordingStorage& storage, const std::string& path) { return write_new_file(storage, path, {}, {}); }

/// What syncing `directory` gives for files of these paths.
Result<DurablePart> part_of(RecordingStorage& storage, const std::string& directory, const Calls& paths) {
  std::vector<SyncedFile> files;
  for (const std::string& path : paths) files.push_back(TRY(write(storage, path)));
  return DurablePart::sync_directory(storage, directory, std::move(files), {});
}

bool asked(const RecordingStorage& storage, const std::string& call) { return std::ranges::count(storage.calls(), call) != 0; }

TEST(SyncedFile, ComesAfterTheSyncAndTheClose) {
  RecordingStorage storage;
  const auto file = write(storage, "step-1.a1/x");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->path(), "step-1.a1/x");
  EXPECT_EQ(storage.calls(), (Calls{"create step-1.a1/x", "write step-1.a1/x", "sync step-1.a1/x", "close step-1.a1/x"}));
}

TEST(SyncedFile, IsNotGivenWhenAnyStepFails) {
  const Calls steps{"create x", "write x", "sync x", "close x"};
  for (std::size_t failing = 0; failing < steps.size(); ++failing) {
    RecordingStorage storage;
    storage.refuse(steps[failing], refused);
    const auto file = write(storage, "x");
    ASSERT_FALSE(file) << steps[failing];
    EXPECT_EQ(file.error(), refused);
    Calls expected(steps.begin(), steps.begin() + static_cast<std::ptrdiff_t>(failing) + 1);
    if (failing == 1 || failing == 2) expected.push_back("close x");
    EXPECT_EQ(storage.calls(), expected);
  }
}

TEST(NewFile, ThatGoesBeforeItIsSyncedIsClosed) {
  RecordingStorage storage;
  {
    const auto file = NewFile::create(storage, "x", {});
  }
  EXPECT_EQ(storage.calls(), (Calls{"create x", "close x"}));
}

TEST(DurablePart, ComesAfterOneSyncOfTheDirectoryAndNamesItsFiles) {
  RecordingStorage storage;
  const auto part = part_of(storage, "step-1.a1", {"step-1.a1/x", "step-1.a1/y"});
  ASSERT_TRUE(part);
  EXPECT_EQ(storage.calls().back(), "sync_directory step-1.a1");
  EXPECT_EQ(storage.calls().size(), 9u);
  EXPECT_TRUE(part->check_holds("x") && part->check_holds("y"));
  EXPECT_EQ(part->check_holds("z").error(),
            (Error{ErrorCode::invalid_argument, "report \"z\": it is none of the 2 files that are durable in \"step-1.a1\""}));
}

TEST(DurablePart, WithoutFilesNeedsNoSyncAndProvesNothing) {
  RecordingStorage storage;
  const auto part = part_of(storage, "step-1.a1", {});
  ASSERT_TRUE(part);
  EXPECT_EQ(storage.calls(), Calls());
  EXPECT_EQ(part->check_holds("x").error(),
            (Error{ErrorCode::invalid_argument, "report \"x\": it is none of the 0 files that are durable in \"step-1.a1\""}));
}

TEST(DurablePart, IsRefusedForAFileOfAnotherDirectory) {
  for (const std::string path : {"step-1.a2/x", "step-1.a1/values/x", "x", "step-1.a1"}) {
    RecordingStorage storage;
    const auto part = part_of(storage, "step-1.a1", {"step-1.a1/y", path});
    ASSERT_FALSE(part) << path;
    EXPECT_EQ(part.error(),
              (Error{ErrorCode::invalid_argument, fmt::format("sync directory \"step-1.a1\": it is not the one of \"{}\"", path)}));
    EXPECT_FALSE(asked(storage, "sync_directory step-1.a1"));
  }
}

TEST(DurablePart, IsNotGivenWhenTheDirectoryCannotBeSynced) {
  RecordingStorage storage;
  storage.refuse("sync_directory step-1.a1", refused);
  const auto part = part_of(storage, "step-1.a1", {"step-1.a1/x"});
  ASSERT_FALSE(part);
  EXPECT_EQ(part.error(), refused);
}

TEST(DurablePart, IsNeededOfTheVeryFileThatARankReports) {
  const Calls names{"segment-00003-000.safetensors", "bytes-00003-000.bin"};
  const DurablePart part = properties::durable_part("step-1.a1", names);
  const auto place = [](std::uint16_t number) { return TensorPlace{format::SegmentRecord{{Rank{3}, number}, 8192, 4096, {}}, {}}; };
  EXPECT_TRUE(encode(place(0), part));
  EXPECT_TRUE(encode(format::BytesRecord{Rank{3}, 0, 1, {}}, part));
  const auto refusal = [](std::string_view name) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("report \"{}\": it is none of the 2 files that are durable in \"step-1.a1\"", name)};
  };
  EXPECT_EQ(encode(place(1), part).error(), refusal("segment-00003-001.safetensors"));
  EXPECT_EQ(encode(format::BytesRecord{Rank{3}, 1, 1, {}}, part).error(), refusal("bytes-00003-001.bin"));
}

/// The commit record of a checkpoint that holds nothing.
CommitRecord empty_record() {
  auto record = build_manifest({{Step{7}, 2}, {"step-7.a2", 5, ""}, 1, 64}, {}, {{}});
  EXPECT_TRUE(record);
  return *std::move(record);
}

const Calls publishing{"remove step-7.a2/MANIFEST.tmp", "create step-7.a2/MANIFEST.tmp", "write step-7.a2/MANIFEST.tmp",
                       "sync step-7.a2/MANIFEST.tmp",   "close step-7.a2/MANIFEST.tmp",  "link step-7.a2/MANIFEST.tmp step-7.a2/MANIFEST",
                       "remove step-7.a2/MANIFEST.tmp", "sync_directory step-7.a2"};

TEST(Published, ComesAfterTheRecordIsSyncedLinkedAndItsDirectorySynced) {
  RecordingStorage storage;
  const auto published = publish(storage, empty_record(), {});
  ASSERT_TRUE(published);
  EXPECT_EQ(published->checkpoint(), (plan::Committed{{Step{7}, 2}, 5}));
  EXPECT_EQ(storage.calls(), publishing);
}

TEST(Published, IsNotGivenWhenTheRecordIsNotSynced) {
  RecordingStorage storage;
  storage.refuse(publishing[3], refused);
  const auto published = publish(storage, empty_record(), {});
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error(), refused);
  EXPECT_EQ(storage.calls(), Calls(publishing.begin(), publishing.begin() + 5));
}

TEST(Published, IsNotGivenWhenTheNameMayNotSurvive) {
  RecordingStorage storage;
  storage.refuse(publishing.back(), refused);
  const auto published = publish(storage, empty_record(), {});
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error(), (Error{ErrorCode::unknown_outcome,
                                      "publish \"step-7.a2/MANIFEST\": it is there, but may not survive a crash: the disk is gone"}));
}

TEST(Published, LetsTheHintNameTheNewCheckpoint) {
  RecordingStorage storage;
  const auto published = publish(storage, empty_record(), {});
  ASSERT_TRUE(published && point_hint_at(storage, *published, {}));
  EXPECT_EQ(Calls(storage.calls().end() - 2, storage.calls().end()), (Calls{"rename latest.tmp latest", "sync_directory "}));
}

}  // namespace
}  // namespace holdfast::protocol

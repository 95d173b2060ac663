// What a crash may leave, enumerated in small cases.
#include "sim/disk.h"

#include <gtest/gtest.h>

#include <set>

namespace holdfast::sim {
namespace {

using Model = PersistenceModel;
using States = std::set<std::string>;

constexpr Model models[] = {Model::strict, Model::ext4_ordered, Model::weak, Model::nfs, Model::object};

/// "a=text b=" for every file, in order of names.
std::string show(const Disk& disk) {
  std::string text;
  for (const std::string& path : disk.paths()) text += fmt::format("{}={} ", path, as_text(disk.read_file(path).value()));
  if (!text.empty()) text.pop_back();
  return text;
}

States states(const Disk& disk, Model model) {
  States shown;
  for (const Disk& state : disk.crash_states(model, 16)) {
    EXPECT_EQ(state.pending_operations(), 0u);
    shown.insert(show(state));
  }
  return shown;
}

Disk::Node write_new(Disk& disk, std::string_view path, std::string_view text) {
  const Disk::Node file = disk.create(path).value();
  disk.write(file, 0, as_bytes(text));
  return file;
}

TEST(Disk, KeepsASyncedFileWithASyncedNameInEveryModel) {
  Disk disk;
  disk.sync(write_new(disk, "a", "new"));
  ASSERT_TRUE(disk.sync_directory(""));
  for (const Model model : models) EXPECT_EQ(states(disk, model), States{"a=new"}) << to_string(model);
}

TEST(Disk, MayLoseTheNameOfASyncedFileWithoutADirectorySync) {
  Disk disk;
  disk.sync(write_new(disk, "a", "new"));
  EXPECT_EQ(states(disk, Model::weak), (States{"", "a=new"}));
  EXPECT_EQ(states(disk, Model::ext4_ordered), States{"a=new"});  // the sync committed the journal
  EXPECT_EQ(states(disk, Model::strict), States{"a=new"});
}

TEST(Disk, MayKeepTheNameOfAFileWhoseBytesAreLost) {
  Disk disk;
  write_new(disk, "a", "new");
  ASSERT_TRUE(disk.sync_directory(""));
  EXPECT_EQ(states(disk, Model::weak), (States{"a=", "a=new"}));
  EXPECT_EQ(states(disk, Model::ext4_ordered), (States{"a=", "a=new"}));
  EXPECT_EQ(states(disk, Model::strict), States{"a=new"});
}

/// Write A, sync, write B, rename B over A, no directory sync.
Disk replaced_without_directory_sync() {
  Disk disk;
  disk.write_file("A", as_bytes("old"));
  disk.sync(write_new(disk, "t", "a"));
  write_new(disk, "B", "new");
  EXPECT_TRUE(disk.rename("B", "A"));
  return disk;
}

TEST(Disk, EnumeratesExactlyTheLegalStatesOfAReplaceByRename) {
  const Disk disk = replaced_without_directory_sync();
  EXPECT_EQ(disk.pending_operations(), 4u);  // name t, name B, bytes of B, rename
  EXPECT_EQ(states(disk, Model::strict), (States{"A=old t=a", "A=old B= t=a", "A=old B=new t=a", "A=new t=a"}));
  // The journal holds the name t; the rename carries the bytes it publishes.
  EXPECT_EQ(states(disk, Model::ext4_ordered), (States{"A=old t=a", "A=old B= t=a", "A=old B=new t=a", "A=new t=a"}));
  EXPECT_EQ(states(disk, Model::weak), (States{"A=old", "A=old t=a", "A=old B=", "A=old B= t=a", "A=old B=new", "A=old B=new t=a",
                                               "A=", "A= t=a", "A=new", "A=new t=a"}));
}

TEST(Disk, NeverLetsAModelLeaveWhatAWeakerOneForbids) {
  const Disk disk = replaced_without_directory_sync();
  const States weak = states(disk, Model::weak);
  const States ext4 = states(disk, Model::ext4_ordered);
  const States strict = states(disk, Model::strict);
  EXPECT_TRUE(std::includes(weak.begin(), weak.end(), ext4.begin(), ext4.end()));
  EXPECT_TRUE(std::includes(ext4.begin(), ext4.end(), strict.begin(), strict.end()));
  for (const Model model : {Model::nfs, Model::object}) {
    const States other = states(disk, model);
    EXPECT_TRUE(std::includes(weak.begin(), weak.end(), other.begin(), other.end())) << to_string(model);
  }
}

TEST(Disk, StoresNamesAtOnceOnNfs) {
  const Disk disk = replaced_without_directory_sync();
  EXPECT_EQ(states(disk, Model::nfs), (States{"A= t=a", "A=new t=a"}));
}

TEST(Disk, StoresAnObjectWholeOrNotAtAll) {
  EXPECT_EQ(states(replaced_without_directory_sync(), Model::object), (States{"A=old t=a", "A=new t=a"}));
  Disk disk;
  disk.write_file("a", as_bytes("first"));
  const Disk::Node file = disk.open("a").value();
  disk.write(file, 0, as_bytes("2nd"));
  disk.write(file, 3, as_bytes("!!"));
  write_new(disk, "b", "new");
  EXPECT_EQ(states(disk, Model::object), (States{"a=first", "a=2nd!!", "a=first b=new", "a=2nd!! b=new"}));
  ASSERT_TRUE(disk.remove("b"));
  EXPECT_EQ(states(disk, Model::object), (States{"a=first", "a=2nd!!"}));
}

TEST(Disk, LetsDeleteThenRenameLoseBothOnlyInOrder) {
  Disk disk;
  disk.write_file("M", as_bytes("old"));
  disk.write_file("t", as_bytes("new"));
  ASSERT_TRUE(disk.remove("M"));
  ASSERT_TRUE(disk.rename("t", "M"));
  EXPECT_EQ(states(disk, Model::ext4_ordered), (States{"M=old t=new", "t=new", "M=new"}));
  EXPECT_EQ(states(disk, Model::weak), (States{"M=old t=new", "t=new", "M=new"}));
}

TEST(Disk, TearsAWriteOnlyBetweenBlocks) {
  Disk disk;
  const Disk::Node file = disk.create("a").value();
  ASSERT_TRUE(disk.sync_directory(""));
  disk.sync(file);
  disk.write(file, 0, Bytes(2 * 4096 + 1, std::byte{'x'}));
  EXPECT_EQ(disk.pending_operations(), 3u);
  std::set<std::size_t> sizes;
  for (const Disk& state : disk.crash_states(Model::weak, 16)) sizes.insert(state.read_file("a").value().size());
  EXPECT_EQ(sizes, (std::set<std::size_t>{0, 4096, 8192, 8193}));
  EXPECT_EQ(disk.crash_states(Model::weak, 16).size(), 8u);          // any subset; a lost block below a kept one reads as zeros
  EXPECT_EQ(disk.crash_states(Model::ext4_ordered, 16).size(), 4u);  // growth in order
}

TEST(Disk, LosesOverwrittenBlocksInAnyOrderInExt4) {
  Disk disk;
  disk.write_file("a", Bytes(8192, std::byte{'o'}));
  const Disk::Node file = disk.open("a").value();
  disk.write(file, 0, Bytes(8192, std::byte{'n'}));
  EXPECT_EQ(disk.crash_states(Model::ext4_ordered, 16).size(), 4u);
  EXPECT_EQ(disk.crash_states(Model::strict, 16).size(), 3u);
}

TEST(Disk, KeepsTheBytesOfAPendingWriteThatALaterOneOverwrote) {
  Disk disk;
  const Disk::Node file = disk.create("a").value();
  ASSERT_TRUE(disk.sync_directory(""));
  disk.write(file, 0, as_bytes("first"));
  disk.write(file, 0, as_bytes("2nd"));
  disk.truncate(file, 2);
  EXPECT_EQ(states(disk, Model::strict), (States{"a=", "a=first", "a=2ndst", "a=2n"}));
  EXPECT_TRUE(states(disk, Model::weak).contains("a=fi"));
}

TEST(Disk, ForgetsWhatAFailedSyncDropped) {
  Disk disk;
  const Disk::Node file = write_new(disk, "a", "lost");
  ASSERT_TRUE(disk.sync_directory(""));
  disk.drop_unsynced(file);
  disk.write(file, 4, as_bytes("kept"));
  disk.sync(file);
  EXPECT_EQ(as_text(disk.read_file("a").value()), "lostkept");  // the page cache still has it
  for (const Model model : models) EXPECT_EQ(states(disk, model), (States{"a=" + std::string(4, '\0') + "kept"}));
  disk.settle();
  EXPECT_EQ(as_text(disk.read_file("a").value()), std::string(4, '\0') + "kept");
}

TEST(Disk, TakesARenameAcrossDirectoriesWholeOrNotAtAllUntilBothAreSynced) {
  Disk disk;
  disk.write_file("x/f", as_bytes("f"));
  disk.write_file("y/g", as_bytes("g"));
  ASSERT_TRUE(disk.rename("x/f", "y/f"));
  const States either = {"x/f=f y/g=g", "y/f=f y/g=g"};
  for (const Model model : {Model::strict, Model::ext4_ordered, Model::weak}) EXPECT_EQ(states(disk, model), either);
  for (const Model model : {Model::nfs, Model::object}) EXPECT_EQ(states(disk, model), States{"y/f=f y/g=g"});
  ASSERT_TRUE(disk.sync_directory("y"));
  EXPECT_EQ(states(disk, Model::weak), either);
  ASSERT_TRUE(disk.sync_directory("x"));
  for (const Model model : models) EXPECT_EQ(states(disk, model), States{"y/f=f y/g=g"});
}

TEST(Disk, LosesEverythingBelowADirectoryWhoseNameIsLost) {
  Disk disk;
  ASSERT_TRUE(disk.make_directory("d"));
  disk.sync(write_new(disk, "d/a", "a"));
  ASSERT_TRUE(disk.sync_directory("d"));
  EXPECT_EQ(states(disk, Model::weak), (States{"", "d/a=a"}));
}

TEST(Disk, BringsARemovedFileBackUntilTheDirectoryIsSynced) {
  Disk disk;
  disk.write_file("a", as_bytes("a"));
  ASSERT_TRUE(disk.remove("a"));
  EXPECT_EQ(states(disk, Model::weak), (States{"", "a=a"}));
  ASSERT_TRUE(disk.sync_directory(""));
  EXPECT_EQ(states(disk, Model::weak), States{""});
}

TEST(Disk, SamplesOnlyStatesThatTheEnumerationHas) {
  const Disk disk = replaced_without_directory_sync();
  for (const Model model : models) {
    const States legal = states(disk, model);
    States sampled;
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
      Decisions decisions(seed);
      Disk crashed = disk;
      crashed.crash(model, decisions);
      sampled.insert(show(crashed));
    }
    EXPECT_EQ(sampled, legal) << to_string(model);
  }
}

TEST(Disk, BoundsTheStatesOfManyOperations) {
  Disk disk;
  for (int i = 0; i < 50; ++i) write_new(disk, fmt::format("f{}", i), "x");
  const std::vector<Disk> found = disk.crash_states(Model::weak, 16);
  EXPECT_GE(found.size(), 150u);
  EXPECT_LE(found.size(), 204u);
}

TEST(Disk, IsAValue) {
  Disk first;
  first.write_file("d/a", as_bytes("one"));
  Disk second = first;
  EXPECT_EQ(first.hash(), second.hash());
  ASSERT_TRUE(second.flip_bit("d/a", 3));
  EXPECT_EQ(as_text(first.read_file("d/a").value()), "one");
  EXPECT_NE(first.hash(), second.hash());
  ASSERT_TRUE(second.flip_bit("d/a", 3));
  EXPECT_EQ(first.hash(), second.hash());
  EXPECT_EQ(states(second, Model::weak), States{"d/a=one"});
  EXPECT_EQ(second.flip_bit("d/a", 24).error().message, "flip bit 24 of \"d/a\": it has 3 bytes");
}

}  // namespace
}  // namespace holdfast::sim

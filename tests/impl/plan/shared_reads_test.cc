// Who reads what several ranks want: jobs by hand, what is refused, and what arrives of a part that is cut short. properties/shared_rule.cc has the rest.
#include "impl/plan/shared_reads.h"

#include <gtest/gtest.h>

#include "impl/plan/load_plan.h"
#include "tests/impl/plan/plan_testing.h"

namespace holdfast::plan {
namespace {

constexpr std::uint32_t block = 64;

/// Tensors of u8, each saved in one chunk.
Metadata saved(const std::map<std::string, std::int64_t>& bytes) {
  Metadata metadata;
  for (const auto& [name, size] : bytes) metadata.entries.emplace(name, saved_tensor({size}, {{{0}, {size}}}, DType::u8));
  return metadata;
}

LoadPlan wants(const Metadata& metadata, const std::map<std::string, Box>& boxes) {
  StateDict state;
  for (const auto& [name, box] : boxes) {
    const Dims& shape = std::get<TensorMetadata>(metadata.entries.find(name)->second).shape;
    EXPECT_TRUE(state.add(name, tensor_entry(shape, {box}, DType::u8)));
  }
  return local_load_plan(state, metadata).value();
}

Result<SharedReads> shared(const std::vector<LoadPlan>& plans, const Metadata& metadata, SharingOptions options = {}) {
  options.block_bytes = block;
  options.reader_bytes_min = 2 * block;
  return share_reads(plans, metadata, [](const MetadataIndex&) -> Result<std::uint64_t> { return 0; }, options);
}

/// "a 0-16 by 0 for 0,1 in 0", in order.
std::vector<std::string> told(const SharedReads& reads) {
  std::vector<std::string> lines;
  for (const SharedRead& read : reads.reads)
    lines.push_back(fmt::format("{} {}-{} by {} for {} in {}", reads.chunks[read.chunk].fqn, read.blocks.first, read.blocks.end,
                                read.reader, fmt::join(reads.groups[read.group], ","), read.step));
  return lines;
}

TEST(SharedReads, ReplicasAreDealtLongStretches) {
  const Metadata metadata = saved({{"a", 10 * block}, {"b", 5 * block + 1}});
  const LoadPlan all = wants(metadata, {{"a", {{0}, {10 * block}}}, {"b", {{0}, {5 * block + 1}}}});
  const auto reads = shared({all, all}, metadata);
  ASSERT_TRUE(reads);
  EXPECT_EQ(told(*reads), (std::vector<std::string>{"a 0-8 by 0 for 0,1 in 0", "a 8-10 by 1 for 0,1 in 0", "b 0-6 by 1 for 0,1 in 0"}));
}

TEST(SharedReads, WhatOneRankWantsAloneIsNotShared) {
  const Metadata metadata = saved({{"a", 10 * block}});
  const auto apart = shared({wants(metadata, {{"a", {{0}, {5 * block}}}}), wants(metadata, {{"a", {{5 * block}, {5 * block}}}})}, metadata);
  ASSERT_TRUE(apart);
  EXPECT_EQ(*apart, SharedReads());
  // They meet in one block, of which each wants a half.
  const std::int64_t half = 5 * block + block / 2;
  const auto meeting = shared({wants(metadata, {{"a", {{0}, {half}}}}), wants(metadata, {{"a", {{half}, {10 * block - half}}}})}, metadata);
  ASSERT_TRUE(meeting);
  EXPECT_EQ(told(*meeting), (std::vector<std::string>{"a 5-6 by 1 for 0,1 in 0"}));
}

TEST(SharedReads, WhoReadsMuchForItselfReadsLessForOthers) {
  const Metadata metadata = saved({{"a", 10 * block}, {"own", 6 * block}});
  const LoadPlan more = wants(metadata, {{"a", {{0}, {10 * block}}}, {"own", {{0}, {6 * block}}}});
  const LoadPlan less = wants(metadata, {{"a", {{0}, {10 * block}}}});
  const auto reads = shared({more, less}, metadata);
  ASSERT_TRUE(reads);
  EXPECT_EQ(told(*reads), (std::vector<std::string>{"a 0-2 by 0 for 0,1 in 0", "a 2-10 by 1 for 0,1 in 0"}));
}

TEST(SharedReads, StepsHoldWhatThereIsRoomFor) {
  const Metadata metadata = saved({{"a", 512 * block}});
  const LoadPlan all = wants(metadata, {{"a", {{0}, {512 * block}}}});
  const auto reads = shared({all, all, all}, metadata, {.step_bytes = 32768, .read_bytes_max = 8192});
  ASSERT_TRUE(reads);
  EXPECT_EQ(reads->reads.size(), 6u);
  EXPECT_EQ(reads->steps, 2u);  // each rank is sent four pieces, and has room for three at once
  EXPECT_EQ(parts_of(*reads, 3)[2].reads.size(), 6u);
}

TEST(SharedReads, RefusesWhatTheCheckpointDoesNotHold) {
  const Metadata metadata = saved({{"a", 100}});
  LoadPlan other = wants(metadata, {{"a", {{0}, {100}}}});
  other.items[0].storage_index.offset = Dims{5};
  EXPECT_EQ(shared({other}, metadata).error().message, "share reads a@[5]: the checkpoint holds no such chunk");
  LoadPlan longer = wants(metadata, {{"a", {{0}, {100}}}});
  longer.items[0].lengths = {101};
  EXPECT_EQ(shared({longer}, metadata).error().message, "share reads a@[0]: [0]+[101] is asked of a chunk of size [100]");
}

TEST(SharedReads, APartThatIsNotOneIsRefused) {
  const Metadata metadata = saved({{"a", 10 * block}, {"b", 5 * block + 1}});
  const LoadPlan all = wants(metadata, {{"a", {{0}, {10 * block}}}, {"b", {{0}, {5 * block + 1}}}});
  SharedReads reads = *shared({all, all}, metadata);
  const auto decoded = [](const SharedReads& of) {
    Encoder out;
    encode(out, of);
    Decoder in(out.bytes(), "part");
    return decode_shared_reads(in);
  };
  Encoder out;
  encode(out, reads);
  EXPECT_EQ(*decoded(reads), reads);
  for (std::size_t size = 0; size < out.size(); ++size) {
    Decoder in(ByteView(out.bytes()).first(size), "part");
    EXPECT_EQ(decode_shared_reads(in).error().code, ErrorCode::corrupt) << size;
  }
  SharedReads bad = reads;
  bad.reads[0].chunk = 2;
  EXPECT_EQ(decoded(bad).error().message, "decode shared reads: chunk 2 of 2");
  bad = reads;
  bad.reads[0].reader = Rank{7};
  EXPECT_EQ(decoded(bad).error().message, "decode shared reads: reader 2 of 2");
  bad = reads;
  bad.reads[0].step = 1;
  EXPECT_EQ(decoded(bad).error().message, "decode shared reads: step 1 of 1");
  bad = reads;
  bad.groups[0] = {Rank{0}};
  bad.reads.clear();
  EXPECT_EQ(decoded(bad).error().message, "decode shared reads: a group of 1 ranks");
  bad = reads;
  bad.reads[0].blocks = {3, 3};
  EXPECT_EQ(decoded(bad).error().message, "decode shared reads: 0 blocks from 3 on");
}

}  // namespace
}  // namespace holdfast::plan

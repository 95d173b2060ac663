#include "properties/museum/museum.h"

#include <algorithm>

#include "properties/museum/file_protocol.h"

namespace holdfast::properties::museum {
namespace {

constexpr FileHabits torch_writer{.overwrites_in_place = true,
                                  .metadata = MetadataWrite::synced_before_its_bytes,
                                  .deletes_committed_first = true,
                                  .syncs_directories = false};
constexpr FileHabits unsynced_snapshot{.metadata = MetadataWrite::in_place, .syncs_data = false, .syncs_directories = false};
constexpr FileHabits unsynced_marker{.syncs_data = false, .syncs_directories = false};
constexpr FileHabits deaf_coordinator{.tells_failures = false};

template <const FileHabits& habits>
std::unique_ptr<sim::Workload> faulty() {
  return sim::make_workload(std::make_shared<FileProtocol>("faulty", habits));
}
std::unique_ptr<sim::Workload> fixed() { return sim::make_workload(std::make_shared<FileProtocol>("fixed", FileHabits{})); }

}  // namespace

const std::vector<Exhibit>& exhibits() {
  static const std::vector<Exhibit> all = {
      {4, "VeOmni #1172",
       "A rank's copy of its shard fails; the other ranks only learn that it is done, and the coordinator publishes the checkpoint.",
       "S1 S2 S3", faulty<deaf_coordinator>, fixed},
      {27, "llm.c, DONE marker",
       "The marker that says a checkpoint is complete is written after a barrier, but nothing is synced: power loss can keep it and lose "
       "the data.",
       "S1 S2 S3", faulty<unsynced_marker>, fixed},
      {29, "PyTorch DCP file writer 1.13 to 2.9 (pytorch PR #183877)",
       "A save over an existing checkpoint truncates shards in place, syncs .metadata.tmp before its bytes are written, deletes the "
       "committed .metadata before the rename, and syncs no directory.",
       "S1 S2 S3", faulty<torch_writer>, fixed},
      {30, "torchsnapshot file plugin", "The metadata is written in place and nothing is synced.", "S1 S2 S3", faulty<unsynced_snapshot>,
       fixed},
  };
  return all;
}

const Exhibit* find_exhibit(int number) {
  const auto found = std::ranges::find(exhibits(), number, &Exhibit::number);
  return found == exhibits().end() ? nullptr : &*found;
}

sim::CampaignOptions campaign_options(std::uint64_t seed) {
  using enum sim::FaultKind;
  sim::CampaignOptions options;
  options.seed = seed;
  options.cases = 1000;
  options.kinds = {error_before, error_after, delay, hang, kill_rank, power_loss};
  return options;
}

}  // namespace holdfast::properties::museum

#include "properties/mutants/mutants.h"

namespace holdfast::properties {

const std::vector<Mutant>& mutants() {
  static const std::vector<Mutant> all = {
      {"segment_writer.delete_before_publish", "the old checkpoint is deleted before the new one is published", "S3", "crash-exhaustive"},
      {"files.skip_directory_sync", "the directory is not synced after the commit record is linked", "S2", "durable-after-ack"},
      {"files.skip_data_sync", "the commit record is published before the data is synced", "S2", "durable-after-ack"},
      {"comm.only_coordinator_reports", "failures of other ranks than the coordinator are not reported", "A1", "SEED-S5"},
      {"comm.drop_one_failed_rank", "one rank is dropped from the map of failed ranks", "A1", "SEED-S4"},
      {"staging.skip_wait", "staging is read before the copy is complete", "S6", "round-trip"},
      {"cuda.skip_poll", "the host does not wait for the event behind a copy", "S6", "round-trip", "simgpu"},
      {"plan.newest_by_step", "the checkpoint with the highest step counts as the newest", "S9", "newest"},
      {"plan.storage_offset_is_global", "a read starts at the wrong place of a saved chunk", "S7", "reshard"},
      {"segment_file.skip_block_check", "a block's digest is not checked when it is read", "S4", "crash-exhaustive"},
  };
  return all;
}

}  // namespace holdfast::properties

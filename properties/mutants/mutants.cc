#include "properties/mutants/mutants.h"

namespace holdfast::properties {

const std::vector<Mutant>& mutants() {
  static const std::vector<Mutant> all = {
      {"segment_writer.delete_before_publish", "the old checkpoint is deleted before the new one is published", "S3", "crash-exhaustive"},
      {"files.skip_directory_sync", "the directory is not synced after the commit record is linked", "S2", "durable-after-ack"},
      {"files.skip_data_sync", "the commit record is published before the data is synced", "S2", "durable-after-committed"},
      {"segment_writer.ignores_failed_publish", "a save is reported committed though its record could not be published", "S2",
       "durable-after-committed"},
      {"comm.only_coordinator_reports", "failures of other ranks than the coordinator are not reported", "A1", "SEED-S5"},
      {"comm.drop_one_failed_rank", "one rank is dropped from the map of failed ranks", "A1", "SEED-S4"},
      {"staging.skip_wait", "staging is read before the copy is complete", "S6", "round-trip"},
      {"cuda.skip_poll", "the host does not wait for the event behind a copy", "S6", "round-trip", "simgpu"},
      {"plan.newest_by_step", "the checkpoint with the highest step counts as the newest", "S9", "newest"},
      {"plan.storage_offset_is_global", "a read starts at the wrong place of a saved chunk", "S7", "reshard"},
      {"plan.hint_trusted", "the hint of an index is taken for its offset", "S4", "rule-hints"},
      {"plan.dedup_unbalanced", "the first holder of a replica always writes it", "S7", "rule-balance"},
      {"plan.save_ignores_holes", "a save with a hole is planned", "S7", "rule-holes"},
      {"plan.agreement_ignores_dtype", "ranks may disagree on a dtype", "S7", "rule-dtypes"},
      {"plan.load_ignores_holes", "a load from a checkpoint that lacks a chunk is planned", "S4", "rule-loads"},
      {"plan.load_casts", "a load into another dtype is planned", "S4", "rule-loads"},
      {"plan.attempts_counted_a_step", "attempts are numbered by step, not over all steps", "S9", "rule-ages"},
      {"plan.retire_overtaking", "a late save retires what overtook it", "S3", "rule-ages"},
      {"plan.retire_last_verified", "the last verified checkpoint is retired", "S3", "rule-ages"},
      {"format.manifest_digest_unchecked", "the manifest's own digest is not compared", "S4", "rule-damage"},
      {"format.padding_unchecked", "the padding of a segment header may hold anything", "S4", "rule-damage"},
      {"engine_fiber.shares_exceptions", "the fibres of a run share the C++ runtime's stack of caught exceptions", "D1", "engines-agree"},
      {"segment_file.skip_block_check", "a block's digest is not checked when it is read", "S4", "crash-exhaustive"},
  };
  return all;
}

}  // namespace holdfast::properties

#include "properties/mutants/mutants.h"

namespace holdfast::properties {

const std::vector<Mutant>& mutants() {
  static const std::vector<Mutant> all = {
      {"segment_writer.delete_before_publish", "the old checkpoint is deleted before the new one is published", "S3", "crash-exhaustive"},
      {"files.skip_directory_sync", "the directory is not synced after the commit record is linked", "S2", "durable-after-ack"},
      {"files.skip_data_sync", "the commit record is published before the data is synced", "S2", "durable-after-committed"},
      {"segment_writer.never_gives_way", "two coordinators that saw the same attempts both go on", "S9", "zombie-exhaustive"},
      {"comm.only_coordinator_reports", "failures of other ranks than the coordinator are not reported", "A1", "SEED-S5"},
      {"comm.any_operation", "a rank in another operation is listened to", "A1", "operations"},
      {"layout.flat_ignores_unit", "a flat cut falls inside a unit", "S7", "rule-layouts"},
      {"comm.drop_one_failed_rank", "one rank is dropped from the map of failed ranks", "A1", "SEED-S4"},
      {"staging.skip_wait", "staging is read before the copy is complete", "S6", "round-trip"},
      {"staging.digest_of_wrong_range", "a part of a tensor is digested as if it lay elsewhere", "S4", "streaming"},
      {"staging_pool.budget_ignored", "more staging memory is taken than the budget allows", "S6", "streaming"},
      {"segment_write.reused_before_written", "staging is given back before it is written", "S6", "streaming"},
      {"segment_write.skip_sync", "segments are not synced before the commit record names them", "S2", "durable-after-ack"},
      {"segment_load.skip_wait", "what was read is looked at before the read is done", "S4", "streaming"},
      {"cuda.skip_poll", "the host does not wait for the event behind a copy", "S6", "round-trip", "simgpu"},
      {"nested.int_keys_become_text", "integer keys of a map come back as text", "S4", "rule-nested"},
      {"nested.empty_maps_vanish", "an empty map leaves no trace", "S4", "rule-nested"},
      {"key_map.shortest_prefix", "of several prefixes the shortest renames", "S4", "key-map"},
      {"save.origins_unchecked", "keys of two ranks may get one name", "S4", "key-origins"},
      {"load.first_missing_only", "only the first missing key is told", "A3", "partial-load"},
      {"load.unexpected_by_some_rank", "a key that one rank does not ask for counts as unexpected", "A3", "partial-load"},
      {"new_state.values_left_out", "a load without a template leaves byte values out", "S4", "load-new"},
      {"rank_values.modulo_of_loaders", "a rank gets the value of its own number, whoever saved", "S4", "rank-values"},
      {"plan.values_ignore_digests", "byte values of equal size count as equal", "S4", "values-agree"},
      {"replicas.first_lane_only", "of a digest only the first lane is compared", "A1", "rule-replicas"},
      {"replicas.last_box_skipped", "a rank tells no digest of its last box", "A1", "replicas"},
      {"plan.newest_by_step", "the checkpoint with the highest step counts as the newest", "S9", "newest"},
      {"plan.storage_offset_is_global", "a read starts at the wrong place of a saved chunk", "S7", "reshard"},
      {"plan.hint_trusted", "the hint of an index is taken for its offset", "S4", "rule-hints"},
      {"plan.dedup_unbalanced", "the first holder of a replica always writes it", "S7", "rule-balance"},
      {"plan.rule_replicas_kept", "ranks that hold the same by a rule all write it", "S7", "rule-writers"},
      {"plan.rule_unbalanced", "all of a line of replicated tensors falls to its first rank", "S7", "rule-writers"},
      {"plan.replies_by_class", "all ranks with the same layouts get the reply of the first of them", "S7", "rule-writers"},
      {"plan.rule_attendance_ignored", "a rank of the mesh that does not list a tensor is not missed", "S7", "rule-strays"},
      {"plan.rule_shards_unchecked", "a rank may hold other boxes than the rule that it lists", "S7", "rule-strays"},
      {"plan.fingerprint_ignores_dtype", "a plan whose dtypes changed has the fingerprint that it had", "S7", "plan-cache"},
      {"plan.cache_trusts_other_ranks", "only the first rank's claim is compared with the cached plan", "S7", "plan-cache"},
      {"plan.cache_before_success", "a plan is cached before its save succeeded", "S7", "plan-cache"},
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
  };
  return all;
}

}  // namespace holdfast::properties

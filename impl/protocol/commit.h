// 6 publish and 8 retire. What makes a save's checkpoint the newest asks for the proof that it is whole; what makes older ones go asks for
// the proof that it is there:
//
//   results of all ranks -> CommitRecord (build_manifest.h) -> Published -> hint, retire
#pragma once

#include <optional>
#include <string>

#include "impl/plan/retention.h"
#include "impl/port/storage.h"
#include "impl/protocol/build_manifest.h"

namespace holdfast::protocol {

/// The commit point is passed: this checkpoint survives a crash. Made only by publish().
class Published {
 public:
  Published(Published&&) = default;
  Published& operator=(Published&&) = default;

  const plan::Committed& checkpoint() const { return checkpoint_; }

 private:
  friend Result<Published> publish(port::Storage& storage, CommitRecord record, port::Deadline deadline);
  explicit Published(plan::Committed checkpoint) : checkpoint_(checkpoint) {}
  plan::Committed checkpoint_;
};

/// Gives the record the name MANIFEST in its attempt's directory: the only way there. Durable on return. Errors: as publish_if_absent.
Result<Published> publish(port::Storage& storage, CommitRecord record, port::Deadline deadline);

/// Makes the hint `latest` name the new checkpoint.
Status point_hint_at(port::Storage& storage, const Published& newest, port::Deadline deadline);

/// Removes the checkpoints that the policy does not keep beside the new one, and the attempts with a lower number that were never
/// committed: their commit name is taken first. What overtook the new one stays, and so does `last_verified`. An error leaves the rest for
/// the next save.
Status retire(port::Storage& storage, const Published& newest, const plan::RetentionPolicy& policy,
              const std::optional<plan::AttemptId>& last_verified, port::Deadline deadline);

}  // namespace holdfast::protocol

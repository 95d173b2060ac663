// What lies in a folder of checkpoints. Reads, changes nothing.
#pragma once

#include <string>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/plan/attempts.h"
#include "impl/port/storage.h"

namespace holdfast::protocol {

inline constexpr std::string_view manifest_name = "MANIFEST";
/// What a MANIFEST holds that is no commit record: somebody took the name, so that nobody commits the attempt any more (give_up.h). FORMAT.md.
inline constexpr std::string_view given_up_record = "holdfast: this attempt was given up\n";
/// A file of the root that holds given_up_record, from before the first attempt: to give one up is to link it, which needs no space. FORMAT.md.
inline constexpr std::string_view given_up_mark = "given-up";
/// How files begin that hold the record on its way to a name of its own. One may be left in any attempt's directory, also a committed one's: whoever wrote
/// it there came too late.
inline constexpr std::string_view given_up_file_prefix = "given-up.";
/// What the directory of an attempt that was given up is called after its name, on its way out (give_up.h): that of no attempt.
inline constexpr std::string_view removed_suffix = ".removed";
inline constexpr std::string_view hint_name = "latest";
inline constexpr std::uint64_t manifest_bytes_max = std::uint64_t{4} << 30;

struct CommittedAttempt {
  plan::Committed committed;
  std::string directory;
};

/// An attempt directory with a MANIFEST that cannot be read or decoded.
struct DamagedAttempt {
  plan::AttemptId id;
  std::string directory;
  Error error;
};

struct Survey {
  std::vector<CommittedAttempt> committed;   ///< newest first
  std::vector<DamagedAttempt> damaged;       ///< newest attempt first
  std::vector<plan::AttemptId> uncommitted;  ///< no MANIFEST, or one that says given up: a save failed here, or still writes
  std::vector<plan::AttemptId> all;          ///< every attempt, committed or not
  std::vector<std::string> removed;          ///< directories on their way out
};

/// The attempt directories, by number from the highest, of equal ones by step from the highest. None when there is no root. Errors: of listing the root.
Result<std::vector<plan::AttemptId>> list_attempts(port::Storage& storage, port::Deadline deadline);

/// Looks at every attempt directory; a root that does not exist or is empty gives an empty survey.
/// Errors: what listing the root or reading a MANIFEST gives, other than damage, which is part of the answer.
Result<Survey> survey(port::Storage& storage, port::Deadline deadline);

/// Newest first.
std::vector<plan::Committed> committed_of(const Survey& found);

}  // namespace holdfast::protocol

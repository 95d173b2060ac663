// The path a verb is given, and the checkpoints below it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "impl/api/holdfast.h"
#include "impl/cli/progress.h"

namespace holdfast::cli {

enum class PathKind : std::uint8_t { folder, attempt, file };

/// What a path names: a folder of checkpoints, one attempt in it, or a file.
struct Location {
  PathKind kind = PathKind::folder;
  std::string folder;     ///< canonical; of a file, its own path as given
  std::string directory;  ///< of an attempt, "step-7.a1"
};
/// Errors: not_found; invalid_argument for what is neither, or holds a MANIFEST under a name that is no attempt's; io_error.
Result<Location> locate(const std::string& path);

/// A folder opened by this process alone, for reading. Its bytes are counted by `progress`, which must outlive it.
class OpenFolder {
 public:
  /// Errors: invalid_argument when the location is a file; io_error.
  static Result<OpenFolder> open(const Location& location, Progress& progress);
  Checkpoints& checkpoints() { return *checkpoints_; }

 private:
  std::unique_ptr<Job> job_;
  std::unique_ptr<Checkpoints> checkpoints_;
};

/// Files and bytes that a manifest promises, MANIFEST itself left out.
struct Stored {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
};
Stored stored(const format::Manifest& manifest);
/// Bytes of all tensors and byte values, each once.
std::uint64_t logical_bytes(const format::Manifest& manifest);

/// The attempt that a location names, or the newest committed one of a folder. Notes newer ones that are damaged.
Result<std::string> choose(Checkpoints& checkpoints, const Location& location, const Console& console);

}  // namespace holdfast::cli

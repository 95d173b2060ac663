// A file that a verb makes: whole under its name, or not there at all.
#pragma once

#include <memory>
#include <string>

#include "impl/core/bytes.h"
#include "impl/core/error.h"

namespace holdfast::cli {

enum class Existing : std::uint8_t { refuse, replace };

/// Writes into a mapped temporary file beside `path`, whose space is reserved first; commit() gives it its name. Dropped before that, or
/// interrupted by SIGINT or SIGTERM, nothing is left.
class OutputFile {
 public:
  /// Errors: already_exists for a taken name that may not be replaced; invalid_argument for a directory; no_space; io_error.
  static Result<OutputFile> create(const std::string& path, std::size_t bytes, Existing existing);
  OutputFile(OutputFile&&) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  ByteSpan bytes() { return bytes_; }
  /// Durable on return: the bytes and the name. Errors: already_exists when somebody else was faster; io_error.
  Status commit();

 private:
  OutputFile() = default;
  Status reserve(std::size_t bytes);
  void unmap();

  std::string path_;
  std::string temporary_;  ///< empty once committed
  Existing existing_ = Existing::refuse;
  int fd_ = -1;
  ByteSpan bytes_;
};

/// What create() would refuse, before any work is done.
Status check_output(const std::string& path, Existing existing);
/// A whole small file at once.
Status write_output(const std::string& path, ByteView bytes, Existing existing);

}  // namespace holdfast::cli

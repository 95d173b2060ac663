// A file that a verb reads: mapped, not copied.
#pragma once

#include <memory>
#include <string>

#include "impl/core/bytes.h"
#include "impl/core/error.h"
#include "impl/format/safetensors.h"

namespace holdfast::cli {

/// Read-only mapping of a whole regular file. A file that shrinks while it is read ends the process with a message (signals.h).
class SourceFile {
 public:
  /// Errors: not_found; invalid_argument for anything but a regular file; io_error. `expected` says what should be there.
  static Result<SourceFile> open(const std::string& path, std::string_view expected);

  const std::string& path() const { return path_; }
  ByteView bytes() const { return {static_cast<const std::byte*>(mapping_.get()), size_}; }

 private:
  std::string path_;
  std::shared_ptr<void> mapping_;
  std::size_t size_ = 0;
};

struct SafetensorsFile {
  SourceFile file;
  format::SafetensorsHeader header;

  ByteView data() const { return file.bytes().subspan(header.header_bytes); }
  ByteView data(const format::SafetensorsTensor& tensor) const { return data().subspan(tensor.begin, tensor.end - tensor.begin); }
};

/// Decodes the header and checks that the file is as long as it says. Errors: invalid_argument when the file does not begin as a
/// safetensors file does and is not named as one; corrupt when it is a damaged one.
Result<SafetensorsFile> open_safetensors(const std::string& path);

}  // namespace holdfast::cli

// The file `latest`: a hint at the newest committed checkpoint. Derived, never trusted: a reader that cannot use it lists the directory.
#pragma once

#include <string>
#include <string_view>

#include "impl/core/bytes.h"
#include "impl/core/error.h"

namespace holdfast::format {

/// One line: the attempt's directory name, a space, the block digest of the name in hex, a newline.
/// Requires: a name of printable ASCII without space or slash, 1 to 255 characters.
Bytes encode_hint(std::string_view attempt_directory);

/// The directory name. Errors: corrupt for anything that encode_hint does not write.
Result<std::string> decode_hint(ByteView bytes, std::string_view path = "latest");

}  // namespace holdfast::format

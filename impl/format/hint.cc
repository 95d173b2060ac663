#include "impl/format/hint.h"

#include "impl/core/check.h"
#include "impl/core/digest.h"
#include "impl/format/file_names.h"

namespace holdfast::format {
namespace {

std::string line(std::string_view name) { return fmt::format("{} {}\n", name, to_string(block_digest(as_bytes(name)))); }

}  // namespace

Bytes encode_hint(std::string_view attempt_directory) {
  CHECK(is_directory_name(attempt_directory), "hint at \"{}\"", attempt_directory);
  return to_bytes(as_bytes(line(attempt_directory)));
}

Result<std::string> decode_hint(ByteView bytes, std::string_view path) {
  const std::string_view text = as_text(bytes);
  const std::string_view name = text.substr(0, text.find(' '));
  if (!is_directory_name(name) || text != line(name))
    return fail(ErrorCode::corrupt, "\"{}\": no hint at a checkpoint, or a damaged one", path);
  return std::string(name);
}

}  // namespace holdfast::format

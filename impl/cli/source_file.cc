#include "impl/cli/source_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "impl/format/segment.h"

namespace holdfast::cli {
namespace {

/// A length field within bounds, then the brace that opens the JSON.
bool begins_like_safetensors(ByteView bytes) {
  constexpr std::size_t length_bytes = 8;
  if (bytes.size() <= length_bytes || bytes[length_bytes] != std::byte{'{'}) return false;
  return format::segment_header_bytes(bytes.first(length_bytes), "").has_value();
}

}  // namespace

Result<SourceFile> SourceFile::open(const std::string& path, std::string_view expected) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const int reason = errno;
    return fail(reason == ENOENT ? ErrorCode::not_found : ErrorCode::io_error, "open \"{}\": {}; expected {}", path, std::strerror(reason),
                expected);
  }
  SourceFile file;
  file.path_ = path;
  struct stat status{};
  void* mapping = MAP_FAILED;
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  file.size_ = regular ? static_cast<std::size_t>(status.st_size) : 0;
  if (file.size_ > 0) mapping = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd, 0);
  const int reason = errno;
  ::close(fd);
  if (!regular)
    return fail(ErrorCode::invalid_argument, "open \"{}\": it is {}; expected {}", path,
                S_ISDIR(status.st_mode) ? "a directory" : "no regular file", expected);
  if (file.size_ == 0) return file;
  if (mapping == MAP_FAILED) return fail(ErrorCode::io_error, "map \"{}\": {}", path, std::strerror(reason));
  file.mapping_ = std::shared_ptr<void>(mapping, [size = file.size_](void* address) { ::munmap(address, size); });
  return file;
}

Result<SafetensorsFile> open_safetensors(const std::string& path) {
  SourceFile file = TRY(SourceFile::open(path, "a safetensors file"));
  const ByteView bytes = file.bytes();
  if (!begins_like_safetensors(bytes) && !path.ends_with(".safetensors")) {
    return fail(ErrorCode::invalid_argument,
                "\"{}\" is no safetensors file: its first 9 bytes are not a header's length and its opening brace", path);
  }
  const std::uint64_t header_bytes = TRY(format::segment_header_bytes(bytes.first(std::min<std::size_t>(bytes.size(), 8)), path));
  if (header_bytes > bytes.size()) {
    return fail(ErrorCode::corrupt, "\"{}\": the file ends at byte {}, its header needs {}", path, bytes.size(), header_bytes);
  }
  format::SafetensorsHeader header = TRY(format::decode_safetensors_header(bytes.first(header_bytes), path));
  TRY(format::check_file_bytes(header, bytes.size(), path));
  return SafetensorsFile{std::move(file), std::move(header)};
}

}  // namespace holdfast::cli

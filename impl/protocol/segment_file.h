// One segment of a committed checkpoint, opened and verified block by block. Used by load and by verify.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "impl/port/storage.h"
#include "impl/protocol/files.h"

namespace holdfast::protocol {

class SegmentFile {
 public:
  /// Opens the segment and checks its size and header against the manifest's record and its generation against the attempt.
  /// Errors: corrupt naming the file, what was found and what was expected; a segment that is not there is corrupt too.
  static Result<SegmentFile> open(port::Storage& storage, const std::string& directory, const format::SegmentRecord& record,
                                  port::Deadline deadline);

  port::FileId id() const { return file_.id(); }
  const format::SegmentHeader& header() const { return header_; }
  const std::string& path() const { return path_; }

  /// The position of the box of a tensor among header().layout.tensors. Errors: corrupt, when the segment holds another box of it, or none.
  Result<std::size_t> find(std::string_view tensor, const TensorMetadata& metadata, const Box& box) const;
  /// Errors: corrupt naming tensor, block and place in the file when the digest of `bytes`, which are the block's, is not the header's.
  Status check_block(std::size_t block, ByteView bytes) const;
  /// The bytes of blocks [first, end), verified. Errors: also as check_block.
  Result<SharedBytes> read_blocks(std::size_t first, std::size_t end, port::Deadline deadline);

 private:
  SegmentFile(port::Storage& storage, port::FileId file, std::string path)
      : storage_(&storage), file_(storage, file), path_(std::move(path)) {}
  Status read_header(const std::string& directory, const format::SegmentRecord& record, port::Deadline deadline);

  port::Storage* storage_;
  OpenFile file_;
  std::string path_;
  format::SegmentHeader header_;
  std::vector<std::uint32_t> by_name_;  ///< positions in header_.layout.tensors
};

}  // namespace holdfast::protocol

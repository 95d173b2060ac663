// One segment of a committed checkpoint, opened and verified piece by piece. Used by load and by verify.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "impl/port/storage.h"

namespace holdfast::protocol {

class SegmentFile {
 public:
  /// Opens the segment and checks its size and header against the manifest's record and its generation against the attempt.
  /// Errors: corrupt naming the file, what was found and what was expected; a segment that is not there is corrupt too.
  static Result<SegmentFile> open(port::Storage& storage, const std::string& directory, const format::SegmentRecord& record,
                                  port::Deadline deadline);
  SegmentFile(SegmentFile&& other) noexcept;
  SegmentFile& operator=(SegmentFile&&) = delete;
  ~SegmentFile();

  const format::SegmentHeader& header() const { return header_; }
  const std::string& path() const { return path_; }

  /// Where the box of a tensor starts in the data area, in bytes. Errors: corrupt, when the segment holds another box of it, or none.
  Result<std::uint64_t> place_of(std::string_view tensor, const TensorMetadata& metadata, const Box& box) const;

  /// Bytes [begin, end) of the data area, whole blocks, verified.
  struct Run {
    std::uint64_t begin = 0;
    std::shared_ptr<Bytes> bytes;
  };
  /// Reads the blocks that hold the given byte ranges of the data area; neighbouring blocks make one run. Runs are ascending.
  /// Errors: corrupt naming tensor, block and offset for a block whose digest differs.
  Result<std::vector<Run>> read_blocks(const std::vector<bool>& wanted, port::Deadline deadline);

  /// "tensor "wte" block 3 (step-7.a1/segment-00002-000.safetensors @ 8192+4096)".
  std::string describe_block(std::size_t block) const;

 private:
  SegmentFile(port::Storage& storage, port::FileId file, std::string path) : storage_(&storage), file_(file), path_(std::move(path)) {}
  Status read_header(const std::string& directory, const format::SegmentRecord& record, port::Deadline deadline);

  port::Storage* storage_;
  port::FileId file_;
  std::string path_;
  format::SegmentHeader header_;
  std::vector<std::uint32_t> by_name_;  ///< positions in header_.layout.tensors
};

}  // namespace holdfast::protocol

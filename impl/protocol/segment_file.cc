#include "impl/protocol/segment_file.h"

#include <algorithm>
#include <numeric>

#include "impl/core/mutate.h"
#include "impl/protocol/files.h"

namespace holdfast::protocol {

Result<SegmentFile> SegmentFile::open(port::Storage& storage, const std::string& directory, const format::SegmentRecord& record,
                                      port::Deadline deadline) {
  std::string path = join(directory, record.path());
  Result<port::FileId> file = storage.open(path, deadline);
  if (!file && file.error().code == ErrorCode::not_found) return fail(ErrorCode::corrupt, "segment \"{}\" is missing", path);
  if (!file) return fail(std::move(file).error());
  SegmentFile segment(storage, *file, std::move(path));
  TRY(segment.read_header(directory, record, deadline));
  return segment;
}

SegmentFile::SegmentFile(SegmentFile&& other) noexcept
    : storage_(std::exchange(other.storage_, nullptr)), file_(other.file_), path_(std::move(other.path_)),
      header_(std::move(other.header_)), by_name_(std::move(other.by_name_)) {}

SegmentFile::~SegmentFile() {
  if (storage_) (void)storage_->close(file_);  // nothing was written
}

Status SegmentFile::read_header(const std::string& directory, const format::SegmentRecord& record, port::Deadline deadline) {
  const std::uint64_t size = TRY(storage_->size(file_, deadline));
  if (size != record.file_bytes)
    return fail(ErrorCode::corrupt, "segment \"{}\" has {} bytes, the manifest says {}", path_, size, record.file_bytes);
  if (record.header_bytes > size)
    return fail(ErrorCode::corrupt, "segment \"{}\": the manifest says {} header bytes of {}", path_, record.header_bytes, size);
  const auto bytes = std::make_shared<Bytes>(record.header_bytes);
  const port::ReadPiece piece{0, *bytes, bytes};
  TRY(storage_->read_all(file_, {&piece, 1}, deadline));
  const BlockDigest found = block_digest(*bytes);
  if (found != record.header_digest) {
    return fail(ErrorCode::corrupt, "segment \"{}\": header digest {}, the manifest says {}", path_, to_string(found),
                to_string(record.header_digest));
  }
  header_ = TRY(format::decode_segment_header(*bytes, path_));
  if (header_.generation != directory) {
    return fail(ErrorCode::corrupt, "segment \"{}\" was written for \"{}\", not for \"{}\"", path_, header_.generation, directory);
  }
  if (header_.layout.file_bytes() != size || header_.layout.header_bytes != record.header_bytes) {
    return fail(ErrorCode::corrupt, "segment \"{}\": its header describes {} bytes, it has {}", path_, header_.layout.file_bytes(), size);
  }
  by_name_.resize(header_.layout.tensors.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::ranges::sort(by_name_, {}, [&](std::uint32_t i) -> const std::string& { return header_.layout.tensors[i].name; });
  return {};
}

Result<std::uint64_t> SegmentFile::place_of(std::string_view tensor, const TensorMetadata& metadata, const Box& box) const {
  const auto& tensors = header_.layout.tensors;
  const auto name_of = [&](std::uint32_t i) -> std::string_view { return tensors[i].name; };
  const auto found = std::ranges::lower_bound(by_name_, tensor, {}, name_of);
  if (found == by_name_.end() || name_of(*found) != tensor) {
    return fail(ErrorCode::corrupt, "segment \"{}\" holds no box of tensor \"{}\", the manifest says {}", path_, tensor, to_string(box));
  }
  const format::SegmentTensor& held = tensors[*found];
  if (held.box == box && held.dtype == metadata.dtype && held.shape == metadata.shape) return held.offset;
  const auto say = [](const Box& part, DType dtype, const Dims& shape) {
    return fmt::format("box {} of {} {}", to_string(part), to_string(dtype), to_string({shape.data(), shape.size()}));
  };
  return fail(ErrorCode::corrupt, "segment \"{}\" holds of tensor \"{}\" {}, the manifest says {}", path_, tensor,
              say(held.box, held.dtype, held.shape), say(box, metadata.dtype, metadata.shape));
}

std::string SegmentFile::describe_block(std::size_t block) const {
  const format::SegmentLayout& layout = header_.layout;
  const std::uint64_t begin = std::uint64_t{block} * layout.block_bytes;
  const std::uint64_t bytes = std::min<std::uint64_t>(layout.block_bytes, layout.data_bytes - begin);
  std::string names;
  for (const format::SegmentTensor& tensor : layout.tensors) {
    if (tensor.offset >= begin + bytes || tensor.offset + tensor.bytes <= begin) continue;
    names += fmt::format("{}\"{}\"", names.empty() ? "tensor " : ", ", tensor.name);
  }
  return fmt::format("{} block {} ({} @ {}+{})", names, block, path_, layout.header_bytes + begin, bytes);
}

Result<std::vector<SegmentFile::Run>> SegmentFile::read_blocks(const std::vector<bool>& wanted, port::Deadline deadline) {
  const format::SegmentLayout& layout = header_.layout;
  std::vector<Run> runs;
  std::vector<port::ReadPiece> pieces;
  for (std::size_t block = 0; block < wanted.size();) {
    if (!wanted[block]) {
      ++block;
      continue;
    }
    const std::size_t first = block;
    while (block < wanted.size() && wanted[block]) ++block;
    const std::uint64_t begin = std::uint64_t{first} * layout.block_bytes;
    const std::uint64_t end = std::min<std::uint64_t>(std::uint64_t{block} * layout.block_bytes, layout.data_bytes);
    runs.push_back({begin, std::make_shared<Bytes>(end - begin)});
    pieces.push_back({layout.header_bytes + begin, *runs.back().bytes, runs.back().bytes});
  }
  if (!pieces.empty()) TRY(storage_->read_all(file_, pieces, deadline));
  for (const Run& run : runs) {
    for (std::uint64_t at = 0; at < run.bytes->size(); at += layout.block_bytes) {
      const auto block = static_cast<std::size_t>((run.begin + at) / layout.block_bytes);
      const std::size_t bytes = std::min<std::size_t>(layout.block_bytes, run.bytes->size() - at);
      const BlockDigest found = block_digest(ByteView(*run.bytes).subspan(at, bytes));
      if (MUTATE("segment_file.skip_block_check", found != header_.blocks[block], false)) {
        return fail(ErrorCode::corrupt, "{}: digest {}, the segment says {}", describe_block(block), to_string(found),
                    to_string(header_.blocks[block]));
      }
    }
  }
  return runs;
}

}  // namespace holdfast::protocol

#include "impl/protocol/segment_file.h"

#include <algorithm>
#include <numeric>

#include "impl/core/mutate.h"

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

Status SegmentFile::read_header(const std::string& directory, const format::SegmentRecord& record, port::Deadline deadline) {
  const std::uint64_t size = TRY(storage_->size(file_.id(), deadline));
  if (size != record.file_bytes)
    return fail(ErrorCode::corrupt, "segment \"{}\" has {} bytes, the manifest says {}", path_, size, record.file_bytes);
  if (record.header_bytes > size)
    return fail(ErrorCode::corrupt, "segment \"{}\": the manifest says {} header bytes of {}", path_, record.header_bytes, size);
  const auto bytes = std::make_shared<Bytes>(record.header_bytes);
  const port::ReadPiece piece{0, *bytes, bytes};
  TRY(storage_->read_all(file_.id(), {&piece, 1}, deadline));
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

Result<std::size_t> SegmentFile::find(std::string_view tensor, const TensorMetadata& metadata, const Box& box) const {
  const auto& tensors = header_.layout.tensors;
  const auto name_of = [&](std::uint32_t i) -> std::string_view { return tensors[i].name; };
  const auto found = std::ranges::lower_bound(by_name_, tensor, {}, name_of);
  if (found == by_name_.end() || name_of(*found) != tensor) {
    return fail(ErrorCode::corrupt, "segment \"{}\" holds no box of tensor \"{}\", the manifest says {}", path_, tensor, to_string(box));
  }
  const format::SegmentTensor& held = tensors[*found];
  if (held.box == box && held.dtype == metadata.dtype && held.shape == metadata.shape) return *found;
  const auto say = [](const Box& part, DType dtype, const Dims& shape) {
    return fmt::format("box {} of {} {}", to_string(part), to_string(dtype), to_string({shape.data(), shape.size()}));
  };
  return fail(ErrorCode::corrupt, "segment \"{}\" holds of tensor \"{}\" {}, the manifest says {}", path_, tensor,
              say(held.box, held.dtype, held.shape), say(box, metadata.dtype, metadata.shape));
}

Status SegmentFile::check_block(std::size_t block, ByteView bytes) const {
  const BlockDigest found = block_digest(bytes);
  if (MUTATE("segment_file.skip_block_check", found == header_.blocks[block], true)) return {};
  const format::SegmentLayout& layout = header_.layout;
  const format::SegmentBlock at = layout.block(block);
  return fail(ErrorCode::corrupt, "tensor \"{}\" block {} ({} @ {}+{}): digest {}, the segment says {}", layout.tensors[at.tensor].name,
              block, path_, layout.header_bytes + at.offset, at.bytes, to_string(found), to_string(header_.blocks[block]));
}

Result<SharedBytes> SegmentFile::read_blocks(std::size_t first, std::size_t end, port::Deadline deadline) {
  if (first == end) return SharedBytes();
  const format::SegmentLayout& layout = header_.layout;
  const std::uint64_t begin = layout.block(first).offset;
  const format::SegmentBlock last = layout.block(end - 1);
  const auto bytes = std::make_shared<Bytes>(last.offset + last.bytes - begin);
  const port::ReadPiece piece{layout.header_bytes + begin, *bytes, bytes};
  TRY(storage_->read_all(file_.id(), {&piece, 1}, deadline));
  for (std::size_t number = first; number < end; ++number) {
    const format::SegmentBlock block = layout.block(number);
    TRY(check_block(number, ByteView(*bytes).subspan(block.offset - begin, block.bytes)));
  }
  return SharedBytes(std::move(*bytes));
}

}  // namespace holdfast::protocol

#include "impl/core/encoding.h"

namespace holdfast {

void Encoder::varint(std::uint64_t value) {
  while (value >= 0x80) {
    u8(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  u8(static_cast<std::uint8_t>(value));
}

void Encoder::signed_varint(std::int64_t value) {
  varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void Encoder::blob(ByteView bytes) {
  varint(bytes.size());
  raw(bytes);
}

tl::unexpected<Error> Decoder::truncated(std::uint64_t wanted) const {
  return fail(ErrorCode::corrupt, "decode {}: {} bytes wanted at offset {}, {} left", what_, wanted, offset_, left());
}

Result<std::uint8_t> Decoder::u8() {
  if (left() < 1) return truncated(1);
  return std::to_integer<std::uint8_t>(bytes_[offset_++]);
}

Result<std::uint32_t> Decoder::u32() {
  if (left() < 4) return truncated(4);
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(bytes_[offset_++]) << (8 * i);
  return value;
}

Result<std::uint64_t> Decoder::u64() {
  if (left() < 8) return truncated(8);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value |= std::to_integer<std::uint64_t>(bytes_[offset_++]) << (8 * i);
  return value;
}

Result<std::uint64_t> Decoder::varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (left() < 1) return truncated(1);
    const auto byte = std::to_integer<std::uint64_t>(bytes_[offset_++]);
    if (shift == 63 && byte > 1) return fail(ErrorCode::corrupt, "decode {}: integer over 64 bits before offset {}", what_, offset_);
    value |= (byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) {
      if (byte == 0 && shift != 0) return fail(ErrorCode::corrupt, "decode {}: padded integer before offset {}", what_, offset_);
      return value;
    }
  }
  return fail(ErrorCode::corrupt, "decode {}: integer without an end before offset {}", what_, offset_);
}

Result<std::int64_t> Decoder::signed_varint() {
  const std::uint64_t value = TRY(varint());
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

Result<ByteView> Decoder::raw(std::size_t size) {
  if (left() < size) return truncated(size);
  const ByteView view = bytes_.subspan(offset_, size);
  offset_ += size;
  return view;
}

Result<ByteView> Decoder::blob() {
  const std::uint64_t size = TRY(varint());
  if (size > left()) return truncated(size);
  return raw(static_cast<std::size_t>(size));
}

Result<std::string> Decoder::text() {
  const ByteView view = TRY(blob());
  return std::string(as_text(view));
}

Result<std::size_t> Decoder::count(std::size_t bytes_each) {
  const std::uint64_t announced = TRY(varint());
  if (bytes_each != 0 && announced > left() / bytes_each) {
    return fail(ErrorCode::corrupt, "decode {}: {} entries announced before offset {}, but only {} bytes are left", what_, announced,
                offset_, left());
  }
  return static_cast<std::size_t>(announced);
}

Status Decoder::finish() const {
  if (left() != 0) return fail(ErrorCode::corrupt, "decode {}: {} bytes after the end at offset {}", what_, left(), offset_);
  return {};
}

}  // namespace holdfast

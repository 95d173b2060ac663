// Bytes on the wire and on disk: fixed little-endian integers, LEB128 varints, length-prefixed strings.
// Decoding is total: any bytes give a value or an Error with code `corrupt`; no read passes the end, no length is trusted before it is checked.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "impl/core/bytes.h"
#include "impl/core/error.h"

namespace holdfast {

class Encoder {
 public:
  void u8(std::uint8_t value) { bytes_.push_back(std::byte{value}); }
  void u32(std::uint32_t value) { fixed(value); }
  void u64(std::uint64_t value) { fixed(value); }
  void varint(std::uint64_t value);
  /// Signed values in zigzag form.
  void signed_varint(std::int64_t value);
  void raw(ByteView bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  /// A varint length, then the bytes.
  void blob(ByteView bytes);
  void text(std::string_view value) { blob(as_bytes(value)); }

  std::size_t size() const { return bytes_.size(); }
  const Bytes& bytes() const { return bytes_; }
  Bytes take() { return std::move(bytes_); }

 private:
  template <typename T>
  void fixed(T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(std::byte(static_cast<std::uint8_t>(value >> (8 * i))));
  }
  Bytes bytes_;
};

/// Reads what Encoder wrote. `what` names the object in errors; it must outlive the decoder.
class Decoder {
 public:
  Decoder(ByteView bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  Result<std::uint8_t> u8();
  Result<std::uint32_t> u32();
  Result<std::uint64_t> u64();
  Result<std::uint64_t> varint();
  Result<std::int64_t> signed_varint();
  Result<ByteView> raw(std::size_t size);
  Result<ByteView> blob();
  Result<std::string> text();
  /// A varint that announces `count` things of at least `bytes_each` bytes: refused when they cannot be there.
  Result<std::size_t> count(std::size_t bytes_each);
  /// Errors unless every byte was read.
  Status finish() const;

  std::size_t offset() const { return offset_; }
  std::size_t left() const { return bytes_.size() - offset_; }

 private:
  tl::unexpected<Error> truncated(std::uint64_t wanted) const;
  ByteView bytes_;
  std::string_view what_;
  std::size_t offset_ = 0;
};

}  // namespace holdfast

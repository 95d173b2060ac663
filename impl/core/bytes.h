// Byte sequences: owned, viewed and shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast {

using Bytes = std::vector<std::byte>;
using ByteView = std::span<const std::byte>;
using ByteSpan = std::span<std::byte>;

/// An immutable byte sequence that is shared, not copied. Empty by default.
class SharedBytes {
 public:
  SharedBytes() = default;
  SharedBytes(Bytes bytes) : bytes_(std::make_shared<const Bytes>(std::move(bytes))) {}  // NOLINT: implicit on purpose

  ByteView view() const { return bytes_ ? ByteView(*bytes_) : ByteView(); }
  std::size_t size() const { return bytes_ ? bytes_->size() : 0; }
  bool empty() const { return size() == 0; }
  /// Keeps the bytes alive; null when empty by default.
  std::shared_ptr<const void> owner() const { return bytes_; }

 private:
  std::shared_ptr<const Bytes> bytes_;
};

inline ByteView as_bytes(std::string_view text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }
inline std::string_view as_text(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes to_bytes(ByteView view) { return Bytes(view.begin(), view.end()); }

}  // namespace holdfast

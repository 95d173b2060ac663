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
  SharedBytes(Bytes bytes);  // NOLINT: implicit on purpose

  ByteView view() const { return view_; }
  std::size_t size() const { return view_.size(); }
  bool empty() const { return view_.empty(); }
  /// Keeps the bytes alive; null when empty by default.
  std::shared_ptr<const void> owner() const { return owner_; }
  /// A part that keeps the whole alive. Requires: it lies inside.
  SharedBytes part(std::size_t begin, std::size_t size) const {
    SharedBytes result;
    result.view_ = view_.subspan(begin, size);
    result.owner_ = owner_;
    return result;
  }

 private:
  ByteView view_;
  std::shared_ptr<const void> owner_;
};

inline ByteView as_bytes(std::string_view text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }
inline std::string_view as_text(ByteView bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes to_bytes(ByteView view) { return Bytes(view.begin(), view.end()); }

}  // namespace holdfast

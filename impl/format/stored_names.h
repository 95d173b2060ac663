// Ascending names as a manifest stores them: each as what differs from the one before, whole at the start of every block, so that one is
// found by halving. Private to impl/format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "impl/core/encoding.h"

namespace holdfast::format {

inline constexpr std::size_t names_a_block = 16;

class NamesWriter {
 public:
  /// Requires: a name above the one before.
  void add(std::string_view name);
  const Bytes& blocks() const { return blocks_.bytes(); }  ///< a u32 a block: where it starts in entries()
  const Bytes& entries() const { return entries_.bytes(); }

 private:
  std::string before_;
  std::size_t count_ = 0;
  Encoder blocks_, entries_;
};

/// Views into a manifest.
struct StoredNames {
  ByteView blocks;
  ByteView entries;
  std::size_t count = 0;

  /// Errors: corrupt, unless these are bytes that NamesWriter writes.
  Status check() const;
  // Require: names that check() accepts.
  std::optional<std::size_t> find(std::string_view name) const;
  std::string at(std::size_t index) const;
};

/// Walks over names, from the start of a block.
class NamesCursor {
 public:
  explicit NamesCursor(const StoredNames& names, std::size_t block = 0);
  /// Goes on to the next name. Requires: fewer than names.count before it. Errors: corrupt, also when it is not above the one before.
  Status next();
  const std::string& name() const { return name_; }
  /// Errors: corrupt, unless every byte was read.
  Status finish() const { return in_.finish(); }

 private:
  Status start_block();
  const StoredNames& names_;
  std::size_t start_;  ///< of the first block, in entries
  std::size_t index_;  ///< of the next name
  bool first_ = true;
  std::string name_;
  Decoder in_;
};

}  // namespace holdfast::format

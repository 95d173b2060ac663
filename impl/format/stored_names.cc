#include "impl/format/stored_names.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/format/manifest_layout.h"

namespace holdfast::format {
namespace {

std::size_t block_start(const StoredNames& names, std::size_t block) {
  return manifest_layout::load<std::uint32_t>(names.blocks, block * sizeof(std::uint32_t));
}

/// The first name of a block, which is stored whole.
std::string_view first_name(const StoredNames& names, std::size_t block) {
  Decoder in(names.entries.subspan(block_start(names, block)), "names");
  CHECK(in.varint().has_value(), "a block of names that was checked");
  const auto name = in.blob();
  CHECK(name.has_value(), "a block of names that was checked");
  return as_text(*name);
}

}  // namespace

void NamesWriter::add(std::string_view name) {
  CHECK(count_ == 0 || before_ < name, "name \"{}\" after \"{}\"", name, before_);
  std::size_t shared = 0;
  if (count_ % names_a_block == 0) {
    blocks_.u32(manifest_layout::size32(entries_.size()));
  } else {
    shared = static_cast<std::size_t>(std::ranges::mismatch(name, before_).in1 - name.begin());
  }
  entries_.varint(shared);
  entries_.text(name.substr(shared));
  before_ = name;
  ++count_;
}

NamesCursor::NamesCursor(const StoredNames& names, std::size_t block)
    : names_(names), start_(names.count == 0 ? 0 : block_start(names, block)), index_(block * names_a_block),
      in_(names.entries.subspan(std::min(start_, names.entries.size())), "names") {}

Status NamesCursor::start_block() {
  const std::size_t said = block_start(names_, index_ / names_a_block);
  const std::size_t found = start_ + in_.offset();
  if (said == found) return {};
  return fail(ErrorCode::corrupt, "the block of names from {} on is said to start at {}, it starts at {}", index_, said, found);
}

Status NamesCursor::next() {
  const bool whole = index_ % names_a_block == 0;
  if (whole) TRY(start_block());
  const std::uint64_t shared = TRY(in_.varint());
  const std::string_view rest = as_text(TRY(in_.blob()));
  if (shared > (whole ? 0 : name_.size())) return fail(ErrorCode::corrupt, "name {} shares {} bytes with the one before", index_, shared);
  std::string_view before = name_;
  before.remove_prefix(shared);
  // Above the one before, and, inside a block, sharing all that can be shared.
  const bool above = whole ? before < rest : !rest.empty() && (before.empty() || std::uint8_t(before[0]) < std::uint8_t(rest[0]));
  if (!first_ && !above)
    return fail(ErrorCode::corrupt, "name {}, \"{}{}\", is not above \"{}\"", index_, name_.substr(0, shared), rest, name_);
  name_.replace(shared, std::string::npos, rest);
  first_ = false;
  ++index_;
  return {};
}

Status StoredNames::check() const {
  if (count != 0 && block_start(*this, 0) != 0) return fail(ErrorCode::corrupt, "the first block of names does not start at 0");
  NamesCursor cursor(*this);
  for (std::size_t i = 0; i < count; ++i) TRY(cursor.next());
  return cursor.finish();
}

std::optional<std::size_t> StoredNames::find(std::string_view name) const {
  // The block whose first name is the last one that is not above `name`.
  std::size_t low = 0;
  std::size_t high = blocks.size() / sizeof(std::uint32_t);
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (first_name(*this, middle) <= name) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return std::nullopt;
  NamesCursor cursor(*this, low - 1);
  for (std::size_t i = (low - 1) * names_a_block; i < std::min(low * names_a_block, count); ++i) {
    CHECK(cursor.next().has_value(), "names that were checked");
    if (cursor.name() == name) return i;
  }
  return std::nullopt;
}

std::string StoredNames::at(std::size_t index) const {
  CHECK(index < count, "name {} of {}", index, count);
  NamesCursor cursor(*this, index / names_a_block);
  for (std::size_t i = 0; i <= index % names_a_block; ++i) CHECK(cursor.next().has_value(), "names that were checked");
  return cursor.name();
}

}  // namespace holdfast::format

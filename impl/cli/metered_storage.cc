#include "impl/cli/metered_storage.h"

#include <algorithm>

namespace holdfast::cli {
namespace {

constexpr std::size_t part_bytes = std::size_t{16} << 20;

/// Calls move(pieces) for groups of pieces of about part_bytes, larger pieces being cut.
template <typename Piece, typename Move>
Status in_parts(std::span<const Piece> pieces, Progress& progress, Move move) {
  std::vector<Piece> group;
  std::size_t group_bytes = 0;
  const auto flush = [&]() -> Status {
    if (group.empty()) return {};
    TRY(move(std::span<const Piece>(group)));
    progress.add(group_bytes);
    group.clear();
    group_bytes = 0;
    return {};
  };
  for (const Piece& piece : pieces) {
    for (std::size_t at = 0; at < piece.bytes.size();) {
      const std::size_t bytes = std::min(piece.bytes.size() - at, part_bytes - group_bytes);
      group.push_back({piece.offset + at, piece.bytes.subspan(at, bytes), piece.owner});
      group_bytes += bytes;
      at += bytes;
      if (group_bytes == part_bytes) TRY(flush());
    }
  }
  return flush();
}

}  // namespace

Status MeteredStorage::write_all(port::FileId file, std::span<const port::WritePiece> pieces, port::Deadline deadline) {
  return in_parts(pieces, progress_, [&](std::span<const port::WritePiece> part) { return inner_->write_all(file, part, deadline); });
}

Status MeteredStorage::read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline deadline) {
  return in_parts(pieces, progress_, [&](std::span<const port::ReadPiece> part) { return inner_->read_all(file, part, deadline); });
}

}  // namespace holdfast::cli

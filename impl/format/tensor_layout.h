// How the tensors of a manifest are cut and where their chunks lie. Tensors share what is equal: shapes, meshes and cuts are entries of
// their own, and so is each layout, which refers to them by number. Private to impl/format.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "impl/core/chunk_set.h"
#include "impl/core/encoding.h"

namespace holdfast::format {

/// What one layout says.
struct PlacedChunks {
  Dims shape;
  ChunkSet chunks;
  std::vector<std::uint32_t> segments;  ///< as TensorRecord::segments
};

class LayoutsWriter {
 public:
  /// Gives the number of the layout. Requires: a segment a chunk, none for a mesh; what StoredLayouts::check() accepts.
  std::uint32_t add(const Dims& shape, const ChunkSet& chunks, std::span<const std::uint32_t> segments);

  /// Entries of one kind, numbered in the order in which they were first needed.
  class Table {
   public:
    std::uint32_t add(Bytes entry);
    std::uint32_t count() const { return static_cast<std::uint32_t>(starts_.size()); }
    const std::vector<std::uint32_t>& starts() const { return starts_; }
    const Bytes& entries() const { return entries_.bytes(); }

   private:
    std::map<Bytes, std::uint32_t> numbers_;
    std::vector<std::uint32_t> starts_;
    Encoder entries_;
  };
  const Table& shapes() const { return shapes_; }
  const Table& meshes() const { return meshes_; }
  const Table& cuts() const { return cuts_; }
  const Table& layouts() const { return layouts_; }

 private:
  Table shapes_, meshes_, cuts_, layouts_;
};

/// Views into a manifest.
struct StoredLayouts {
  ByteView starts;  ///< a u32 an entry: where it starts in `entries`
  ByteView entries;
  std::uint64_t shapes = 0, meshes = 0, cuts = 0, layouts = 0;  ///< entries of each kind, which stand in this order
  std::uint64_t segments = 0;                                   ///< of the manifest
  std::int32_t world_size = 0;

  /// Looks at every entry once. Errors: corrupt, among others for a mesh with ranks outside the world, for one that leaves replicas, and
  /// for one with more boxes a rank than there are segment numbers.
  Status check() const;
  /// Requires: entries that check() accepts.
  PlacedChunks layout(std::uint32_t number) const;
};

}  // namespace holdfast::format

// Who reads how much of which file, as parts that can be gone through again and again, however many ranks there are: what the header, the pictures and the
// estimate of a load are made of. Ranks that read the same of a tensor (its replicas) are one reader of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "impl/core/plan_values.h"
#include "reports/writes.h"

namespace holdfast::reports {

/// A read of fewer bytes is small: its cost is that of the call.
inline constexpr std::uint64_t small_read_bytes = 64 << 10;

/// A tensor as it is stored.
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;
  Dims shape;
  ChunkSet chunks;
  /// The file of each chunk by ChunkSet::for_each's order, as numbers of the names given to Reads. Empty: chunks of a mesh, in the segments of their holders.
  std::vector<std::uint32_t> files = {};
};

class Reads {
 public:
  struct Part {
    std::uint32_t reader = 0;  ///< position in readers()
    std::uint32_t file = 0;
    std::uint32_t tensor = 0;  ///< position in tensors()
    std::uint64_t needed = 0;  ///< bytes
    std::uint64_t spanned =
        0;  ///< bytes from the first to the last needed one of the chunk, stored row-major: the least one ranged read must fetch
  };

  /// `writers`: ranks that wrote; their segments are files number * writers + rank. `names`: names of the files by number, where chunks name them.
  Reads(std::size_t readers, std::size_t writers, std::vector<std::string> names = {})
      : ranks_(readers), writers_(writers), names_(std::move(names)) {}

  /// What the ranks of `wanted` read of a stored tensor. Elements of `wanted` beyond the stored shape are padding and are not read; their number is kept.
  /// Requires: a layout that check() accepts for so many readers, the same number of dimensions.
  void add_rule(const StoredTensor& stored, const MeshLayout& wanted, const Dims& wanted_shape);
  /// One item of a rank's plan: `needed` and `spanned` bytes of a chunk of `chunk` bytes.
  void add_item(std::size_t rank, const std::string& tensor, std::uint32_t file, std::uint64_t needed, std::uint64_t spanned,
                std::uint64_t chunk);

  std::size_t ranks() const { return ranks_; }
  std::size_t writers() const { return writers_; }
  const std::vector<std::string>& tensors() const { return tensors_; }
  /// Ranks that read the same parts, ascending.
  const std::vector<std::vector<std::uint32_t>>& readers() const { return readers_; }
  void for_each(const std::function<void(const Part&)>& visit) const;
  /// Every chunk that somebody reads, once.
  struct Chunk {
    std::uint32_t file = 0;
    std::uint32_t tensor = 0;
    std::uint64_t bytes = 0;
  };
  void for_each_chunk(const std::function<void(const Chunk&)>& visit) const;
  std::string file_name(std::uint32_t file) const;
  /// The rank that wrote a file; none for one of the names.
  std::optional<std::uint32_t> writer(std::uint32_t file) const;
  std::uint64_t padding_bytes() const { return padding_; }  ///< wanted by the ranks, and not stored

 private:
  /// What the readers of one layout read of tensors stored in one layout, wherever the two meshes start.
  struct Pattern {
    struct Part {
      std::uint32_t reader = 0;  ///< number of the distinct position
      std::uint32_t writer = 0;  ///< from the first rank of the stored mesh; a file's number where chunks name their files
      std::uint32_t number = 0;
      std::uint64_t needed = 0, spanned = 0;  ///< elements
    };
    struct Chunk {
      std::uint32_t writer = 0, number = 0;  ///< as of Part
      std::uint64_t elements = 0;
    };
    std::vector<Part> parts;
    std::vector<Chunk> chunks;
    std::uint64_t padding = 0;  ///< elements, over all ranks
  };
  struct Rule {
    std::uint32_t tensor = 0;
    std::uint32_t first_reader = 0;
    std::uint32_t first_writer = 0;
    bool by_holder = true;  ///< else chunks name their files
    std::uint64_t element_bytes = 1;
    const Pattern* pattern = nullptr;
  };
  static Pattern look_at(const StoredTensor& stored, const MeshLayout& wanted, const Dims& wanted_shape);
  const Pattern& pattern_of(const StoredTensor& stored, const MeshLayout& wanted, const Dims& wanted_shape);
  std::uint32_t file_number(const Rule& rule, std::uint32_t writer, std::uint32_t number) const;
  std::uint32_t readers_of(const MeshLayout& wanted);

  std::size_t ranks_;
  std::size_t writers_;
  std::vector<std::string> names_;
  std::vector<std::string> tensors_;
  std::map<std::string, std::uint32_t, std::less<>> tensor_numbers_;  ///< of add_item
  std::vector<std::vector<std::uint32_t>> readers_;
  std::map<std::string, std::uint32_t> reader_numbers_;
  std::map<std::string, Pattern> patterns_;
  std::vector<Rule> rules_;
  std::vector<Part> parts_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t>
      chunks_;  ///< of add_item: bytes by tensor and file (a file has one chunk of a tensor)
  std::uint64_t padding_ = 0;
};

/// Where each saved chunk and byte value lies.
using FileOf = std::map<MetadataIndex, std::string>;
/// Plans of all ranks, item by item. `plans[r]` is the plan of the loading rank r. Byte values, whose size the metadata does not know, are left out.
Reads reads_of(const std::vector<LoadPlan>& plans, const Metadata& saved, const FileOf& file_of);

/// The numbers of a load.
struct LoadSummary {
  std::vector<std::uint64_t> rank_bytes;  ///< that each rank needs
  std::vector<std::size_t> rank_files;    ///< that each rank reads
  std::uint64_t bytes_needed = 0;
  std::uint64_t bytes_spanned = 0;
  std::uint64_t bytes_stored = 0;  ///< of the saved chunks that are read at all, each once
  double amplification = 1;        ///< spanned / needed
  Spread spread;                   ///< of rank_bytes
  std::uint64_t reads = 0;         ///< ranged reads of all ranks, one a chunk and box
  std::uint64_t reads_small = 0;   ///< of them, those that span fewer than small_read_bytes
  std::size_t files = 0;           ///< that are read
  std::size_t files_a_rank_max = 0;
  struct File {
    std::string name;
    std::uint64_t needed = 0;  ///< by all ranks
    std::size_t ranks = 0;     ///< that read it
  };
  File hottest;  ///< the file of which most is needed; of equals the first
};
LoadSummary summarise(const Reads& reads);

}  // namespace holdfast::reports

// The segments that a rank loads from, and what it wants of each: from blocks in memory to parts of items.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "impl/port/env.h"
#include "impl/protocol/planner.h"
#include "impl/protocol/read_plan.h"
#include "impl/protocol/segment_file.h"

namespace holdfast::protocol {

/// Filled by one task; then read by any.
class SegmentSources {
 public:
  SegmentSources(const port::Env& env, std::string directory) : storage_(env.storage), directory_(std::move(directory)) {}

  /// An item and the chunk that it is read from. Item and metadata live as long as this is used.
  struct Want {
    const ReadItem* item;
    const TensorMetadata* tensor;
    Box chunk;
  };
  /// Opens a segment, of which `wants` are wanted. Errors: corrupt also when it does not hold what is wanted.
  Status add(const format::SegmentRecord& segment, std::vector<Want> wants, port::Deadline deadline);

  std::size_t count() const { return sources_.size(); }
  const SegmentFile& file(std::size_t source) const { return sources_[source].file; }
  std::uint64_t bytes_needed() const { return bytes_needed_; }  ///< of all items
  /// By number of the segment's blocks.
  std::vector<bool> wanted_blocks(std::size_t source) const;
  /// The source that holds a chunk of which something is wanted, and the number of its tensor there.
  struct Place {
    std::size_t source = 0, tensor = 0;
  };
  std::map<MetadataIndex, Place> places() const;

  /// Whether the blocks of a run that lies at `memory` are as they were written. Errors: corrupt.
  Status check(std::size_t source, const ReadPlan::Run& run, const std::byte* memory) const;

  /// The parts of wants, by number of source and want.
  using Parts = std::map<std::pair<std::size_t, std::size_t>, std::vector<LoadPlanner::Part>>;
  /// What a run, which lies at `memory`, holds of the items. A block may end within an element: the elements that a run holds in part are none that an item wants of it.
  void append_parts(std::size_t source, const ReadPlan::Run& run, std::byte* memory, Parts& parts) const;
  Status hand_over(const Parts& parts, const std::shared_ptr<const void>& owner, LoadPlanner& planner) const;
  /// Items without elements are in no block.
  Status hand_over_empty(LoadPlanner& planner) const;

 private:
  struct Source {
    SegmentFile file;
    std::vector<Want> wants;
    std::multimap<std::size_t, std::size_t> wants_of;  ///< of a tensor of the segment's layout
  };

  port::Storage& storage_;
  std::string directory_;
  std::deque<Source> sources_;
  std::uint64_t bytes_needed_ = 0;
};

}  // namespace holdfast::protocol

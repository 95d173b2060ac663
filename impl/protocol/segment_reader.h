// The storage reader that load uses: reads the blocks a rank needs from the segments of one attempt, each block once, and verifies every block
// before a byte of it is used.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "impl/port/env.h"
#include "impl/protocol/storage_io.h"

namespace holdfast::protocol {

class SegmentReader : public StorageReader {
 public:
  SegmentReader(const port::Env& env, std::string directory) : env_(env), directory_(std::move(directory)) {}

  Result<Metadata> read_metadata(const Role& role) override;
  Status set_up_storage_reader(const Metadata& metadata, const Role& role) override;
  Result<LoadPlan> prepare_local_plan(LoadPlan plan) override;
  Result<std::vector<LoadPlan>> prepare_global_plan(std::vector<LoadPlan> plans) override;
  Result<port::Future<void>> read_data(LoadPlan plan, std::shared_ptr<LoadPlanner> planner) override;

  struct Volume {
    std::uint64_t bytes_needed = 0;  ///< of the items
    std::uint64_t bytes_read = 0;    ///< of data blocks; whole blocks, so that they can be verified
  };
  const Volume& volume() const { return volume_; }

 private:
  using Records = std::map<std::string_view, format::TensorRecord>;  ///< of the tensors of a plan, each taken from the manifest once
  /// An item, its chunk, and where that starts in the data area of a segment, once the segment is open.
  struct Want {
    const ReadItem* item;
    const TensorMetadata* tensor;
    Box chunk;
    std::uint32_t element_bytes;
    std::uint64_t chunk_offset = 0;
  };
  Status read(const LoadPlan& plan, LoadPlanner& planner);
  Status read_segment(std::uint32_t number, std::vector<Want>& wants, LoadPlanner& planner);
  Status read_value(const ReadItem& item, LoadPlanner& planner);
  Result<Want> locate(const ReadItem& item, Records& records, std::uint32_t& segment) const;

  port::Env env_;
  std::string directory_;
  Role role_;
  std::optional<format::ManifestReader> manifest_;
  Volume volume_;
};

}  // namespace holdfast::protocol

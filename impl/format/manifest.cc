// Writes manifests. The reader is manifest_reader.cc; both follow manifest_layout.h.
#include "impl/format/manifest.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/encoding.h"
#include "impl/format/manifest_layout.h"
#include "impl/format/safetensors.h"
#include "impl/format/segment.h"
#include "impl/format/stored_names.h"
#include "impl/format/tensor_layout.h"

namespace holdfast::format {
namespace {

namespace at = manifest_layout;

static_assert(header_pages_max * segment_alignment > safetensors_header_bytes_max);

void put_digest(Encoder& out, const BlockDigest& digest) {
  out.u64(digest.low);
  out.u64(digest.high);
}

/// There can be hundreds of thousands: each is stored in place.
Bytes segment_records(const Manifest& manifest) {
  Bytes records(manifest.segments.size() * at::segment::bytes);
  for (std::size_t i = 0; i < manifest.segments.size(); ++i) {
    const SegmentRecord& segment = manifest.segments[i];
    const std::uint64_t pages = segment.header_bytes / segment_alignment;
    CHECK(i == 0 || manifest.segments[i - 1].id < segment.id, "segment {} out of order", i);
    CHECK(segment.id.rank.value >= 0 && segment.id.rank.value < manifest.world_size, "a segment of rank {}", segment.id.rank);
    CHECK(pages * segment_alignment == segment.header_bytes && pages >= 1 && pages <= header_pages_max &&
              segment.header_bytes <= segment.file_bytes,
          "segment {}: {} header bytes of {}", i, segment.header_bytes, segment.file_bytes);
    const ByteSpan record = ByteSpan(records).subspan(i * at::segment::bytes, at::segment::bytes);
    at::store(record, at::segment::rank_at, static_cast<std::uint32_t>(segment.id.rank.value));
    at::store(record, at::segment::number_at, segment.id.number);
    at::store(record, at::segment::header_pages_at, static_cast<std::uint16_t>(pages));
    at::store(record, at::segment::file_bytes_at, segment.file_bytes);
    at::store(record, at::segment::digest_at, segment.header_digest.low);
    at::store(record, at::segment::digest_at + 8, segment.header_digest.high);
  }
  return records;
}

/// The tables that grow with tensors and byte values.
struct Tables {
  Encoder tensors, values;
  NamesWriter tensor_names, value_names;
  LayoutsWriter layouts;

  void add(const std::string& name, const TensorRecord& tensor) {
    tensor_names.add(name);
    for (const std::uint64_t lane : tensor.digest.lanes) tensors.u64(lane);
    const std::uint32_t layout = layouts.add(tensor.metadata.shape, tensor.metadata.chunks, tensor.segments);
    CHECK(layout < at::tensor::layouts_max, "{} layouts", layout);
    tensors.u32(layout + at::tensor::layouts_max * static_cast<std::uint32_t>(tensor.metadata.dtype));
  }
  void add(const std::string& name, const BytesRecord& value) {
    value_names.add(name);
    values.u32(static_cast<std::uint32_t>(value.rank.value));
    values.u32(value.number);
    values.u64(value.bytes);
    put_digest(values, value.digest);
  }
};

void put_fixed(Encoder& out, const Manifest& manifest, const Tables& tables) {
  const LayoutsWriter& layouts = tables.layouts;
  out.raw(as_bytes(at::magic));
  out.u32(manifest_version);
  out.u32(manifest.attempt);
  out.u64(static_cast<std::uint64_t>(manifest.step.value));
  out.u64(manifest.sequence);
  out.u32(static_cast<std::uint32_t>(manifest.world_size));
  out.u32(manifest.block_bytes);
  out.u32(at::size32(manifest.segments.size()));
  out.u32(at::size32(manifest.tensors.size()));
  out.u32(at::size32(manifest.bytes.size()));
  std::size_t layouts_bytes = 0;
  for (const LayoutsWriter::Table* table : {&layouts.shapes(), &layouts.meshes(), &layouts.cuts(), &layouts.layouts()}) {
    out.u32(table->count());
    layouts_bytes += table->entries().size();
  }
  out.u32(at::size32(layouts_bytes));
  out.u32(at::size32(tables.tensor_names.entries().size()));
  out.u32(at::size32(tables.value_names.entries().size()));
  out.u32(at::size32(manifest.parent.size()));
  out.u32(at::size32(manifest.planner_data.size()));
}

void put_layouts(Encoder& out, const LayoutsWriter& layouts) {
  const auto tables = {&layouts.shapes(), &layouts.meshes(), &layouts.cuts(), &layouts.layouts()};
  std::uint32_t base = 0;
  for (const LayoutsWriter::Table* table : tables) {
    for (const std::uint32_t start : table->starts()) out.u32(base + start);
    base += static_cast<std::uint32_t>(table->entries().size());
  }
  for (const LayoutsWriter::Table* table : tables) out.raw(table->entries());
}

}  // namespace

Bytes encode_manifest(const Manifest& manifest) {
  CHECK(manifest.step.value >= 0 && manifest.world_size >= 1 && manifest.world_size <= world_size_max && manifest.block_bytes != 0,
        "step {}, world size {}, block bytes {}", manifest.step, manifest.world_size, manifest.block_bytes);
  CHECK(manifest.parent.empty() || is_directory_name(manifest.parent), "parent \"{}\"", manifest.parent);
  Tables tables;
  for (const auto& [name, tensor] : manifest.tensors) tables.add(name, tensor);
  for (const auto& [name, value] : manifest.bytes) {
    CHECK(!manifest.tensors.contains(name), "\"{}\" is a tensor and a byte value", name);
    tables.add(name, value);
  }
  Encoder out;
  put_fixed(out, manifest, tables);
  out.raw(segment_records(manifest));
  out.raw(tables.tensors.bytes());
  out.raw(tables.values.bytes());
  out.raw(tables.tensor_names.blocks());
  out.raw(tables.value_names.blocks());
  put_layouts(out, tables.layouts);
  out.raw(tables.tensor_names.entries());
  out.raw(tables.value_names.entries());
  out.raw(as_bytes(manifest.parent));
  out.raw(manifest.planner_data);
  put_digest(out, block_digest(out.bytes()));
  return out.take();
}

std::optional<std::uint32_t> Manifest::find_segment(SegmentId id) const {
  const auto found = std::ranges::lower_bound(segments, id, {}, &SegmentRecord::id);
  if (found == segments.end() || found->id != id) return std::nullopt;
  return static_cast<std::uint32_t>(found - segments.begin());
}

}  // namespace holdfast::format

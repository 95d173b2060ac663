// Writes manifests. The reader is manifest_reader.cc; both follow manifest_layout.h.
#include "impl/format/manifest.h"

#include <limits>

#include "impl/core/check.h"
#include "impl/core/encoding.h"
#include "impl/format/manifest_layout.h"
#include "impl/format/path.h"
#include "impl/format/tensor_layout.h"

namespace holdfast::format {
namespace {

namespace at = manifest_layout;

/// Text is laid down in the order in which records refer to it.
class TextPart {
 public:
  /// Appends `text` and gives its offset.
  std::uint32_t add(std::string_view text) {
    const std::size_t offset = text_.size();
    text_ += text;
    CHECK(text_.size() <= std::numeric_limits<std::uint32_t>::max(), "a manifest with over 4 GiB of names");
    return static_cast<std::uint32_t>(offset);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::uint32_t size32(std::size_t size) {
  CHECK(size <= std::numeric_limits<std::uint32_t>::max(), "{} things in a manifest", size);
  return static_cast<std::uint32_t>(size);
}

void put_text(Encoder& out, TextPart& texts, std::string_view text) {
  out.u32(texts.add(text));
  out.u32(size32(text.size()));
}

void put_digest(Encoder& out, const BlockDigest& digest) {
  out.u64(digest.low);
  out.u64(digest.high);
}

void put_segment(Encoder& out, TextPart& texts, const SegmentRecord& segment) {
  CHECK(stays_inside(segment.path), "segment path \"{}\"", segment.path);
  CHECK(segment.header_bytes <= segment.file_bytes, "segment \"{}\": {} header bytes of {}", segment.path, segment.header_bytes,
        segment.file_bytes);
  if (const auto name = parse_segment_name(segment.path)) {
    out.u32(name->rank);
    out.u32(name->number);
    out.u32(0);
  } else {
    out.u32(0);
    put_text(out, texts, segment.path);
  }
  out.u32(size32(segment.header_bytes));
  out.u64(segment.file_bytes);
  put_digest(out, segment.header_digest);
}

}  // namespace

std::string segment_name(Rank rank, std::uint32_t number) { return fmt::format("segment-{:05}-{:03}.safetensors", rank, number); }

Bytes encode_manifest(const Manifest& manifest) {
  CHECK(manifest.step.value >= 0 && manifest.world_size >= 1 && manifest.block_bytes != 0, "step {}, world size {}, block bytes {}",
        manifest.step, manifest.world_size, manifest.block_bytes);
  CHECK(manifest.parent.empty() || stays_inside(manifest.parent), "parent \"{}\"", manifest.parent);
  TextPart texts;
  Encoder records, locations, layouts;
  std::uint64_t chunks = 0;
  texts.add(manifest.parent);
  for (const SegmentRecord& segment : manifest.segments) put_segment(records, texts, segment);
  for (const auto& [name, tensor] : manifest.tensors) {
    CHECK(tensor.locations.size() == tensor.metadata.chunks.size(), "tensor \"{}\": {} locations for {} chunks", name,
          tensor.locations.size(), tensor.metadata.chunks.size());
    CHECK(!manifest.bytes.contains(name), "\"{}\" is a tensor and a byte value", name);
    put_text(records, texts, name);
    records.u64(layouts.size());
    records.u64(chunks);
    for (const std::uint64_t lane : tensor.digest.lanes) records.u64(lane);
    put_layout(layouts, tensor.metadata);
    for (const ChunkLocation& location : tensor.locations) {
      CHECK(location.segment < manifest.segments.size(), "tensor \"{}\": segment {} of {}", name, location.segment,
            manifest.segments.size());
      locations.u32(location.segment);
      locations.u64(location.offset);
    }
    chunks += tensor.locations.size();
  }
  for (const auto& [name, value] : manifest.bytes) {
    CHECK(stays_inside(value.path), "path \"{}\" of byte value \"{}\"", value.path, name);
    put_text(records, texts, name);
    put_text(records, texts, value.path);
    records.u64(value.bytes);
    put_digest(records, value.digest);
  }

  Encoder out;
  out.raw(as_bytes(at::magic));
  out.u32(manifest_version);
  out.u32(manifest.attempt);
  out.u64(static_cast<std::uint64_t>(manifest.step.value));
  out.u64(manifest.sequence);
  out.u32(static_cast<std::uint32_t>(manifest.world_size));
  out.u32(manifest.block_bytes);
  out.u32(size32(manifest.segments.size()));
  out.u32(size32(manifest.tensors.size()));
  out.u32(size32(manifest.bytes.size()));
  out.u32(size32(manifest.parent.size()));
  out.u64(chunks);
  out.u64(layouts.size());
  out.u64(texts.text().size());
  out.u64(manifest.planner_data.size());
  for (const Encoder* part : {&records, &locations, &layouts}) out.raw(part->bytes());
  out.raw(as_bytes(texts.text()));
  out.raw(manifest.planner_data);
  put_digest(out, block_digest(out.bytes()));
  return out.take();
}

}  // namespace holdfast::format

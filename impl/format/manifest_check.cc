// What ManifestReader::open checks, so that no accessor (manifest_reader.cc) has to.
#include "impl/core/mutate.h"
#include "impl/format/manifest.h"
#include "impl/format/manifest_layout.h"
#include "impl/format/segment.h"
#include "impl/format/stored_names.h"
#include "impl/format/tensor_layout.h"

namespace holdfast::format {

namespace at = manifest_layout;

/// Part by part.
class ManifestChecker {
 public:
  explicit ManifestChecker(ManifestReader& reader) : in_(reader), bytes_(reader.bytes_.view()) {}

  Status check() {
    TRY(check_digest());
    TRY(find_parts());
    TRY(check_fixed());
    TRY(check_segments());
    if (const Status sound = in_.tensor_names().check(); !sound) return fail(within(sound.error(), "tensors"));
    if (const Status sound = in_.value_names().check(); !sound) return fail(within(sound.error(), "byte values"));
    TRY(check_names_apart());
    TRY(in_.layouts().check());
    TRY(check_tensors());
    return check_values();
  }

 private:
  std::uint16_t u16(std::uint64_t offset) const { return at::load<std::uint16_t>(bytes_, offset); }
  std::uint32_t u32(std::uint64_t offset) const { return at::load<std::uint32_t>(bytes_, offset); }
  std::uint64_t u64(std::uint64_t offset) const { return at::load<std::uint64_t>(bytes_, offset); }

  Status check_digest() {
    if (bytes_.size() < at::version_at + 4) return fail(ErrorCode::corrupt, "{} bytes, too short for a manifest", bytes_.size());
    if (as_text(bytes_.first(at::magic.size())) != at::magic)
      return fail(ErrorCode::corrupt, "no manifest: it does not begin with {}", at::magic);
    if (const std::uint32_t version = u32(at::version_at); version != manifest_version) {
      return fail(ErrorCode::unsupported, "format version {}, this program reads version {}", version, manifest_version);
    }
    if (bytes_.size() < at::fixed_bytes + at::digest_bytes)
      return fail(ErrorCode::corrupt, "{} bytes, too short for a manifest", bytes_.size());
    in_.at_.digest = bytes_.size() - at::digest_bytes;
    const BlockDigest found = block_digest(bytes_.first(in_.at_.digest));
    const BlockDigest said = in_.block_digest_at(in_.at_.digest);
    if (MUTATE("format.manifest_digest_unchecked", found != said, false)) {
      return fail(ErrorCode::corrupt, "the bytes have digest {}, the last 16 say {}", to_string(found), to_string(said));
    }
    return {};
  }

  /// No sum overflows: 17 numbers below 2^32, each times at most 32.
  Status find_parts() {
    std::uint64_t cursor = at::fixed_bytes;
    const auto part = [&](std::uint64_t bytes) {
      const std::uint64_t start = cursor;
      cursor += bytes;
      return start;
    };
    const auto blocks = [&](std::uint64_t names) { return (names + names_a_block - 1) / names_a_block * sizeof(std::uint32_t); };
    ManifestReader::Parts& parts = in_.at_;
    const std::uint64_t tensors = u32(at::tensors_count_at);
    const std::uint64_t values = u32(at::values_count_at);
    std::uint64_t entries = 0;
    for (const std::uint64_t count : {at::shapes_count_at, at::meshes_count_at, at::cuts_count_at, at::layouts_count_at})
      entries += u32(count);
    part(u32(at::segments_count_at) * at::segment::bytes);
    parts.tensors = part(tensors * at::tensor::bytes);
    parts.values = part(values * at::value::bytes);
    parts.tensor_blocks = part(blocks(tensors));
    parts.value_blocks = part(blocks(values));
    parts.layout_starts = part(entries * sizeof(std::uint32_t));
    parts.layouts = part(u32(at::layouts_bytes_at));
    parts.tensor_names = part(u32(at::tensor_names_bytes_at));
    parts.value_names = part(u32(at::value_names_bytes_at));
    parts.parent = part(u32(at::parent_bytes_at));
    parts.planner_data = part(u32(at::planner_bytes_at));
    if (cursor != parts.digest) {
      return fail(ErrorCode::corrupt, "its parts add up to {} bytes, it has {}", cursor + at::digest_bytes, bytes_.size());
    }
    return {};
  }

  Status check_fixed() const {
    if (in_.step().value < 0) return fail(ErrorCode::corrupt, "step {}", in_.step());
    if (const std::uint32_t ranks = u32(at::world_size_at); ranks < 1 || ranks > static_cast<std::uint32_t>(world_size_max)) {
      return fail(ErrorCode::corrupt, "world size {}, expected 1 to {}", ranks, world_size_max);
    }
    if (in_.block_bytes() == 0) return fail(ErrorCode::corrupt, "blocks of 0 bytes");
    if (!in_.parent().empty() && !is_directory_name(in_.parent())) return fail(ErrorCode::corrupt, "parent \"{}\"", in_.parent());
    return {};
  }

  Status check_rank(std::uint32_t rank, std::string_view whose) const {
    if (rank < u32(at::world_size_at)) return {};
    return fail(ErrorCode::corrupt, "a {} of rank {} of {}", whose, rank, in_.world_size());
  }

  Status check_segments() const {
    for (std::size_t i = 0; i < in_.segment_count(); ++i) {
      const std::uint64_t record = at::fixed_bytes + i * at::segment::bytes;
      TRY(check_rank(u32(record + at::segment::rank_at), "segment"));
      if (i != 0 && !(in_.segment_id(i - 1) < in_.segment_id(i))) {
        return fail(ErrorCode::corrupt, "{} twice or out of order", segment_name(in_.segment_id(i)));
      }
      const std::uint64_t header_bytes = u16(record + at::segment::header_pages_at) * segment_alignment;
      const std::uint64_t file_bytes = u64(record + at::segment::file_bytes_at);
      if (header_bytes == 0 || header_bytes > file_bytes) {
        return fail(ErrorCode::corrupt, "{}: {} bytes with a header of {}", segment_name(in_.segment_id(i)), file_bytes, header_bytes);
      }
    }
    return {};
  }

  Status check_tensors() const {
    std::uint64_t used = 0;
    for (std::size_t i = 0; i < in_.tensor_count(); ++i) {
      const std::uint32_t packed = u32(in_.at_.tensors + i * at::tensor::bytes + at::tensor::layout_at);
      const std::uint32_t layout = packed % at::tensor::layouts_max;
      const auto code = static_cast<std::uint8_t>(packed / at::tensor::layouts_max);
      if (!dtype_from_code(code)) return fail(ErrorCode::corrupt, "tensor \"{}\": dtype code {}", in_.tensor_name(i), code);
      if (layout > used || layout >= u32(at::layouts_count_at)) {
        return fail(ErrorCode::corrupt, "tensor \"{}\": layout {} of {}, before {}", in_.tensor_name(i), layout, u32(at::layouts_count_at),
                    used);
      }
      if (layout == used) ++used;
    }
    if (used != u32(at::layouts_count_at)) return fail(ErrorCode::corrupt, "{} of {} layouts are used", used, u32(at::layouts_count_at));
    return {};
  }

  Status check_values() const {
    for (std::size_t i = 0; i < in_.bytes_count(); ++i) TRY(check_rank(u32(in_.at_.values + i * at::value::bytes), "byte value"));
    return {};
  }

  Status check_names_apart() const {
    if (in_.tensor_count() == 0 || in_.bytes_count() == 0) return {};
    const StoredNames tensor_names = in_.tensor_names();
    const StoredNames value_names = in_.value_names();
    NamesCursor tensors(tensor_names);
    NamesCursor values(value_names);
    TRY(tensors.next());
    TRY(values.next());
    for (std::size_t t = 1, v = 1;;) {
      const auto order = tensors.name() <=> values.name();
      if (order == 0) return fail(ErrorCode::corrupt, "\"{}\" is a tensor and a byte value", tensors.name());
      if (order < 0 ? t++ == tensor_names.count : v++ == value_names.count) return {};
      TRY(order < 0 ? tensors.next() : values.next());
    }
  }

  ManifestReader& in_;
  ByteView bytes_;
};

Result<ManifestReader> ManifestReader::open(SharedBytes bytes, std::string_view path) {
  ManifestReader reader(std::move(bytes), path);
  const Status checked = ManifestChecker(reader).check();
  if (!checked) return fail(within(checked.error(), "manifest \"{}\"", path));
  return reader;
}

}  // namespace holdfast::format

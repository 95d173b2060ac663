// What ManifestReader::open checks, so that no accessor (manifest_reader.cc) has to.
#include <limits>

#include "impl/core/mutate.h"
#include "impl/format/manifest.h"
#include "impl/format/manifest_layout.h"
#include "impl/format/path.h"
#include "impl/format/tensor_layout.h"

namespace holdfast::format {

namespace at = manifest_layout;

/// Table by table, in the order of the file. The cursors are where the next entry has to begin.
class ManifestChecker {
 public:
  explicit ManifestChecker(ManifestReader& reader) : in_(reader), bytes_(reader.bytes_.view()) {}

  Status check() {
    TRY(check_digest());
    TRY(find_parts());
    TRY(check_fixed());
    TRY(take_text(0, u32(at::parent_bytes_at), "the parent"));
    if (!in_.parent().empty() && !stays_inside(in_.parent())) return fail(ErrorCode::corrupt, "parent \"{}\"", in_.parent());
    for (std::size_t i = 0; i < in_.segment_count(); ++i) TRY(check_segment(at::fixed_bytes + i * at::record_bytes));
    for (std::size_t i = 0; i < in_.tensor_count(); ++i) TRY(check_tensor(i));
    for (std::size_t i = 0; i < in_.bytes_count(); ++i) TRY(check_value(i));
    if (next_text_ != in_.planner_at_ - in_.text_at_) return fail(ErrorCode::corrupt, "text that nothing refers to");
    if (next_layout_ != in_.text_at_ - in_.layouts_at_) return fail(ErrorCode::corrupt, "a layout that no tensor has");
    if (next_chunk_ != u64(at::chunks_count_at)) return fail(ErrorCode::corrupt, "a location that no chunk has");
    TRY(check_names_apart());
    return check_locations();
  }

 private:
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
    in_.end_ = bytes_.size() - at::digest_bytes;
    const BlockDigest found = block_digest(bytes_.first(in_.end_));
    const BlockDigest said = in_.block_digest_at(in_.end_);
    if (MUTATE("format.manifest_digest_unchecked", found != said, false)) {
      return fail(ErrorCode::corrupt, "the bytes have digest {}, the last 16 say {}", to_string(found), to_string(said));
    }
    return {};
  }

  Status find_parts() {
    std::uint64_t left = in_.end_ - at::fixed_bytes;
    std::uint64_t cursor = at::fixed_bytes;
    const auto part = [&](std::uint64_t count, std::uint64_t bytes_each) {
      if (count > left / bytes_each) return false;
      left -= count * bytes_each;
      cursor += count * bytes_each;
      return true;
    };
    const auto part_from = [&](std::uint64_t& start, std::uint64_t count, std::uint64_t bytes_each) {
      start = cursor;
      return part(count, bytes_each);
    };
    const bool fit = part(u32(at::segments_count_at), at::record_bytes) &&
                     part_from(in_.tensors_at_, u32(at::tensors_count_at), at::record_bytes) &&
                     part_from(in_.values_at_, u32(at::values_count_at), at::record_bytes) &&
                     part_from(in_.locations_at_, u64(at::chunks_count_at), at::location_bytes) &&
                     part_from(in_.layouts_at_, u64(at::layouts_bytes_at), 1) && part_from(in_.text_at_, u64(at::text_bytes_at), 1) &&
                     part_from(in_.planner_at_, u64(at::planner_bytes_at), 1);
    if (!fit || left != 0) return fail(ErrorCode::corrupt, "its parts do not add up to its {} bytes", bytes_.size());
    return {};
  }

  Status check_fixed() const {
    if (in_.step().value < 0) return fail(ErrorCode::corrupt, "step {}", in_.step());
    if (in_.world_size() < 1) return fail(ErrorCode::corrupt, "world size {}", in_.world_size());
    if (in_.block_bytes() == 0) return fail(ErrorCode::corrupt, "blocks of 0 bytes");
    return {};
  }

  /// Every text reference begins where the one before it ends, so that each byte of the part has one meaning.
  Status take_text(std::uint64_t offset, std::uint64_t size, std::string_view whose) {
    const std::uint64_t part = in_.planner_at_ - in_.text_at_;
    if (offset != next_text_ || size > part - offset) {
      return fail(ErrorCode::corrupt, "the text of {} is said to be {}+{}, expected it at {} of {}", whose, offset, size, next_text_, part);
    }
    next_text_ += size;
    return {};
  }

  Status check_segment(std::uint64_t record) {
    const std::uint32_t path_bytes = u32(record + at::segment::path_bytes_at);
    if (path_bytes == 0) {
      const std::uint32_t rank = u32(record + at::segment::rank_at);
      if (rank > static_cast<std::uint32_t>(std::numeric_limits<std::int32_t>::max()))
        return fail(ErrorCode::corrupt, "a segment of rank {}", rank);
    } else {
      TRY(take_text(u32(record + at::segment::number_at), path_bytes, "a segment path"));
      const std::string_view path = in_.text(record + at::segment::number_at);
      if (u32(record + at::segment::rank_at) != 0 || !stays_inside(path) || parse_segment_name(path)) {
        return fail(ErrorCode::corrupt, "segment path \"{}\"", path);
      }
    }
    if (u32(record + at::segment::header_bytes_at) > u64(record + at::segment::file_bytes_at)) {
      return fail(ErrorCode::corrupt, "a segment that is shorter than its header");
    }
    return {};
  }

  Status check_tensor(std::size_t tensor) {
    const std::uint64_t record = in_.tensors_at_ + tensor * at::record_bytes;
    TRY(take_text(u32(record + at::tensor::name_at), u32(record + at::tensor::name_at + 4), "a tensor name"));
    const std::string_view name = in_.tensor_name(tensor);
    if (tensor != 0 && !(in_.tensor_name(tensor - 1) < name)) return fail(ErrorCode::corrupt, "tensor \"{}\" twice or out of order", name);
    const std::uint64_t next = in_.first_chunk(tensor + 1);
    if (in_.first_chunk(tensor) != next_chunk_ || next < next_chunk_ || next > u64(at::chunks_count_at)) {
      return fail(ErrorCode::corrupt, "tensor \"{}\": chunks [{}, {})", name, in_.first_chunk(tensor), next);
    }
    if (u64(record + at::tensor::layout_at) != next_layout_) return fail(ErrorCode::corrupt, "tensor \"{}\": no layout of its own", name);
    Decoder layout(bytes_.subspan(in_.layouts_at_ + next_layout_, in_.text_at_ - in_.layouts_at_ - next_layout_), "layout");
    if (const Status sound = check_layout(layout, next - next_chunk_); !sound) return fail(within(sound.error(), "tensor \"{}\"", name));
    next_layout_ += layout.offset();
    next_chunk_ = next;
    return {};
  }

  Status check_value(std::size_t index) {
    const std::uint64_t record = in_.values_at_ + index * at::record_bytes;
    for (const std::uint64_t reference : {record + at::value::name_at, record + at::value::path_at}) {
      TRY(take_text(u32(reference), u32(reference + 4), "a byte value"));
    }
    const std::string_view name = in_.bytes_name(index);
    if (index != 0 && !(in_.bytes_name(index - 1) < name)) return fail(ErrorCode::corrupt, "byte value \"{}\" twice or out of order", name);
    const std::string_view path = in_.text(record + at::value::path_at);
    if (!stays_inside(path)) return fail(ErrorCode::corrupt, "path \"{}\" of byte value \"{}\" leaves the directory", path, name);
    return {};
  }

  Status check_names_apart() const {
    for (std::size_t t = 0, v = 0; t < in_.tensor_count() && v < in_.bytes_count();) {
      const auto order = in_.tensor_name(t) <=> in_.bytes_name(v);
      if (order == 0) return fail(ErrorCode::corrupt, "\"{}\" is a tensor and a byte value", in_.tensor_name(t));
      ++(order < 0 ? t : v);
    }
    return {};
  }

  Status check_locations() const {
    for (std::uint64_t chunk = 0; chunk < next_chunk_; ++chunk) {
      const std::uint64_t place = in_.locations_at_ + chunk * at::location_bytes;
      const std::uint32_t segment = u32(place);
      if (segment >= in_.segment_count()) return fail(ErrorCode::corrupt, "a chunk in segment {} of {}", segment, in_.segment_count());
      const std::uint64_t record = at::fixed_bytes + segment * at::record_bytes;
      const std::uint64_t data = u64(record + at::segment::file_bytes_at) - u32(record + at::segment::header_bytes_at);
      if (u64(place + 4) > data) return fail(ErrorCode::corrupt, "a chunk at {} of {} bytes of segment {}", u64(place + 4), data, segment);
    }
    return {};
  }

  ManifestReader& in_;
  ByteView bytes_;
  std::uint64_t next_text_ = 0, next_layout_ = 0, next_chunk_ = 0;
};

Result<ManifestReader> ManifestReader::open(SharedBytes bytes, std::string_view path) {
  ManifestReader reader(std::move(bytes), path);
  const Status checked = ManifestChecker(reader).check();
  if (!checked) return fail(within(checked.error(), "manifest \"{}\"", path));
  return reader;
}

}  // namespace holdfast::format

#include "impl/backend/tcp/frame.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

#include "impl/core/check.h"
#include "impl/core/encoding.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr std::uint32_t magic = 0x72664648;  // "HFfr"
constexpr std::uint8_t version = 1;
constexpr std::size_t summed_bytes = frame_head_bytes - sizeof(std::uint64_t);

std::string name_of(port::Tag tag) { return fmt::format("frame (channel {}, sequence {})", tag.channel, tag.sequence); }

}  // namespace

FrameHead frame_head(FrameKind kind, port::Tag tag, ByteView payload) {
  CHECK(payload.size() <= std::numeric_limits<std::uint32_t>::max(), "a frame of {} bytes", payload.size());
  const BlockDigest digest = block_digest(payload);
  Encoder out;
  out.u32(magic);
  out.u8(version);
  out.u8(static_cast<std::uint8_t>(kind));
  out.u8(0);
  out.u8(0);
  out.u32(tag.channel);
  out.u64(tag.sequence);
  out.u32(static_cast<std::uint32_t>(payload.size()));
  out.u64(digest.low);
  out.u64(digest.high);
  out.u64(block_digest(out.bytes()).low);
  FrameHead head;
  CHECK(out.size() == head.size(), "a head of {} bytes", out.size());
  std::ranges::copy(out.bytes(), head.begin());
  return head;
}

ByteSpan FrameReader::space(ByteSpan scratch) {
  const ByteSpan missing = ByteSpan(payload_).subspan(payload_bytes_);
  return missing.size() >= scratch.size() ? missing : scratch;
}

Status FrameReader::received(ByteView bytes, std::vector<Frame>& frames) {
  while (!bytes.empty()) {
    std::byte* const to = announced_ ? payload_.data() + payload_bytes_ : head_.data() + head_bytes_;
    const std::size_t wanted = announced_ ? payload_.size() - payload_bytes_ : head_.size() - head_bytes_;
    const std::size_t taken = std::min(wanted, bytes.size());
    if (to != bytes.data()) std::memcpy(to, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    (announced_ ? payload_bytes_ : head_bytes_) += taken;
    if (taken < wanted) break;
    if (!announced_) TRY(open_head());
    if (announced_ && payload_bytes_ == payload_.size()) TRY(close_frame(frames));
  }
  return {};
}

/// Reads the head that is whole now.
Status FrameReader::open_head() {
  Decoder in(head_, "frame head");
  const std::uint32_t found_magic = TRY(in.u32());
  if (found_magic != magic) return fail(ErrorCode::corrupt, "frame head: it begins with {:08x}; expected {:08x}", found_magic, magic);
  const std::uint8_t found_version = TRY(in.u8());
  if (found_version != version) return fail(ErrorCode::corrupt, "frame head: version {}; expected {}", found_version, version);
  const std::uint64_t sum = block_digest(ByteView(head_).first(summed_bytes)).low;
  const auto kind = static_cast<FrameKind>(TRY(in.u8()));
  const ByteView zeros = TRY(in.raw(2));
  Announced announced;
  announced.kind = kind;
  announced.tag.channel = TRY(in.u32());
  announced.tag.sequence = TRY(in.u64());
  const std::size_t bytes = TRY(in.u32());
  announced.digest.low = TRY(in.u64());
  announced.digest.high = TRY(in.u64());
  const std::uint64_t told = TRY(in.u64());
  if (MUTATE("tcp.head_unchecked", told != sum, false)) {
    return fail(ErrorCode::corrupt, "frame head: digest {:016x}; its bytes give {:016x}", told, sum);
  }
  std::size_t most = 0;
  switch (kind) {
    case FrameKind::message: most = limits_.message; break;
    case FrameKind::table: most = limits_.table; break;
    case FrameKind::data: most = limits_.data; break;
    case FrameKind::data_aborted: break;
    default: return fail(ErrorCode::corrupt, "frame head: kind {}; expected 1 to 4", static_cast<int>(kind));
  }
  if (zeros[0] != std::byte{0} || zeros[1] != std::byte{0}) return fail(ErrorCode::corrupt, "frame head: padding that is not zero");
  if (MUTATE("tcp.length_unchecked", bytes > most, false)) {
    return fail(ErrorCode::corrupt, "{}: {} bytes announced; at most {} are allowed", name_of(announced.tag), bytes, most);
  }
  try {
    payload_ = Bytes(bytes);
  } catch (const std::bad_alloc&) {  // it ends the connection; the frames before it are whole, and are still given
    return fail(ErrorCode::out_of_memory, "{}: no memory for its {} bytes", name_of(announced.tag), bytes);
  }
  announced_ = announced;
  payload_bytes_ = 0;
  return {};
}

Status FrameReader::close_frame(std::vector<Frame>& frames) {
  const BlockDigest digest = block_digest(payload_);
  if (MUTATE("tcp.payload_unchecked", digest != announced_->digest, false)) {
    return fail(ErrorCode::corrupt, "{}: its bytes give digest {}; expected {}", name_of(announced_->tag), to_string(digest),
                to_string(announced_->digest));
  }
  frames.push_back({announced_->kind, announced_->tag, payload_.empty() ? SharedBytes() : SharedBytes(std::move(payload_))});
  announced_.reset();
  payload_ = {};
  payload_bytes_ = 0;
  head_bytes_ = 0;
  return {};
}

}  // namespace holdfast::backend

// What travels over a connection once both ends have proved who they are: frames, each a head and a payload. Pure.
//
//   0  magic, "HFfr"     8  channel                 24  XXH3-128 of the payload
//   4  version, kind    12  sequence                40  low half of the XXH3-128 of the head so far
//   6  zero             20  payload bytes           48  the payload
//
// Little-endian. The digests guard against accident, as everywhere in Holdfast; they are no MAC.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/digest.h"
#include "impl/port/net.h"

namespace holdfast::backend {

enum class FrameKind : std::uint8_t {
  message = 1,       ///< of Net
  table = 2,         ///< rank 0's list of where everybody listens
  data = 3,          ///< of DataPlane
  data_aborted = 4,  ///< the sender's DataPlane was aborted; no payload
};

struct Frame {
  FrameKind kind = FrameKind::message;
  port::Tag tag;
  SharedBytes payload;
};

constexpr std::size_t frame_head_bytes = 48;
using FrameHead = std::array<std::byte, frame_head_bytes>;

/// Requires: a payload below 4 GiB.
FrameHead frame_head(FrameKind kind, port::Tag tag, ByteView payload);

/// Payload bytes that a reader takes at most; what announces more is refused before memory is taken for it.
struct FrameLimits {
  std::size_t message = 0;
  std::size_t table = 0;
  std::size_t data = 0;
};

/// Cuts a stream of bytes into frames. Total: any bytes give frames or an Error (corrupt), never a frame that was not sent whole.
/// After an Error the stream is of no more use.
class FrameReader {
 public:
  explicit FrameReader(FrameLimits limits) : limits_(limits) {}

  /// Where the next bytes of the stream should be put: `scratch`, or, what saves a copy, the payload of which as much or more is missing.
  ByteSpan space(ByteSpan scratch);
  /// `bytes` have come, in the last space() or anywhere else: appends the frames that are whole now.
  Status received(ByteView bytes, std::vector<Frame>& frames);

 private:
  struct Announced {
    FrameKind kind = FrameKind::message;
    port::Tag tag;
    BlockDigest digest;
  };
  Status open_head();
  Status close_frame(std::vector<Frame>& frames);

  FrameLimits limits_;
  FrameHead head_{};
  std::size_t head_bytes_ = 0;
  std::optional<Announced> announced_;  ///< the frame whose payload comes
  Bytes payload_;
  std::size_t payload_bytes_ = 0;
};

}  // namespace holdfast::backend

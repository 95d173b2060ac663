// How a connection begins: three messages by which both ends prove that they know the job's secret, and agree who they are. Pure.
//
//   whoever was called                        whoever called
//     challenge: a nonce                 ->
//                                        <-     hello: who I am, whom I want, a nonce; proof over this and the challenge
//     answer: welcome, or why not; proof ->
//     over this, the hello and the challenge
//
// Each message: magic "HFhs", version, kind, body bytes (u16), body. The nonces make a recorded message worthless in any other connection.
// What follows is neither signed nor secret: who can change packets of an open connection is not kept out.
#pragma once

#include <string>

#include "impl/backend/tcp/job_key.h"
#include "impl/core/ids.h"

namespace holdfast::backend {

constexpr std::size_t handshake_head_bytes = 8;
enum class HandshakeKind : std::uint8_t { challenge = 1, hello = 2, answer = 3 };

struct Hello {
  Nonce nonce{};
  Rank from{};
  Rank to{};
  std::int32_t world_size = 0;
  std::uint64_t message_bytes_max = 0;
  std::uint16_t listener_port = 0;  ///< where the caller can be called
};

enum class Verdict : std::uint8_t {
  welcome = 1,
  crossed = 2,  ///< both call each other; the call of the lower rank stands
  refused = 3,
};
struct Answer {
  Verdict verdict = Verdict::refused;
  std::string reason;
};

/// Whole messages, head included. `challenge` and `hello` are the bodies that went before in the same connection.
Bytes encode_challenge(const Nonce& nonce);
Result<Bytes> encode_hello(const Hello& hello, ByteView challenge, const JobKey& key);
Result<Bytes> encode_answer(const Answer& answer, ByteView challenge, ByteView hello, const JobKey& key);

/// The body of a whole message.
ByteView handshake_body(ByteView message);

/// Of bodies. Errors: corrupt; invalid_argument when the proof is not made with this job's secret.
Status check_challenge(ByteView body);
Result<Hello> decode_hello(ByteView body, ByteView challenge, const JobKey& key);
Result<Answer> decode_answer(ByteView body, ByteView challenge, ByteView hello, const JobKey& key);

/// Reads one message and not a byte more.
class HandshakeReader {
 public:
  explicit HandshakeReader(HandshakeKind expected) : expected_(expected), bytes_(handshake_head_bytes) {}

  /// Where the next bytes belong; empty once the message is whole.
  ByteSpan space() { return ByteSpan(bytes_).subspan(filled_); }
  /// True when the message is whole. Errors: corrupt.
  Result<bool> received(std::size_t bytes);
  ByteView body() const { return handshake_body(bytes_); }

 private:
  HandshakeKind expected_;
  Bytes bytes_;
  std::size_t filled_ = 0;
};

}  // namespace holdfast::backend

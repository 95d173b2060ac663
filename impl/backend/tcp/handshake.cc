#include "impl/backend/tcp/handshake.h"

#include <algorithm>

#include "impl/core/check.h"
#include "impl/core/encoding.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr std::uint32_t magic = 0x73684648;  // "HFhs"
constexpr std::uint8_t version = 1;
constexpr std::size_t body_bytes_max = 1024;
constexpr std::size_t reason_bytes_max = 512;

Bytes message(HandshakeKind kind, ByteView body) {
  CHECK(body.size() <= body_bytes_max, "a body of {} bytes", body.size());
  Encoder out;
  out.u32(magic);
  out.u8(version);
  out.u8(static_cast<std::uint8_t>(kind));
  out.u8(static_cast<std::uint8_t>(body.size()));
  out.u8(static_cast<std::uint8_t>(body.size() >> 8));
  out.raw(body);
  return out.take();
}

/// What a proof is made over. The kind keeps a hello's from passing for an answer's.
Bytes proved(HandshakeKind kind, ByteView challenge, ByteView hello, ByteView content) {
  Encoder out;
  out.u8(static_cast<std::uint8_t>(kind));
  for (const ByteView part : {challenge, hello, content}) out.blob(part);
  return out.take();
}

Result<Bytes> signed_message(HandshakeKind kind, ByteView challenge, ByteView hello, Bytes content, const JobKey& key) {
  const Proof proof = TRY(key.prove(proved(kind, challenge, hello, content)));
  content.insert(content.end(), proof.begin(), proof.end());
  return message(kind, content);
}

/// The content of a body, without the proof at its end, once that has been checked.
Result<ByteView> opened(HandshakeKind kind, ByteView body, ByteView challenge, ByteView hello, const JobKey& key) {
  constexpr std::size_t proof_bytes = std::tuple_size_v<Proof>;
  if (body.size() < proof_bytes) return fail(ErrorCode::corrupt, "handshake: {} bytes; expected at least {}", body.size(), proof_bytes);
  const ByteView content = body.first(body.size() - proof_bytes);
  const bool holds = TRY(key.holds(body.last(proof_bytes), proved(kind, challenge, hello, content)));
  if (MUTATE("tcp.proof_unchecked", !holds, false)) {
    return fail(ErrorCode::invalid_argument,
                "handshake: its proof is not made with this job's secret; expected equal HOLDFAST_JOB_SECRET and job id on all ranks");
  }
  return content;
}

Result<Nonce> read_nonce(Decoder& in) {
  Nonce nonce;
  const ByteView bytes = TRY(in.raw(nonce.size()));
  std::ranges::copy(bytes, nonce.begin());
  return nonce;
}

}  // namespace

Bytes encode_challenge(const Nonce& nonce) { return message(HandshakeKind::challenge, nonce); }

Result<Bytes> encode_hello(const Hello& hello, ByteView challenge, const JobKey& key) {
  Encoder out;
  out.raw(hello.nonce);
  out.u32(static_cast<std::uint32_t>(hello.from.value));
  out.u32(static_cast<std::uint32_t>(hello.to.value));
  out.u32(static_cast<std::uint32_t>(hello.world_size));
  out.u64(hello.message_bytes_max);
  out.u32(hello.listener_port);
  return signed_message(HandshakeKind::hello, challenge, {}, out.take(), key);
}

Result<Bytes> encode_answer(const Answer& answer, ByteView challenge, ByteView hello, const JobKey& key) {
  Encoder out;
  out.u8(static_cast<std::uint8_t>(answer.verdict));
  out.text(std::string_view(answer.reason).substr(0, reason_bytes_max));
  return signed_message(HandshakeKind::answer, challenge, hello, out.take(), key);
}

ByteView handshake_body(ByteView message) { return message.subspan(handshake_head_bytes); }

Status check_challenge(ByteView body) {
  if (body.size() == std::tuple_size_v<Nonce>) return {};
  return fail(ErrorCode::corrupt, "handshake: a challenge of {} bytes; expected {}", body.size(), std::tuple_size_v<Nonce>);
}

Result<Hello> decode_hello(ByteView body, ByteView challenge, const JobKey& key) {
  Decoder in(TRY(opened(HandshakeKind::hello, body, challenge, {}, key)), "hello");
  Hello hello;
  hello.nonce = TRY(read_nonce(in));
  hello.from.value = static_cast<std::int32_t>(TRY(in.u32()));
  hello.to.value = static_cast<std::int32_t>(TRY(in.u32()));
  hello.world_size = static_cast<std::int32_t>(TRY(in.u32()));
  hello.message_bytes_max = TRY(in.u64());
  const std::uint32_t port = TRY(in.u32());
  if (port > 65535) return fail(ErrorCode::corrupt, "hello: port {}; expected at most 65535", port);
  hello.listener_port = static_cast<std::uint16_t>(port);
  TRY(in.finish());
  return hello;
}

Result<Answer> decode_answer(ByteView body, ByteView challenge, ByteView hello, const JobKey& key) {
  Decoder in(TRY(opened(HandshakeKind::answer, body, challenge, hello, key)), "answer");
  Answer answer;
  const std::uint8_t verdict = TRY(in.u8());
  if (verdict < 1 || verdict > 3) return fail(ErrorCode::corrupt, "answer: verdict {}; expected 1 to 3", verdict);
  answer.verdict = static_cast<Verdict>(verdict);
  answer.reason = TRY(in.text());
  TRY(in.finish());
  return answer;
}

Result<bool> HandshakeReader::received(std::size_t bytes) {
  CHECK(bytes <= space().size(), "{} bytes were put into {}", bytes, space().size());
  filled_ += bytes;
  if (filled_ < bytes_.size()) return false;
  if (bytes_.size() > handshake_head_bytes) return true;
  Decoder in(bytes_, "handshake");
  const std::uint32_t found_magic = TRY(in.u32());
  if (found_magic != magic) return fail(ErrorCode::corrupt, "handshake: it begins with {:08x}; expected {:08x}", found_magic, magic);
  const std::uint8_t found_version = TRY(in.u8());
  if (found_version != version) return fail(ErrorCode::corrupt, "handshake: version {}; expected {}", found_version, version);
  const std::uint8_t kind = TRY(in.u8());
  if (kind != static_cast<std::uint8_t>(expected_)) {
    return fail(ErrorCode::corrupt, "handshake: kind {}; expected {}", kind, static_cast<int>(expected_));
  }
  std::size_t size = TRY(in.u8());
  size += static_cast<std::size_t>(TRY(in.u8())) << 8;
  if (size == 0 || size > body_bytes_max) {
    return fail(ErrorCode::corrupt, "handshake: {} bytes announced; expected 1 to {}", size, body_bytes_max);
  }
  bytes_.resize(handshake_head_bytes + size);
  return false;
}

}  // namespace holdfast::backend

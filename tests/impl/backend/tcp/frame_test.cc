#include "impl/backend/tcp/frame.h"

#include <gtest/gtest.h>

#include <random>

#include "impl/backend/tcp/handshake.h"

namespace holdfast::backend {
namespace {

constexpr FrameLimits limits{.message = 1 << 20, .table = 100, .data = 200'000};

Bytes bytes_of(std::string_view text) { return to_bytes(as_bytes(text)); }

Bytes encoded(FrameKind kind, port::Tag tag, ByteView payload) {
  const FrameHead head = frame_head(kind, tag, payload);
  Bytes all(head.begin(), head.end());
  all.insert(all.end(), payload.begin(), payload.end());
  return all;
}

/// Feeds a stream in parts of at most `part` bytes, and stops at the first error.
Status read_all(FrameReader& reader, ByteView stream, std::size_t part, std::vector<Frame>& frames) {
  Bytes scratch(1000);
  while (!stream.empty()) {
    const ByteSpan space = reader.space(scratch);
    const std::size_t taken = std::min({part, stream.size(), space.size()});
    std::ranges::copy(stream.first(taken), space.begin());
    stream = stream.subspan(taken);
    TRY(reader.received(space.first(taken), frames));
  }
  return {};
}

std::string refusal(ByteView stream) {
  FrameReader reader(limits);
  std::vector<Frame> frames;
  const Status read = read_all(reader, stream, stream.size(), frames);
  EXPECT_EQ(to_string(read ? ErrorCode::corrupt : read.error().code), "corrupt");
  return read ? fmt::format("{} frames", frames.size()) : read.error().message;
}

/// Replaces a byte and makes the head's own digest fit again, as a peer that is wrong, rather than a wire, would.
Bytes forged(Bytes frame, std::size_t at, std::uint8_t value) {
  frame[at] = std::byte{value};
  const std::uint64_t sum = block_digest(ByteView(frame).first(40)).low;
  for (std::size_t i = 0; i < 8; ++i) frame[40 + i] = std::byte(static_cast<std::uint8_t>(sum >> (8 * i)));
  return frame;
}

TEST(Frame, HasTheseBytes) {
  const Bytes frame = encoded(FrameKind::data, {0x01020304, 0x1112131415161718}, as_bytes("hi"));
  const std::string head(as_text(ByteView(frame).first(24)));
  EXPECT_EQ(head, std::string("HFfr\x01\x03\0\0\x04\x03\x02\x01\x18\x17\x16\x15\x14\x13\x12\x11\x02\0\0\0", 24));
  EXPECT_EQ(frame.size(), 50u);
}

TEST(Frame, ComesOutAsItWentInHoweverTheStreamIsCut) {
  const Bytes large(300'000, std::byte{9});
  Bytes stream;
  for (const Bytes& frame : {encoded(FrameKind::message, {1, 5}, {}), encoded(FrameKind::message, {1, 6}, large),
                             encoded(FrameKind::table, {0, 1}, as_bytes("table")), encoded(FrameKind::data_aborted, {}, {})}) {
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (const std::size_t part : {std::size_t{1}, std::size_t{7}, std::size_t{48}, std::size_t{4096}, std::size_t{65536}, stream.size()}) {
    FrameReader reader(limits);
    std::vector<Frame> frames;
    ASSERT_TRUE(read_all(reader, stream, part, frames)) << part;
    ASSERT_EQ(frames.size(), 4u) << part;
    EXPECT_EQ(frames[0].tag, (port::Tag{1, 5}));
    EXPECT_TRUE(frames[0].payload.empty());
    EXPECT_TRUE(std::ranges::equal(frames[1].payload.view(), large)) << part;
    EXPECT_EQ(as_text(frames[2].payload.view()), "table");
    EXPECT_EQ(frames[3].kind, FrameKind::data_aborted);
  }
}

TEST(Frame, SaysWhatIsWrongWithOne) {
  const Bytes good = encoded(FrameKind::message, {2, 7}, as_bytes("abc"));
  EXPECT_EQ(refusal(good), "1 frames");
  EXPECT_EQ(refusal(as_bytes("GET / HTTP/1.1\r\nHost: somewhere.example\r\n\r\n.....")),
            "frame head: it begins with 20544547; expected 72664648");
  EXPECT_EQ(refusal(forged(good, 4, 2)), "frame head: version 2; expected 1");
  EXPECT_EQ(refusal(forged(good, 5, 9)), "frame head: kind 9; expected 1 to 4");
  EXPECT_EQ(refusal(forged(good, 6, 1)), "frame head: padding that is not zero");
  EXPECT_EQ(refusal(forged(good, 22, 0x7f)), "frame (channel 2, sequence 7): 8323075 bytes announced; at most 1048576 are allowed");
  EXPECT_EQ(refusal(encoded(FrameKind::table, {0, 1}, Bytes(101))),
            "frame (channel 0, sequence 1): 101 bytes announced; at most 100 are allowed");
  EXPECT_EQ(refusal(encoded(FrameKind::data_aborted, {}, Bytes(1))),
            "frame (channel 0, sequence 0): 1 bytes announced; at most 0 are allowed");
  Bytes flipped = good;
  flipped.back() ^= std::byte{1};
  EXPECT_EQ(refusal(flipped), fmt::format("frame (channel 2, sequence 7): its bytes give digest {}; expected {}",
                                          to_string(block_digest(as_bytes("abb"))), to_string(block_digest(as_bytes("abc")))));
  Bytes other_sequence = good;
  other_sequence[12] = std::byte{8};
  EXPECT_EQ(refusal(other_sequence).substr(0, 19), "frame head: digest ") << refusal(other_sequence);
}

/// A stream of a few frames, some of whose bytes were changed, cut out, put in or cut off: what comes out is what went in, up to an error.
TEST(Frame, NoDamageMakesAFrameThatWasNotSent) {
  std::mt19937_64 random(20'261'125);
  std::uint64_t refused = 0, short_of_one = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<Bytes> payloads;
    Bytes stream;
    const std::size_t count = 1 + random() % 4;
    for (std::size_t i = 0; i < count; ++i) {
      payloads.emplace_back(random() % 200);
      for (std::byte& byte : payloads.back()) byte = std::byte(static_cast<std::uint8_t>(random()));
      const Bytes frame = encoded(FrameKind::message, {1, i}, payloads.back());
      stream.insert(stream.end(), frame.begin(), frame.end());
    }
    const auto at = [&](std::size_t from) { return stream.begin() + static_cast<std::ptrdiff_t>(from); };
    const std::size_t begin = random() % stream.size();
    const std::size_t size = 1 + random() % std::min<std::size_t>(stream.size() - begin, 40);
    switch (random() % 4) {
      case 0: stream[begin] ^= std::byte(static_cast<std::uint8_t>(1 + random() % 255)); break;
      case 1: stream.erase(at(begin), at(begin + size)); break;
      case 2: stream.insert(at(begin), size, std::byte(static_cast<std::uint8_t>(random()))); break;
      default: stream.resize(begin); break;
    }
    FrameReader reader(limits);
    std::vector<Frame> frames;
    const Status read = read_all(reader, stream, 1 + random() % 100, frames);
    if (!read) ++refused;
    if (read && frames.size() < count) ++short_of_one;
    ASSERT_LE(frames.size(), count);
    for (std::size_t i = 0; i < frames.size(); ++i) ASSERT_TRUE(std::ranges::equal(frames[i].payload.view(), payloads[i])) << round;
  }
  EXPECT_GT(refused, 5'000u);
  EXPECT_GT(short_of_one, 1'000u);
}

TEST(Frame, NoBytesAtAllMakeOne) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 5'000; ++round) {
    Bytes noise(48 + random() % 400);
    for (std::byte& byte : noise) byte = std::byte(static_cast<std::uint8_t>(random()));
    if (round % 2 == 0) std::ranges::copy(as_bytes(std::string_view("HFfr\x01\x01\0\0", 8)), noise.begin());
    EXPECT_NE(refusal(noise), "1 frames");
  }
}

// ---- the handshake -------------------------------------------------------------------------------------------------------------------

class Handshake : public testing::Test {
 protected:
  Bytes challenge = bytes_of("a challenge of thirty-two bytes.");
  JobKey key = JobKey::make("a secret of some length", "job 1").value();
  Hello hello{.from = Rank{2}, .to = Rank{0}, .world_size = 4, .message_bytes_max = 1000, .listener_port = 4000};
  static Bytes body(const Bytes& message) { return to_bytes(handshake_body(message)); }
};

TEST_F(Handshake, TellsWhoCalls) {
  const Bytes sent = body(encode_hello(hello, challenge, key).value());
  const Hello heard = decode_hello(sent, challenge, key).value();
  EXPECT_EQ(heard.from, Rank{2});
  EXPECT_EQ(heard.to, Rank{0});
  EXPECT_EQ(heard.world_size, 4);
  EXPECT_EQ(heard.message_bytes_max, 1000u);
  EXPECT_EQ(heard.listener_port, 4000);
  const Bytes answer = body(encode_answer({Verdict::refused, "rank 2 is here already"}, challenge, sent, key).value());
  EXPECT_EQ(decode_answer(answer, challenge, sent, key)->reason, "rank 2 is here already");
  EXPECT_EQ(decode_answer(answer, challenge, sent, key)->verdict, Verdict::refused);
}

TEST_F(Handshake, IsWorthNothingWithAnotherSecretAnotherJobOrAnotherChallenge) {
  const Bytes sent = body(encode_hello(hello, challenge, key).value());
  const std::string no =
      "handshake: its proof is not made with this job's secret; expected equal HOLDFAST_JOB_SECRET and job id on all ranks";
  for (const JobKey& other : {JobKey::make("a secret of some lengtH", "job 1").value(),
                              JobKey::make("a secret of some length", "job 2").value(), JobKey::make("", "job 1").value()}) {
    const auto heard = decode_hello(sent, challenge, other);
    ASSERT_FALSE(heard);
    EXPECT_EQ(heard.error().message, no);
    EXPECT_EQ(heard.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_FALSE(decode_hello(sent, bytes_of("a challenge of thirty-two bytes!"), key)) << "a recorded hello";
  EXPECT_FALSE(decode_answer(sent, challenge, {}, key)) << "a hello sent back as an answer";
  const Bytes answer = body(encode_answer({Verdict::welcome, ""}, challenge, sent, key).value());
  EXPECT_TRUE(decode_answer(answer, challenge, sent, key));
  EXPECT_FALSE(decode_answer(answer, challenge, body(encode_hello({.from = Rank{1}}, challenge, key).value()), key));
}

TEST_F(Handshake, NoChangeOfAByteGoesUnseen) {
  const Bytes sent = body(encode_hello(hello, challenge, key).value());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    Bytes changed = sent;
    changed[i] ^= std::byte{0x10};
    EXPECT_FALSE(decode_hello(changed, challenge, key)) << i;
    EXPECT_FALSE(decode_hello(ByteView(sent).first(i), challenge, key)) << i;
  }
}

TEST_F(Handshake, NoncesAreNeverTheSame) { EXPECT_NE(fresh_nonce().value(), fresh_nonce().value()); }

TEST_F(Handshake, AProofIsTheHmacSha256ThatOthersCompute) {
  // Python: hmac.new(hmac.new(b"", b"holdfast job x", "sha256").digest(), b"a", "sha256").hexdigest()
  std::string hex;
  const JobKey without_secret = JobKey::make("", "x").value();
  const Proof proof = without_secret.prove(as_bytes("a")).value();
  for (const std::byte byte : proof) hex += fmt::format("{:02x}", byte);
  EXPECT_EQ(hex, "3df8a013faaf05db447d9b703b1cb360b0a75785d148cd21b84ff2b21e45d53d");
}

std::string handshake_refusal(ByteView stream, HandshakeKind expected) {
  HandshakeReader reader(expected);
  while (!stream.empty()) {
    const std::size_t taken = std::min(reader.space().size(), stream.size());
    std::ranges::copy(stream.first(taken), reader.space().begin());
    stream = stream.subspan(taken);
    const Result<bool> whole = reader.received(taken);
    if (!whole) return whole.error().message;
    if (*whole) return fmt::format("whole, {} bytes", reader.body().size());
  }
  return "not whole";
}

TEST_F(Handshake, ReaderSaysWhatIsWrong) {
  Bytes good = encode_challenge(Nonce{});
  EXPECT_EQ(handshake_refusal(good, HandshakeKind::challenge), "whole, 32 bytes");
  EXPECT_EQ(handshake_refusal(ByteView(good).first(39), HandshakeKind::challenge), "not whole");
  EXPECT_EQ(handshake_refusal(good, HandshakeKind::hello), "handshake: kind 1; expected 2");
  EXPECT_EQ(handshake_refusal(as_bytes("SSH-2.0-OpenSSH_9.2"), HandshakeKind::hello),
            "handshake: it begins with 2d485353; expected 73684648");
  good[4] = std::byte{3};
  EXPECT_EQ(handshake_refusal(good, HandshakeKind::challenge), "handshake: version 3; expected 1");
  good[4] = std::byte{1};
  good[7] = std::byte{0xff};
  EXPECT_EQ(handshake_refusal(good, HandshakeKind::challenge), "handshake: 65312 bytes announced; expected 1 to 1024");
  EXPECT_EQ(check_challenge(Bytes(31)).error().message, "handshake: a challenge of 31 bytes; expected 32");
}

}  // namespace
}  // namespace holdfast::backend

#include "impl/format/safetensors.h"

#include <gtest/gtest.h>

#include "impl/core/encoding.h"
#include "impl/format/segment.h"
#include "tests/impl/format/files.h"

namespace holdfast::format {
namespace {

using holdfast::testing::read_repository_file;

Bytes header_of(std::string_view json) {
  Encoder out;
  out.u64(json.size());
  out.raw(as_bytes(json));
  return out.take();
}

/// Opens a whole file as the command line does: length field, header, size.
Result<SafetensorsHeader> open(const Bytes& file, std::string_view path) {
  const std::uint64_t header_bytes = TRY(segment_header_bytes(file, path));
  if (header_bytes > file.size()) return fail(ErrorCode::corrupt, "\"{}\": ends within its header", path);
  SafetensorsHeader header = TRY(decode_safetensors_header(ByteView(file).first(header_bytes), path));
  TRY(check_file_bytes(header, file.size(), path));
  return header;
}

Error refusal(const std::string& name) {
  const auto header = open(read_repository_file("tests/golden/safetensors/broken-" + name + ".safetensors"), "x");
  EXPECT_FALSE(header) << name;
  return header ? Error{} : header.error();
}

Error refusal_of_json(std::string_view json) {
  const auto header = decode_safetensors_header(header_of(json), "x");
  EXPECT_FALSE(header) << json;
  return header ? Error{} : header.error();
}

TEST(Safetensors, OpensWhatTheReferenceLibraryWrites) {
  const Bytes file = read_repository_file("tests/golden/safetensors/safetensors-0.8-all-dtypes.safetensors");
  const auto header = open(file, "x");
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->tensors.size(), 22u);
  EXPECT_EQ(header->metadata.at("who"), "Ünïcode");
  EXPECT_EQ(header->tensors[0].name, "w.uint64");
  EXPECT_EQ(header->tensors[0].known_dtype(), DType::u64);
  EXPECT_EQ(header->tensors[0].shape, (Dims{4, 5}));
  EXPECT_EQ(header->tensors[1].begin, 160u);
  EXPECT_EQ(header->tensors[1].end, 256u);
  const auto& fp4 = header->tensors[20];
  EXPECT_EQ(fp4.dtype, "F4");
  EXPECT_FALSE(fp4.known_dtype());
  EXPECT_EQ(saved_offsets(*header, "x")->at(0), (Dims{0, 0}));
}

TEST(Safetensors, ReadsWherePyTorchSavedEachShard) {
  const auto header = open(read_repository_file("tests/golden/safetensors/torch-2.15-shard-2-of-2.safetensors"), "x");
  ASSERT_TRUE(header) << header.error().message;
  ASSERT_EQ(header->tensors.size(), 4u);
  const auto offsets = saved_offsets(*header, "x");
  ASSERT_TRUE(offsets) << offsets.error().message;
  EXPECT_EQ(header->tensors[2].name, "w");
  EXPECT_EQ(*offsets, (std::vector<Dims>{{0, 0}, {0}, {4, 0}, {0, 3}}));
}

TEST(Safetensors, NamesTheTensorThatHasNoShardingInfo) {
  const auto header = open(read_repository_file("tests/golden/safetensors/broken-sharding-missing-key.safetensors"), "x");
  ASSERT_TRUE(header);
  const auto offsets = saved_offsets(*header, "x");
  ASSERT_FALSE(offsets);
  EXPECT_EQ(offsets.error().message, R"("x": tensor "v" has no entry in DCP_SHARDING_INFO)");
}

TEST(Safetensors, NamesTheDefectOfEachBrokenFile) {
  EXPECT_EQ(refusal("duplicate-keys").message, R"("x": header: "a" stands there twice)");
  EXPECT_EQ(refusal("header-too-long").message, R"("x": a header length of 1099511627776 bytes, expected 2 to 100000000)");
  EXPECT_EQ(refusal("hole").message, R"("x": bytes [16, 24) belong to no tensor)");
  EXPECT_EQ(refusal("invalid-utf8").message, R"("x": the header is not UTF-8)");
  EXPECT_EQ(refusal("negative-offset").message,
            R"("x": header: "data_offsets" of "a" holds the negative number -4, expected unsigned integers)");
  EXPECT_EQ(refusal("not-json").message, R"("x": header: no JSON at byte 54)");
  EXPECT_EQ(refusal("overlap").message, R"("x": tensors "a" and "b" overlap in bytes [8, 16))");
  EXPECT_EQ(refusal("shape-overflow").message, R"("x": tensor "a": the element count of shape [4611686018427387904,8] overflows)");
  EXPECT_EQ(refusal("size-mismatch").message, R"("x": tensor "a": shape [3,3] of F32 needs 288 bits, data_offsets are [0, 32))");
  EXPECT_EQ(refusal("trailing").message, R"("x": 5 bytes after the last tensor)");
  EXPECT_EQ(refusal("truncated").message, R"("x": the file ends at byte 165, its header needs 321)");
  EXPECT_EQ(refusal("unknown-dtype").message, R"("x": tensor "a": unknown dtype "F7")");
  EXPECT_EQ(refusal("unknown-dtype").code, ErrorCode::unsupported);
}

TEST(Safetensors, RefusesJsonOfAnyOtherForm) {
  EXPECT_EQ(refusal_of_json(R"({"a":)" + std::string(100000, '[') + "}").message, R"("x": header: "a" is a list, expected an object)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"shape":[[1]]}})").message, R"("x": header: "shape" of "a" holds a list, expected unsigned integers)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"shape":{}}})").message, R"("x": header: "shape" of "a" is an object, expected a string or a list)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":1}})").message, R"("x": header: "dtype" of "a" is the number 1, expected a string or a list)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":"U8","dtype":"U8"}})").message, R"("x": header: "dtype" of "a" stands there twice)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":"y"}})").message,
            R"("x": tensor "a": expected a dtype, a shape and two data_offsets)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1]}})").message,
            R"("x": tensor "a": 18446744073709551615 is no size in elements)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}})").message,
            R"("x": header: "shape" of "a" holds the number 1.5, expected unsigned integers)");
  EXPECT_EQ(refusal_of_json(R"({"__metadata__":{"a":[1]}})").message, R"("x": __metadata__ "a" is a list, expected a string)");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":"C128","shape":[1],"data_offsets":[0,16]}})").message,
            R"("x": tensor "a": unknown dtype "C128")");
  EXPECT_EQ(refusal_of_json(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})").message,
            R"("x": tensor "a": shape [3] of F4 needs 12 bits, data_offsets are [0, 1))");
  EXPECT_EQ(refusal_of_json(" {}").message, R"("x": the header is not JSON: it does not begin with {)");
  EXPECT_EQ(refusal_of_json("{}x").message, R"("x": header: no JSON at byte 3)");
  EXPECT_EQ(refusal_of_json("[]").code, ErrorCode::corrupt);
}

TEST(Safetensors, AnyBytesGiveAValueOrAnError) {
  const Bytes good =
      header_of(R"({"__metadata__":{"DCP_SHARDING_INFO":"{\"a\": {\"saved_offsets\": [4]}}"},"a":{"dtype":"F32","shape":[2],)"
                R"("data_offsets":[0,8]}}  )");
  ASSERT_TRUE(decode_safetensors_header(good, "x"));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    const auto header = decode_safetensors_header(bad, "x");
    if (header && header->tensors.size() == 1) {
      const auto offsets = saved_offsets(*header, "x");
      EXPECT_TRUE(!offsets || offsets->size() == 1);
    }
  }
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_safetensors_header(ByteView(good).first(size), "x")) << size;
}

TEST(Utf8, AcceptsExactlyTheValidSequencesOfUpToThreeBytes) {
  std::size_t valid = 0;
  for (int a = 0x80; a < 0x100; ++a) {
    EXPECT_FALSE(is_utf8(std::string{static_cast<char>(a)}));
    for (int b = 0; b < 0x100; ++b) {
      if (is_utf8({std::initializer_list<char>{static_cast<char>(a), static_cast<char>(b)}.begin(), 2})) ++valid;
    }
  }
  EXPECT_EQ(valid, 0x800u - 0x80u);  // U+0080 to U+07FF
  valid = 0;
  for (int a = 0xe0; a < 0xf0; ++a) {
    for (int b = 0; b < 0x100; ++b) {
      for (int c = 0; c < 0x100; ++c) {
        const char text[] = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)};
        if (is_utf8({text, 3})) ++valid;
      }
    }
  }
  EXPECT_EQ(valid, 0x10000u - 0x800u - 0x800u);  // U+0800 to U+FFFF without surrogates
  EXPECT_TRUE(is_utf8("\xf4\x8f\xbf\xbf"));
  EXPECT_FALSE(is_utf8("\xf4\x90\x80\x80"));
  EXPECT_FALSE(is_utf8("\xf0\x8f\xbf\xbf"));
  EXPECT_FALSE(is_utf8("\xf5\x80\x80\x80"));
}

}  // namespace
}  // namespace holdfast::format

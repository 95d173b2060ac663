// FORMAT.md is checked against the code: its worked manifest, its segment header, its digest keys and its digest vectors.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <sstream>

#include "impl/core/digest.h"
#include "impl/core/encoding.h"
#include "impl/core/nested.h"
#include "impl/format/hint.h"
#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "impl/format/tensor_layout.h"
#include "tests/impl/format/files.h"

namespace holdfast::format {
namespace {

/// The lines of the fenced block that opens with ``` and `tag`.
std::vector<std::string> fenced(std::string_view tag) {
  const Bytes document = holdfast::testing::read_repository_file("impl/format/FORMAT.md");
  std::istringstream lines{std::string(as_text(document))};
  std::vector<std::string> block;
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (inside && line == "```") break;
    if (inside) block.push_back(line);
    if (line == "```" + std::string(tag)) inside = true;
  }
  EXPECT_TRUE(inside) << "FORMAT.md has no block ```" << tag;
  return block;
}

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  std::string digits;
  for (const char c : text) {
    if (c != ' ') digits += c;
    if (digits.size() == 2) {
      bytes.push_back(std::byte(static_cast<std::uint8_t>(std::stoul(digits, nullptr, 16))));
      digits.clear();
    }
  }
  EXPECT_TRUE(digits.empty()) << text;
  return bytes;
}

std::string hex(ByteView bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x} ", std::to_integer<unsigned>(byte));
  return text;
}

TEST(FormatDocument, NestedStateIsAsDescribed) {
  Bytes bytes;
  for (const std::string& line : fenced("nested")) std::ranges::copy(from_hex(line.substr(0, line.find('#'))), std::back_inserter(bytes));
  const auto leaf = [](int value) { return Nested{StateDict::Entry(BytesEntry{{static_cast<std::byte>(value)}})}; };
  Nested opt{Nested::Map{{{std::int64_t{0}, leaf(1)}}}};
  Nested rng{Nested::Tuple{{leaf(2), Nested{Nested::List{}}}}};
  Structure structure = flatten({Nested::Map{{{"opt", std::move(opt)}, {"rng", std::move(rng)}}}}).value().structure;
  rename_entries(structure, [](std::string_view name) { return name == "rng.0" ? "r" : std::string(name); });
  EXPECT_EQ(hex(encode(structure)), hex(bytes));
  EXPECT_EQ(decode_structure(bytes).value(), structure);
}

/// "pattern N" is N bytes, byte i = (131 i + i div 256) mod 256; anything else is hex.
Bytes bytes_of(const std::string& cell) {
  if (!cell.starts_with("pattern ")) return from_hex(cell);
  Bytes bytes(std::stoul(cell.substr(8)));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(static_cast<std::uint8_t>(131 * i + i / 256));
  return bytes;
}

Dims dims_of(const std::string& cell) {
  Dims dims;
  std::istringstream numbers(cell.substr(1, cell.size() - 2));
  for (std::string number; std::getline(numbers, number, ',');) dims.push_back(std::stoll(number));
  return dims;
}

std::vector<std::string> cells(const std::string& row) {
  std::vector<std::string> result;
  std::istringstream parts(row.substr(1));
  for (std::string cell; std::getline(parts, cell, '|');) {
    const auto begin = cell.find_first_not_of(' ');
    result.push_back(begin == std::string::npos ? "" : cell.substr(begin, cell.find_last_not_of(' ') - begin + 1));
  }
  return result;
}

/// Rows of the table that follows the line `heading`, without its two head lines.
std::vector<std::vector<std::string>> table(std::string_view heading) {
  const Bytes document = holdfast::testing::read_repository_file("impl/format/FORMAT.md");
  std::istringstream lines{std::string(as_text(document))};
  std::vector<std::vector<std::string>> rows;
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    if (line == heading) found = true;
    if (!found) continue;
    if (line.starts_with("|")) rows.push_back(cells(line));
    if (!line.starts_with("|") && !rows.empty()) break;
  }
  EXPECT_GT(rows.size(), 2u) << heading;
  if (rows.size() > 2) rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

/// The checkpoint of the worked examples: tensor w, F32 [4,2], cut over two ranks, and the byte value "trainer", "hi".
SegmentLayout example_layout(std::int64_t rank) {
  return *lay_out_segment({{"w", DType::f32, {4, 2}, {{2 * rank, 0}, {2, 2}}, 0, 0, 0}}, default_block_bytes);
}
Bytes example_data(std::int64_t rank) { return Bytes(16, std::byte(static_cast<std::uint8_t>(rank + 1))); }
Bytes example_header(std::int64_t rank) {
  return encode_segment_header(example_layout(rank), std::vector{block_digest(example_data(rank))}, "step-7.a1");
}

Manifest example_manifest() {
  Manifest manifest{Step{7}, 1, 1, "", 2, default_block_bytes, {}, {}, {}, {}};
  TensorRecord& w = manifest.tensors["w"];
  w.metadata = {DType::f32, {4, 2}, ChunkSet({{{0, 0}, {2, 2}}, {{2, 0}, {2, 2}}}, {4, 2})};
  for (std::int32_t rank = 0; rank < 2; ++rank) {
    const SegmentLayout layout = example_layout(rank);
    manifest.segments.push_back({{Rank{rank}, 0}, layout.file_bytes(), layout.header_bytes, block_digest(example_header(rank))});
    w.segments.push_back(static_cast<std::uint32_t>(rank));
    Bytes data = example_data(rank);
    w.digest += tensor_digest(packed_block(data.data(), {2, 2}, 4), {{2 * rank, 0}, {2, 2}}, {4, 2}, DType::f32);
  }
  manifest.bytes["trainer"] = {Rank{0}, 0, 2, block_digest(as_bytes("hi"))};
  return manifest;
}

TEST(FormatDocument, WorkedManifestIsWhatTheCodeWrites) {
  Bytes documented;
  for (const std::string& line : fenced("manifest")) {
    EXPECT_EQ(std::stoul(line.substr(0, 4), nullptr, 16), documented.size()) << line;
    const Bytes bytes = from_hex(std::string_view(line).substr(4, line.find('#') - 4));
    documented.insert(documented.end(), bytes.begin(), bytes.end());
  }
  const Bytes written = encode_manifest(example_manifest());
  EXPECT_EQ(hex(documented), hex(written));
  ASSERT_EQ(documented.size(), written.size());
  for (std::size_t i = 0; i < written.size(); ++i) {
    EXPECT_EQ(documented[i], written[i]) << fmt::format("offset {:04x}: FORMAT.md has {:02x}, the code writes {:02x}", i,
                                                        std::to_integer<int>(documented[i]), std::to_integer<int>(written[i]));
  }
  EXPECT_EQ(ManifestReader::open(SharedBytes(documented), "FORMAT.md")->decode(), example_manifest());
}

TEST(FormatDocument, WorkedLayoutsAreWhatTheCodeWrites) {
  const Dims shape{8, 4};
  const ChunkSet runs({packed_mesh(std::vector<std::int64_t>{3}), {Replicate{}}, FlatCut{{0}, 10, 14, 1}}, shape);
  std::vector<Box> boxes;
  runs.for_each([&](ChunkSet::Id, const Box& box) { boxes.push_back(box); });
  LayoutsWriter writer;
  writer.add(shape, runs, {});
  writer.add(shape, ChunkSet(boxes, shape), std::vector<std::uint32_t>{0, 2, 3, 4, 5});
  Bytes written;
  for (const LayoutsWriter::Table* table : {&writer.shapes(), &writer.meshes(), &writer.cuts(), &writer.layouts()}) {
    written.insert(written.end(), table->entries().begin(), table->entries().end());
  }
  Bytes documented;
  for (const std::string& line : fenced("layouts")) {
    const Bytes bytes = from_hex(std::string_view(line).substr(0, line.find('#')));
    documented.insert(documented.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(hex(documented), hex(written));
}

TEST(FormatDocument, SegmentHeaderIsWhatTheCodeWrites) {
  std::string documented;
  for (const std::string& line : fenced("segment")) documented += line;
  const Bytes header = example_header(1);
  const std::string_view written = as_text(ByteView(header).subspan(8));
  EXPECT_EQ(documented, written.substr(0, written.find_last_not_of(' ') + 1));
}

TEST(FormatDocument, HintIsWhatTheCodeWrites) {
  const auto block = fenced("latest");
  ASSERT_EQ(block.size(), 1u);
  EXPECT_EQ(block[0] + "\n", as_text(encode_hint("step-7.a1")));
}

TEST(FormatDocument, DigestKeysAreTheOnesOfTheCode) {
  for (const auto& row : table("### Keys")) {
    ASSERT_EQ(row.size(), 4u);
    const auto lane = static_cast<unsigned>(std::stoul(row[1]));
    const std::uint64_t index = std::stoull(row[2]);
    EXPECT_EQ(fmt::format("{:016x}", row[0] == "A" ? digest_key_a(lane, index) : digest_key_b(lane, index)), row[3])
        << row[0] << row[1] << row[2];
  }
}

TEST(FormatDocument, DigestVectorsAreTheOnesOfTheCode) {
  const auto rows = table("### Test vectors");
  EXPECT_GE(rows.size(), 12u);
  for (const auto& row : rows) {
    ASSERT_EQ(row.size(), 5u);
    const auto dtype = dtype_from_string(row[0]);
    ASSERT_TRUE(dtype) << row[0];
    const Dims shape = dims_of(row[1]);
    const auto plus = row[2].find('+');
    const Box box = row[2] == "all" ? whole(shape) : Box{dims_of(row[2].substr(0, plus)), dims_of(row[2].substr(plus + 1))};
    Bytes bytes = bytes_of(row[3]);
    const StridedBlock block = packed_block(bytes.data(), box.size, size_bytes(*dtype));
    ASSERT_EQ(block.bytes(), bytes.size()) << row[3];
    EXPECT_EQ(to_string(tensor_digest(block, box, shape, *dtype)), row[4]) << row[0] << " " << row[1] << " " << row[2];
  }
}

TEST(FormatDocument, BlockDigestVectorsAreTheOnesOfTheCode) {
  for (const auto& row : table("### Block digest vectors")) {
    ASSERT_EQ(row.size(), 2u);
    EXPECT_EQ(to_string(block_digest(bytes_of(row[0]))), row[1]) << row[0];
  }
}

TEST(FormatDocument, NoSingleChangedElementOfEightBytesEscapes) {
  // The strength argument of FORMAT.md needs this of the keys: b0 a1 - b1 a0 is not divisible by 2^33.
  for (std::uint64_t i = 0; i < 4096; i += 2) {
    const std::uint64_t cross = digest_key_a(0, i + 1) * digest_key_a(1, i) - digest_key_a(1, i + 1) * digest_key_a(0, i);
    EXPECT_LE(std::countr_zero(cross), 32) << "pair " << i;
  }
}

}  // namespace
}  // namespace holdfast::format

// Every bit of every file that a save leaves is covered: flipped, one at a time, each is found, and named.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "impl/core/check.h"
#include "impl/format/manifest.h"
#include "impl/format/segment.h"
#include "impl/protocol/files.h"
#include "impl/protocol/save.h"
#include "impl/protocol/survey.h"
#include "impl/protocol/verify.h"
#include "properties/gen/state_spec.h"
#include "properties/worlds/threads_world.h"

namespace holdfast::protocol {
namespace {

using Files = std::map<std::string, Bytes>;

/// Files in memory, to be read: a hundred thousand verifications in seconds. Whatever would change them is a fault of the caller's.
class FrozenStorage : public port::Storage {
 public:
  explicit FrozenStorage(Files& files) : files_(files) {}

  port::Caps caps() const override { return {}; }
  Result<port::FileId> open(std::string_view path, port::Deadline) override {
    const auto found = files_.find(std::string(path));
    if (found == files_.end()) return fail(ErrorCode::not_found, "open \"{}\": not found", path);
    return port::FileId{std::distance(files_.begin(), found)};
  }
  Status close(port::FileId) override { return {}; }
  Status read_all(port::FileId file, std::span<const port::ReadPiece> pieces, port::Deadline) override {
    const Bytes& bytes = bytes_of(file);
    for (const port::ReadPiece& piece : pieces) {
      if (piece.offset + piece.bytes.size() > bytes.size()) return fail(ErrorCode::corrupt, "read past the end");
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(piece.offset), piece.bytes.size(), piece.bytes.begin());
    }
    return {};
  }
  Result<std::uint64_t> size(port::FileId file, port::Deadline) override { return bytes_of(file).size(); }
  Result<std::vector<port::DirectoryEntry>> list(std::string_view path, port::Deadline) override {
    std::map<std::string, bool> entries;
    const std::string prefix = path.empty() ? "" : std::string(path) + "/";
    for (const auto& [name, bytes] : files_) {
      if (!name.starts_with(prefix)) continue;
      const std::string rest = name.substr(prefix.size());
      entries[rest.substr(0, rest.find('/'))] = rest.find('/') != std::string::npos;
    }
    std::vector<port::DirectoryEntry> list;
    for (const auto& [name, directory] : entries) list.push_back({name, directory});
    return list;
  }

  Status make_directory(std::string_view, port::Deadline) override { return frozen(); }
  Result<port::FileId> create(std::string_view, port::Deadline) override { return fail(frozen().error()); }
  Status write_all(port::FileId, std::span<const port::WritePiece>, port::Deadline) override { return frozen(); }
  Status truncate(port::FileId, std::uint64_t, port::Deadline) override { return frozen(); }
  Status sync(port::FileId, port::Deadline) override { return frozen(); }
  Status rename(std::string_view, std::string_view, port::Deadline) override { return frozen(); }
  Status link_if_absent(std::string_view, std::string_view, port::Deadline) override { return frozen(); }
  Status remove(std::string_view, port::Deadline) override { return frozen(); }
  Status remove_directory(std::string_view, port::Deadline) override { return frozen(); }
  Status sync_directory(std::string_view, port::Deadline) override { return frozen(); }

 private:
  const Bytes& bytes_of(port::FileId file) const { return std::next(files_.begin(), file.value)->second; }
  static Status frozen() { return fail(ErrorCode::unsupported, "the storage is frozen"); }
  Files& files_;
};

/// Two ranks, three tensors, a blob; blocks of 64 bytes, so that a tensor has several and a block several tensors.
properties::gen::StateSpec small_state() {
  properties::gen::StateSpec spec;
  spec.world_size = 2;
  const ChunkLayout rows{0, {Rank{0}, Rank{1}}};
  spec.tensors = {{"a.rows", DType::f32, {7, 6}, rows, 0},
                  {"b.columns", DType::bf16, {3, 5}, ChunkLayout{1, rows.placements}, 0},
                  {"c.scalar", DType::f64, {}, ReplicatedLayout{}, 0}};
  spec.values = {{"blob", 21}};
  return spec;
}

Status read_files(port::Storage& storage, const std::string& directory, port::Deadline deadline, Files& files) {
  for (const port::DirectoryEntry& entry : TRY(storage.list(directory, deadline))) {
    const std::string path = join(directory, entry.name);
    if (entry.directory) {
      TRY(read_files(storage, path, deadline, files));
    } else {
      files[path] = to_bytes(TRY(read_file(storage, path, 1 << 20, deadline)).view());
    }
  }
  return {};
}

Files saved_files() {
  const auto world = *properties::ThreadsWorld::make();
  const auto spec = small_state();
  const auto values = make_values(spec, 1);
  const auto save_rank = [&](const port::Env& env, Rank rank) {
    const auto state = make_state(spec, rank, values);
    Session session(env);
    const auto saved = save(session, state.dict, {.step = Step{1}, .block_bytes = 64});
    CHECK(saved.has_value(), "{}", to_string(saved.error()));
    return Bytes();
  };
  EXPECT_TRUE(world->run(2, 0, save_rank).problems.empty());
  Files files;
  world->run(1, 0, [&](const port::Env& env, Rank) {
    const Status read = read_files(env.storage, "", env.clock.after(std::chrono::seconds(30)), files);
    CHECK(read.has_value(), "{}", read.error());
    return Bytes();
  });
  return files;
}

Result<VerifyReport> verify(Files& files) {
  FrozenStorage storage(files);
  return verify_all(storage, [] { return port::Deadline{}; });
}

/// What a finding must say of a bit in the data of a segment: its block with the place in the file, and its tensor.
std::vector<std::string> expected_words(const std::string& path, const format::SegmentLayout& layout, std::uint64_t byte) {
  const std::uint64_t at = byte - layout.header_bytes;
  std::uint64_t block = 0;
  for (const format::SegmentTensor& tensor : layout.tensors) {
    if (at >= tensor.offset + tensor.bytes) {
      block += (tensor.bytes + layout.block_bytes - 1) / layout.block_bytes;
      continue;
    }
    const std::uint64_t inside = (at - tensor.offset) / layout.block_bytes;
    const std::uint64_t begin = tensor.offset + inside * layout.block_bytes;
    const std::uint64_t bytes = std::min<std::uint64_t>(layout.block_bytes, tensor.offset + tensor.bytes - begin);
    return {fmt::format("block {} ({} @ {}+{})", block + inside, path, layout.header_bytes + begin, bytes),
            fmt::format("\"{}\"", tensor.name)};
  }
  return {"a byte of a tensor"};
}

/// Flips each bit of one file in turn. Returns the first complaint, or nothing.
std::string flip_all(Files& files, const std::string& path) {
  Bytes& bytes = files.at(path);
  std::optional<format::SegmentLayout> layout;
  if (path.ends_with(".safetensors")) {
    const std::uint64_t header_bytes = *format::segment_header_bytes(ByteView(bytes).first(8), path);
    layout = format::decode_segment_header(ByteView(bytes).first(header_bytes), path)->layout;
  }
  for (std::uint64_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const std::uint64_t byte = bit / 8;
    bytes[byte] ^= std::byte{1} << (bit % 8);
    const Result<VerifyReport> report = verify(files);
    bytes[byte] ^= std::byte{1} << (bit % 8);
    if (!report) return fmt::format("bit {}: {}", bit, report.error());
    if (report->findings.empty()) return fmt::format("bit {}: not seen", bit);
    const Finding& first = report->findings.front();
    const auto elsewhere = [&](const Finding& finding) { return finding.file != path; };
    if (std::ranges::any_of(report->findings, elsewhere)) return fmt::format("bit {}: laid to \"{}\": {}", bit, first.file, first.message);
    if (!layout || byte < layout->header_bytes) continue;
    if (report->findings.size() != 1) return fmt::format("bit {}: {} findings for one block", bit, report->findings.size());
    const std::vector<std::string> words = expected_words(path, *layout, byte);
    if (words.size() != 2) return fmt::format("bit {}: in no tensor", bit);
    for (const std::string& word : words) {
      if (first.message.find(word) == std::string::npos) return fmt::format("bit {}: \"{}\" does not say {}", bit, first.message, word);
    }
  }
  return "";
}

TEST(BitFlip, OfAnyBitOfAnyFileIsFoundAndNamed) {
  Files files = saved_files();
  const Result<VerifyReport> clean = verify(files);
  ASSERT_TRUE(clean) << clean.error().message;
  ASSERT_TRUE(clean->findings.empty()) << clean->findings[0].file << ": " << clean->findings[0].message;
  std::vector<std::string> names;
  for (const auto& [path, bytes] : files) names.push_back(path);
  const std::vector<std::string> expected{"given-up",
                                          "latest",
                                          "step-1.a1/MANIFEST",
                                          "step-1.a1/bytes-00000-000.bin",
                                          "step-1.a1/segment-00000-000.safetensors",
                                          "step-1.a1/segment-00001-000.safetensors"};
  std::vector<std::string> kinds = names;
  for (std::string& name : kinds) {
    if (name == "step-1.a1/bytes-00001-000.bin") name = "step-1.a1/bytes-00000-000.bin";  // either rank may be the blob's writer
  }
  EXPECT_EQ(kinds, expected);
  for (const std::string& path : names) EXPECT_EQ(flip_all(files, path), "") << path;
}

/// A crash between the link and the removal of the temporary name leaves both. They are one file then; a copy that differs is damage.
TEST(BitFlip, OfALeftoverManifestIsFound) {
  Files files = saved_files();
  const std::string leftover = "step-1.a1/MANIFEST.tmp";
  files[leftover] = files.at("step-1.a1/MANIFEST");
  const Result<VerifyReport> clean = verify(files);
  ASSERT_TRUE(clean && clean->findings.empty());
  EXPECT_EQ(flip_all(files, leftover), "");
}

}  // namespace
}  // namespace holdfast::protocol

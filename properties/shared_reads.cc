// Ranks that share what they read: each gets what a load without sharing gives it, and no byte of the storage is read twice.
#include "impl/plan/shared_reads.h"

#include <algorithm>

#include "impl/core/mark.h"
#include "impl/format/segment.h"
#include "impl/protocol/files.h"
#include "properties/device_state.h"
#include "properties/job.h"
#include "properties/property.h"
#include "properties/read_recorder.h"
#include "properties/shared_job.h"
#include "properties/stored_files.h"

namespace holdfast::properties {
namespace {

constexpr port::Duration patience = std::chrono::seconds(60);
constexpr std::uint64_t page = format::segment_alignment;

/// What one rank did and saw.
struct RankRead {
  std::string wrong;
  std::vector<FileRead> reads;   ///< of segments' data
  std::vector<FileRead> blocks;  ///< of all segments, where they lie in the files; told by rank 0
  std::uint64_t bytes_read = 0;  ///< as the load says
};

void put(Encoder& out, const std::vector<FileRead>& reads) {
  out.varint(reads.size());
  for (const FileRead& read : reads) {
    out.text(read.path);
    out.varint(read.offset);
    out.varint(read.bytes);
  }
}

Result<std::vector<FileRead>> take(Decoder& in) {
  std::vector<FileRead> reads(TRY(in.count(3)));
  for (FileRead& read : reads) {
    read.path = TRY(in.text());
    read.offset = TRY(in.varint());
    read.bytes = TRY(in.varint());
  }
  return reads;
}

Bytes encode(const RankRead& rank) {
  Encoder out;
  out.text(rank.wrong);
  put(out, rank.reads);
  put(out, rank.blocks);
  out.varint(rank.bytes_read);
  return out.take();
}

Result<RankRead> decode(ByteView bytes) {
  Decoder in(bytes, "rank");
  RankRead rank;
  rank.wrong = TRY(in.text());
  rank.reads = TRY(take(in));
  rank.blocks = TRY(take(in));
  rank.bytes_read = TRY(in.varint());
  TRY(in.finish());
  return rank;
}

bool is_segment(std::string_view path) { return path.ends_with(".safetensors"); }

Result<std::vector<FileRead>> blocks_of(port::Storage& storage, const std::string& directory, port::Deadline deadline) {
  std::vector<FileRead> blocks;
  for (const std::string& path : TRY(stored_files(storage, directory, deadline))) {
    if (!is_segment(path)) continue;
    const SharedBytes file = TRY(protocol::read_file(storage, path, stored_file_bytes_max, deadline));
    const std::uint64_t header_bytes = TRY(format::segment_header_bytes(file.view().first(8), path));
    const format::SegmentHeader header = TRY(format::decode_segment_header(file.view().first(header_bytes), path));
    for (std::size_t i = 0; i < header.layout.block_count(); ++i) {
      const format::SegmentBlock block = header.layout.block(i);
      blocks.push_back({path, header_bytes + block.offset, block.bytes});
    }
  }
  return blocks;
}

/// Staging at most: the budget, or, where a unit of blocks is more than its share of it, what is read, sent and received of one.
std::uint64_t staging_max(const gen::DrawnCase& drawn) {
  const std::uint64_t unit_bytes = drawn.block_bytes * (drawn.block_bytes % 16 == 0 ? 1 : 16);
  return std::max(shared_reading(drawn).staging_budget_bytes, 4 * plan::room_of(unit_bytes));
}

Bytes loads_shared(World& world, const port::Env& real, Rank rank, const gen::DrawnCase& drawn) {
  ReadRecorder storage(real.storage);
  DeviceDataPlane device_plane(real.data);
  const port::Env env{real.net,     over_device(world, drawn) ? static_cast<port::DataPlane&>(device_plane) : real.data,
                      storage,      real.device,
                      real.clock,   real.tasks,
                      real.observer};
  RankRead done;
  gen::RankState state = make_destination(drawn.loaded, rank);
  auto on_device = move_to_device(world, state, env);
  protocol::Session session(env, {.coordinator = drawn.load_coordinator});
  const auto loaded = protocol::load(session, state.dict, {.reading = shared_reading(drawn), .share_reads = true, .staging_keep_bytes = 0});
  if (!loaded) {
    done.wrong = to_string(loaded.error());
    return encode(done);
  }
  if (on_device) on_device->download();
  done.wrong = difference(state, drawn.loaded, rank, make_values(drawn.saved, drawn.seed)).value_or("");
  const std::uint64_t peak = session.staging()->peak_bytes();
  if (shared_reading(drawn).mode == protocol::LoadMode::streamed && peak > staging_max(drawn))
    done.wrong = fmt::format("{} bytes of staging were held, {} are allowed", peak, staging_max(drawn));
  if (session.staging()->held_bytes() != 0) done.wrong = "staging is still held";
  done.bytes_read = loaded->volume.bytes_read;
  for (const FileRead& read : storage.reads()) {
    if (is_segment(read.path) && read.offset != 0) done.reads.push_back(read);  // headers are every rank's own
  }
  if (rank == Rank{0}) {
    const auto blocks = blocks_of(real.storage, loaded->directory, real.clock.after(patience));
    if (blocks) done.blocks = *blocks;
    if (!blocks) done.wrong = fmt::format("{}", blocks.error());
  }
  return encode(done);
}

/// A page that lies in one block is read with it, hence once in the whole job.
Wrong read_twice(const std::vector<RankRead>& ranks) {
  std::map<std::pair<std::string, std::uint64_t>, int> times;  // by page
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    std::uint64_t bytes = 0;
    for (const FileRead& read : ranks[r].reads) {
      bytes += read.bytes;
      for (std::uint64_t at = read.offset; at < read.offset + read.bytes; at += page) ++times[{read.path, at / page}];
    }
    if (bytes != ranks[r].bytes_read) return fmt::format("rank {} read {} bytes, and says {}", r, bytes, ranks[r].bytes_read);
  }
  for (const FileRead& block : ranks.front().blocks) {
    for (std::uint64_t at = (block.offset + page - 1) / page * page; at + page <= block.offset + block.bytes; at += page) {
      MARK("shared_reads.page_counted");
      const int found = times[{block.path, at / page}];
      if (found != 1) return fmt::format("page {} of \"{}\" was read {} times", at / page, block.path, found);
    }
  }
  return std::nullopt;
}

Wrong shares(World& world, const gen::DrawnCase& small) {
  const gen::DrawnCase drawn = with_shared_tensor(small);
  world.reset();
  const gen::WholeValues values = make_values(drawn.saved, drawn.seed);
  if (auto wrong = not_saved(
          save_job(world, drawn.saved, values, {.seed = drawn.seed, .coordinator = drawn.coordinator, .block_bytes = drawn.block_bytes})))
    return "save: " + *wrong;
  const WorldRun run = world.run(drawn.loaded.world_size, drawn.seed + 1,
                                 [&](const port::Env& env, Rank rank) { return loads_shared(world, env, rank, drawn); });
  if (!run.problems.empty()) return run.problems.front();
  std::vector<RankRead> ranks;
  for (const Bytes& result : run.results) {
    Result<RankRead> rank = decode(result);
    if (!rank) return fmt::format("rank {}: {}", ranks.size(), rank.error());
    if (!rank->wrong.empty()) return fmt::format("rank {}: {}", ranks.size(), rank->wrong);
    ranks.push_back(*std::move(rank));
  }
  return read_twice(ranks);
}

}  // namespace

std::vector<Property> shared_reads_properties() {
  return {{"shared-reads",
           "S4 S7 L4",
           "Ranks that share what they read get every bit under any layouts, streamed within a budget, too, and no page of a block is read "
           "twice in the whole job.",
           in_every_world(),
           [](World& world, const gen::DrawOptions& options) {
             return gen::for_all(options, [&](const gen::DrawnCase& drawn) { return shares(world, drawn); });
           },
           {"share.several_readers", "share.steps", "shared_reads.page_counted"}}};
}

}  // namespace holdfast::properties

#include "impl/protocol/shared_load.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "impl/core/check.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::protocol {
namespace {

constexpr std::uint64_t any_budget = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t page_bytes = format::segment_alignment;
constexpr std::uint64_t whole_pages(std::uint64_t bytes) { return (bytes + page_bytes - 1) / page_bytes * page_bytes; }

port::Buffer part_of(const port::Buffer& buffer, std::uint64_t at, std::uint64_t bytes) {
  return {buffer.bytes.subspan(at, bytes), buffer.owner, buffer.kind};
}

}  // namespace

plan::SharingOptions sharing_options(const ReadingOptions& reading, std::uint32_t block_bytes) {
  plan::SharingOptions options{.block_bytes = block_bytes};
  // What is read, what is sent and what comes are in memory at once.
  if (reading.mode == LoadMode::streamed) options.step_bytes = std::min(options.step_bytes, reading.staging_budget_bytes / 4);
  options.reader_bytes_min = std::uint64_t{16} * block_bytes;
  return options;
}

SharedLoad::SharedLoad(Session& session, std::shared_ptr<const SegmentSources> sources, SharedPart part, ReadingOptions reading)
    : session_(session), sources_(std::move(sources)), part_(std::move(part)), reading_(reading) {}

/// Where each shared read lies.
Status SharedLoad::resolve() {
  const auto places = sources_->places();
  for (const plan::SharedRead& read : part_.reads.reads) {
    const MetadataIndex& chunk = part_.reads.chunks[read.chunk];
    const auto place = places.find(chunk);
    if (place == places.end())
      return fail(ErrorCode::corrupt, "load: the plan shares reads of {}, of which this rank wants nothing", to_string(chunk));
    const format::SegmentLayout& layout = sources_->file(place->second.source).header().layout;
    const format::SegmentTensor& tensor = layout.tensors[place->second.tensor];
    const std::uint64_t count = layout.blocks_of(tensor);
    if (read.blocks.end > count)
      return fail(ErrorCode::corrupt, "load: the plan shares blocks {} to {} of {}, which has {} of {} bytes", read.blocks.first,
                  read.blocks.end, to_string(chunk), count, layout.block_bytes);
    const std::size_t first = tensor.first_block + read.blocks.first, end = tensor.first_block + read.blocks.end;
    const format::SegmentBlock last = layout.block(end - 1);
    const ReadPlan::Run run{place->second.tensor, first, end, layout.block(first).offset, last.offset + last.bytes, 0};
    pieces_.push_back({place->second.source, run, read.reader, read.group, read.step});
  }
  exchange_ = TRY(BlockExchange::make(session_, part_.reads, pieces_));
  return {};
}

/// Of `pieces` those that this rank reads.
std::shared_ptr<SegmentLoad> SharedLoad::reads_of(std::span<const SharedPiece> pieces, port::Deadline deadline) const {
  ReadingOptions reading = reading_;
  reading.mode = LoadMode::all_or_nothing;  // what is read stays until it is sent
  auto load = SegmentLoad::make(session_.env(), session_.staging(), sources_, {reading, deadline});
  struct Blocks {
    std::size_t first = 0;
    std::vector<bool> wanted = {};
  };
  std::map<std::size_t, Blocks> by_source;  // from the first to the last: segments are long, and a step has little of one
  for (const SharedPiece& piece : pieces) {
    if (piece.reader != session_.comm().rank()) continue;
    Blocks& blocks = by_source.emplace(piece.source, Blocks{piece.run.first_block}).first->second;
    if (piece.run.first_block < blocks.first) {
      blocks.wanted.insert(blocks.wanted.begin(), blocks.first - piece.run.first_block, false);
      blocks.first = piece.run.first_block;
    }
    if (blocks.wanted.size() < piece.run.end_block - blocks.first) blocks.wanted.resize(piece.run.end_block - blocks.first, false);
    for (std::size_t block = piece.run.first_block; block < piece.run.end_block; ++block) blocks.wanted[block - blocks.first] = true;
  }
  for (const auto& [source, blocks] : by_source) load->add(source, blocks.wanted, blocks.first);
  return load;
}

/// By source: what this rank wants and shares with nobody.
std::vector<std::vector<bool>> SharedLoad::blocks_for_itself() const {
  std::vector<std::vector<bool>> wanted;
  for (std::size_t source = 0; source < sources_->count(); ++source) wanted.push_back(sources_->wanted_blocks(source));
  for (const SharedPiece& piece : pieces_) {
    if (MUTATE("share.reads_what_it_is_sent", false, true)) continue;
    for (std::size_t block = piece.run.first_block; block < piece.run.end_block; ++block) wanted[piece.source][block] = false;
  }
  return wanted;
}

Status SharedLoad::take_memory(port::Deadline deadline) {
  StagingPool& pool = *session_.staging();
  const bool host = session_.env().data.memory() == MemoryKind::host;
  const std::uint64_t send = host ? whole_pages(exchange_->send_bytes()) : 0;
  if (!streams()) {
    port::Buffer packed = send == 0 ? port::Buffer{} : TRY(pool.acquire(send, any_budget, deadline));
    for (std::size_t step = 0; step < exchange_->steps(); ++step) {
      const std::uint64_t bytes = exchange_->received_in(step);
      received_.push_back(bytes == 0 ? port::Buffer{} : TRY(pool.acquire(bytes, any_budget, deadline)));
    }
    return exchange_->open(std::move(packed));
  }
  std::uint64_t read = 0;
  for (std::size_t step = 0; step < exchange_->steps(); ++step)
    read = std::max(read, reads_of(exchange_->pieces_of(step), deadline)->memory_bytes());
  const std::uint64_t receive = whole_pages(exchange_->receive_bytes());
  const std::uint64_t all = read + send + receive;
  // One piece: what is reused may be larger than what is asked for, and of several that might be more than there is room for.
  const port::Buffer memory = all == 0 ? port::Buffer{} : TRY(pool.acquire(all, std::max(all, reading_.staging_budget_bytes), deadline));
  read_ = part_of(memory, 0, read);
  received_.assign(exchange_->steps(), part_of(memory, read + send, receive));
  return exchange_->open(part_of(memory, read, send));
}

Status SharedLoad::read_all(port::Deadline deadline) {
  load_ = SegmentLoad::make(session_.env(), session_.staging(), sources_, {reading_, deadline});
  std::vector<std::vector<bool>> wanted = blocks_for_itself();
  for (const SharedPiece& piece : pieces_) {
    if (piece.reader != session_.comm().rank()) continue;
    for (std::size_t block = piece.run.first_block; block < piece.run.end_block; ++block) wanted[piece.source][block] = true;
  }
  for (std::size_t source = 0; source < wanted.size(); ++source) load_->add(source, wanted[source]);
  bytes_read_ = load_->bytes_read();
  TRY(load_->fetch());
  find_runs();
  return {};
}

Status SharedLoad::prepare(port::Deadline deadline) {
  TRY(resolve());
  TRY(take_memory(deadline));
  return streams() ? Status() : read_all(deadline);
}

Status SharedLoad::read_step(std::size_t step, port::Deadline deadline) {
  load_ = reads_of(exchange_->pieces_of(step), deadline);
  bytes_read_ += load_->bytes_read();
  TRY(load_->fetch(read_));
  find_runs();
  return {};
}

void SharedLoad::find_runs() {
  held_.clear();
  load_->for_each_run([&](std::size_t source, const ReadPlan::Run& run, std::byte* memory) { held_.push_back({source, run, memory}); });
}

/// A piece may lie in several windows of what was read.
Status SharedLoad::pack(std::size_t step, port::Deadline deadline) {
  std::vector<BlockExchange::Copy> copies;
  for (const SharedPiece& piece : exchange_->pieces_of(step)) {
    if (piece.reader != session_.comm().rank()) continue;
    const auto behind = [](const Held& held) { return std::pair(held.source, held.run.end_block); };
    auto held = std::ranges::upper_bound(held_, std::pair(piece.source, piece.run.first_block), {}, behind);
    for (std::uint64_t at = piece.run.begin; at < piece.run.end; ++held) {
      CHECK(held != held_.end() && held->source == piece.source && held->run.begin <= at, "a block that is to be sent was not read");
      const std::uint64_t end = std::min(piece.run.end, held->run.end);
      copies.push_back({piece.at + at - piece.run.begin, held->memory + (at - held->run.begin), end - at});
      at = end;
    }
  }
  return exchange_->pack(copies, load_, deadline);
}

/// What came in a step, against the digests that were taken when it was saved. The reader has found that it is stored like that.
Status SharedLoad::check(std::size_t step) const {
  for (const SharedPiece& piece : exchange_->pieces_of(step)) {
    if (piece.reader == session_.comm().rank()) continue;
    const Status intact = sources_->check(piece.source, piece.run, received_[step].bytes.data() + piece.at);
    if (MUTATE("share.receiver_trusts_bytes", intact.has_value(), true)) continue;
    MARK("share.corrupt_found");
    Error error = within(intact.error(), "load: what rank {} sent", piece.reader);
    error.code = MUTATE("share.blames_the_checkpoint", ErrorCode::io_error, ErrorCode::corrupt);
    return fail(std::move(error));
  }
  return {};
}

/// What came in a step.
Status SharedLoad::hand_over(std::size_t step, LoadPlanner& planner) const {
  SegmentSources::Parts parts;
  for (const SharedPiece& piece : exchange_->pieces_of(step)) {
    if (piece.reader == session_.comm().rank()) continue;
    sources_->append_parts(piece.source, piece.run, received_[step].bytes.data() + piece.at, parts);
  }
  return sources_->hand_over(parts, received_[step].owner, planner);
}

Status SharedLoad::place_step(std::size_t step, LoadPlanner& planner, port::Deadline deadline) {
  TRY(load_->hand_over(planner));
  TRY(hand_over(step, planner));
  return place_intact(session_.env(), planner, deadline);
}

Status SharedLoad::read_rest(LoadPlanner& planner, port::Deadline deadline) {
  load_.reset();
  held_.clear();
  received_.clear();
  exchange_->let_go();
  read_ = {};
  const auto rest = SegmentLoad::make(session_.env(), session_.staging(), sources_, {reading_, deadline});
  const std::vector<std::vector<bool>> wanted = blocks_for_itself();
  for (std::size_t source = 0; source < wanted.size(); ++source) rest->add(source, wanted[source]);
  bytes_read_ += rest->bytes_read();
  return rest->read(planner);
}

Result<FailureMap> SharedLoad::run(LoadPlanner& planner, port::Deadline deadline) {
  const port::Env& env = session_.env();
  // Who waited for a slow rank gives up while it still has time for its own device, or it would be late, too, and be named.
  const port::Deadline meeting{deadline.at - (deadline.at - env.clock.now()) / 8};
  FailureMap note;
  Status own;
  if (exchange_->steps() > 1) MARK("share.steps");
  for (std::size_t step = 0; step < exchange_->steps(); ++step) {
    if (own && streams()) own = read_step(step, deadline);
    if (own) own = pack(step, deadline);
    // Whom the others have given up on is not one of them.
    if (own && env.clock.now() >= meeting.at)
      own = fail(ErrorCode::timeout, "load: this rank had step {} of {} ready when the others no longer waited for it", step + 1,
                 exchange_->steps());
    if (!own) MARK("share.exchanged_after_failure");
    const Status exchanged = exchange_->exchange(step, part_.first_exchange, received_[step], meeting);
    if (!exchanged) {
      Error error = exchanged.error();  // whatever a data plane calls it, it is no damage of the checkpoint
      if (error.code == ErrorCode::corrupt) error.code = ErrorCode::io_error;
      note.add(session_.comm().rank(), std::move(error));
      break;
    }
    if (own) own = exchange_->unpack(step, received_[step], deadline);
    const Status intact = own && note.empty() ? check(step) : Status();
    if (!intact) note.add(session_.comm().rank(), intact.error());
    if (MUTATE("share.blames_receivers", false, !intact.has_value())) own = intact;
    if (own && note.empty() && streams()) own = place_step(step, planner, deadline);
  }
  TRY(own);
  if (!note.empty()) return note;
  if (streams()) {
    TRY(read_rest(planner, deadline));
    return note;
  }
  TRY(sources_->hand_over_empty(planner));
  TRY(load_->hand_over(planner));
  for (std::size_t step = 0; step < exchange_->steps(); ++step) TRY(hand_over(step, planner));
  return note;
}

}  // namespace holdfast::protocol

#include "properties/worlds/launched_world.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <iterator>

#include "impl/backend/host/clock.h"
#include "impl/core/encoding.h"
#include "impl/core/mark.h"

namespace holdfast::properties {
namespace {

constexpr std::uint32_t up = 1, down = 2;  // channels of the meeting
constexpr port::Duration join_limit = std::chrono::minutes(5);
constexpr port::Duration run_join_limit = std::chrono::seconds(20);  // all were there a moment ago
constexpr port::Duration grace = std::chrono::seconds(10), last_words_limit = std::chrono::minutes(1);

/// Ends this process when a run lasts for too long: somebody else's file system may hang whoever asks it. The others, and the launcher, see it end.
class Watchdog {
 public:
  explicit Watchdog(std::chrono::seconds limit) {
    std::signal(SIGALRM, [](int) {
      constexpr std::string_view text = "holdfast-validate: a run does not end, so this process does\n";
      static_cast<void>(!::write(STDERR_FILENO, text.data(), text.size()));
      ::_exit(1);
    });
    ::alarm(static_cast<unsigned>(limit.count()));
  }
  ~Watchdog() { ::alarm(0); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
};

}  // namespace

Result<std::unique_ptr<World>> LaunchedWorld::make(const backend::Rendezvous& rendezvous, backend::Fd listener, LaunchedOptions options) {
  std::unique_ptr<LaunchedWorld> world(new LaunchedWorld(rendezvous, std::move(options)));
  TRY(world->set_up(std::move(listener)));
  return std::unique_ptr<World>(std::move(world));
}

LaunchedWorld::~LaunchedWorld() {
  if (!meeting_) return;
  const port::Deadline deadline = backend::SteadyClock().after(last_words_limit);
  if (lost_.empty()) static_cast<void>(from_first([]() -> Result<Bytes> { return Bytes(); }, deadline));
  static_cast<void>(meeting_->leave(deadline));
}

Status LaunchedWorld::set_up(backend::Fd listener) {
  backend::SteadyClock clock;
  const port::Deadline deadline = clock.after(join_limit);
  meeting_ = TRY(backend::TcpWorld::join(rendezvous_, {}, deadline, std::move(listener)));
  const auto folder = [&]() -> Result<Bytes> {
    scratch_ = TRY(options_.folder.empty() ? Scratch::make() : Scratch::make_in(options_.folder));
    return to_bytes(as_bytes(scratch_->path()));
  };
  folder_ = std::string(as_text(TRY(from_first(folder, deadline)).view()));
  const auto requests = TRY(gather(to_bytes(as_bytes(options_.request)), deadline));
  for (std::size_t r = 0; r < requests.size(); ++r) {
    if (as_text(requests[r].view()) == as_text(requests[0].view())) continue;
    return fail(ErrorCode::invalid_argument, "rank {} was asked for \"{}\", rank 0 for \"{}\"; expected the same", r,
                as_text(requests[r].view()), as_text(requests[0].view()));
  }
  for (const SharedBytes& machine : TRY(gather(to_bytes(as_bytes(options_.machine)), deadline)))
    machines_.emplace_back(as_text(machine.view()));
  return {};
}

/// Rank 0 makes a value, or fails to, and all have it.
Result<SharedBytes> LaunchedWorld::from_first(const std::function<Result<Bytes>()>& make, port::Deadline deadline) {
  const port::Tag tag{down, ++messages_};
  if (rendezvous_.rank == Rank{0}) {
    Result<Bytes> made = make();
    Encoder out;
    out.varint(made.has_value());
    out.blob(made ? ByteView(*made) : as_bytes(made.error().message));
    const SharedBytes message = out.take();
    for (Rank rank{1}; rank.value < rendezvous_.world_size; ++rank.value) TRY(meeting_->net().send(rank, tag, message, deadline));
    if (!made) return fail(std::move(made).error());
    return SharedBytes(*std::move(made));
  }
  // Rank 0 may have waited as long for another rank, and then tells of it.
  const SharedBytes message = TRY(meeting_->net().receive(Rank{0}, tag, {deadline.at + grace}));
  Decoder in(message.view(), "what rank 0 tells all");
  const bool made = TRY(in.varint()) != 0;
  Bytes value = to_bytes(TRY(in.blob()));
  TRY(in.finish());
  if (!made) return fail(ErrorCode::io_error, "rank 0: {}", as_text(value));
  return SharedBytes(std::move(value));
}

/// What every process gives, on every process.
Result<std::vector<SharedBytes>> LaunchedWorld::gather(Bytes own, port::Deadline deadline) {
  const port::Tag tag{up, ++messages_};
  if (rendezvous_.rank != Rank{0}) TRY(meeting_->net().send(Rank{0}, tag, SharedBytes(own), deadline));
  const auto all = [&]() -> Result<Bytes> {
    Encoder out;
    out.blob(own);
    for (Rank rank{1}; rank.value < rendezvous_.world_size; ++rank.value) {
      auto told = meeting_->net().receive(rank, tag, deadline);
      if (!told) return fail(within(std::move(told).error(), "process of rank {}", rank));
      out.blob(told->view());
    }
    return out.take();
  };
  const SharedBytes joined = TRY(from_first(all, deadline));
  Decoder in(joined.view(), "what the ranks ended with");
  std::vector<SharedBytes> parts;
  for (int rank = 0; rank < rendezvous_.world_size; ++rank) parts.emplace_back(to_bytes(TRY(in.blob())));
  TRY(in.finish());
  return parts;
}

void LaunchedWorld::reset() {
  if (tells()) {
    std::error_code kept;  // until the end, then
    std::filesystem::remove_all(case_folder(), kept);
  }
  ++resets_;
}

/// Never one that was there before: other hosts may remember what was in it.
std::string LaunchedWorld::case_folder() const { return fmt::format("{}/case-{}", folder_, resets_); }

/// This process's part of a run, encoded; nothing where the run has fewer ranks.
Result<Bytes> LaunchedWorld::run_here(int world_size, const RankMain& rank_main) {
  backend::SteadyClock clock;
  backend::Fd listener;
  const auto listen = [&]() -> Result<Bytes> {
    std::error_code wrong;
    std::filesystem::create_directories(case_folder(), wrong);
    if (wrong) return fail(ErrorCode::io_error, "make the folder \"{}\": {}", case_folder(), wrong.message());
    listener = TRY(backend::listen_at(rendezvous_.master_address, 0));
    Encoder out;
    out.varint(TRY(backend::local_address(listener)).port());
    return out.take();
  };
  const SharedBytes where = TRY(from_first(listen, clock.after(options_.run_limit)));
  if (rendezvous_.rank.value >= world_size) return Bytes();
  backend::Rendezvous place = rendezvous_;
  place.world_size = world_size;
  Decoder in(where.view(), "where rank 0 listens");
  place.port = static_cast<std::uint16_t>(TRY(in.varint()));
  place.job_id = fmt::format("{} run {}", rendezvous_.job_id, runs_);
  const Marks before = mark_hits();
  const Watchdog watchdog(options_.run_limit);
  const HostRank ended = run_tcp_rank(place, case_folder(), std::move(listener), run_join_limit, options_.run_rank, rank_main);
  return encode(ended, marks_since(before));
}

WorldRun LaunchedWorld::run(int world_size, std::uint64_t /*seed*/, const RankMain& rank_main) {
  WorldRun run;
  run.results.resize(static_cast<std::size_t>(world_size));
  if (world_size > rendezvous_.world_size) {
    run.problems = {fmt::format("a run of {} ranks by {} processes", world_size, rendezvous_.world_size)};
    return run;
  }
  if (!lost_.empty()) {
    run.problems = {lost_};
    return run;
  }
  ++runs_;
  backend::SteadyClock clock;
  Result<Bytes> own = run_here(world_size, rank_main);
  auto ends = own ? gather(*std::move(own), clock.after(options_.run_limit)) : fail(std::move(own).error());
  if (!ends) {
    lost_ = fmt::format("the processes cannot go on together: {}", ends.error());
    run.problems = {lost_};
    return run;
  }
  for (std::size_t r = 0; r < run.results.size(); ++r) {
    Marks marks;
    Result<HostRank> ended = decode_rank((*ends)[r].view(), marks);
    if (!ended) {
      run.problems.push_back(fmt::format("rank {}: {}", r, ended.error()));
      continue;
    }
    if (rendezvous_.rank != Rank{static_cast<int>(r)}) add_mark_hits(marks);  // its own are counted already
    run.results[r] = std::move(ended->result);
    std::ranges::move(ended->problems, std::back_inserter(run.problems));
  }
  return run;
}

}  // namespace holdfast::properties

// PosixStorage alone, held against the ceiling of the same minute: what is lost between the door and the disk.
#include <sys/mman.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <thread>

#include "impl/backend/host/clock.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/core/check.h"
#include "tests/bench/bench.h"
#include "tests/bench/io_ceiling.h"
#include "tests/impl/core/random.h"

namespace holdfast::bench {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;
constexpr std::size_t piece_bytes = std::size_t{1} << 20;
constexpr std::chrono::seconds patience{600};

/// What a rank holds in staging: huge pages, touched, full of noise.
struct Staging {
  explicit Staging(std::size_t size)
      : owner(std::aligned_alloc(huge_page_bytes, (size + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes), std::free),
        bytes(static_cast<std::byte*>(owner.get()), size) {
    CHECK(owner, "{} bytes", size);
    static_cast<void>(::madvise(owner.get(), size, MADV_HUGEPAGE));
    testing::Random random(size);
    for (std::byte& byte : bytes.first(huge_page_bytes)) byte = static_cast<std::byte>(random.next());
    for (std::size_t at = huge_page_bytes; at < size; ++at) bytes[at] = bytes[at - huge_page_bytes];
  }
  std::shared_ptr<void> owner;
  ByteSpan bytes;
};

template <typename Piece>
std::vector<Piece> pieces_of(const Staging& staging) {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < staging.bytes.size(); at += piece_bytes) {
    pieces.push_back({at, staging.bytes.subspan(at, std::min(piece_bytes, staging.bytes.size() - at)), staging.owner});
  }
  return pieces;
}

class Measurement {
 public:
  Measurement(backend::PosixStorage& storage, int ranks, std::uint64_t bytes) : storage_(storage) {
    // Not a multiple of any page: the tail goes another way.
    for (int rank = 0; rank < ranks; ++rank) ranks_.emplace_back(bytes / static_cast<unsigned>(ranks) - 100);
  }

  /// New files in the place of those before, which go first and cost no time here, as with IoCeiling.
  Result<Rate> write() {
    TRY(remove());
    return timed([&](std::size_t rank) -> Status {
      const port::FileId file = TRY(storage_.create(name(rank), soon()));
      TRY(storage_.write_all(file, pieces_of<port::WritePiece>(ranks_[rank]), soon()));
      TRY(storage_.sync(file, soon()));
      return storage_.close(file);
    });
  }
  Result<Rate> read() {
    return timed([&](std::size_t rank) -> Status {
      const port::FileId file = TRY(storage_.open(name(rank), soon()));
      TRY(storage_.read_all(file, pieces_of<port::ReadPiece>(ranks_[rank]), soon()));
      return storage_.close(file);
    });
  }

 private:
  Status remove() {
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      const Status removed = storage_.remove(name(rank), soon());
      if (!removed && removed.error().code != ErrorCode::not_found) return removed;
    }
    return storage_.sync_directory("", soon());
  }
  port::Deadline soon() { return clock_.after(patience); }
  static std::string name(std::size_t rank) { return fmt::format("rank-{}", rank); }

  /// Runs `work` for each rank on a thread of its own.
  template <typename Work>
  Result<Rate> timed(Work work) {
    std::vector<Status> results(ranks_.size());
    std::uint64_t bytes = 0;
    for (const Staging& rank : ranks_) bytes += rank.bytes.size();
    const ProcessTime begin;
    std::vector<std::thread> threads;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) threads.emplace_back([&, rank] { results[rank] = work(rank); });
    for (std::thread& thread : threads) thread.join();
    const Rate rate = begin.rate(bytes);
    for (const Status& result : results) TRY(result);
    return rate;
  }

  backend::PosixStorage& storage_;
  backend::SteadyClock clock_;
  std::vector<Staging> ranks_;
};

struct Rates {
  std::vector<double> gb_per_s, cpu_s_per_gb;
  void add(const Rate& rate) {
    gb_per_s.push_back(rate.gb_per_s);
    cpu_s_per_gb.push_back(rate.cpu_s_per_gb);
  }
};

/// Writes and reads once with one of the two.
template <typename Mover>
Status add(Mover& mover, std::map<std::string, Rates>& rates) {
  rates["write"].add(TRY(mover.write()));
  rates["read"].add(TRY(mover.read()));
  return {};
}

Status measure(const Request& request, const std::string& size, int ranks) {
  const std::uint64_t bytes = std::uint64_t{request.quick ? 16u : 2048u} << 20;
  const Folder folder;
  const auto ceiling = TRY(IoCeiling::make(folder.path(), bytes, ranks));
  const auto storage = TRY(backend::PosixStorage::open_root(folder.path()));
  fmt::print(stderr, "storage {}: {}\n", size, storage->engine());
  Measurement measurement(*storage, ranks, bytes);
  std::map<std::string, Rates> of, found;
  for (int repeat = 0; repeat < (request.quick ? 1 : 10); ++repeat) {
    // In turn: who comes second pays for what the first leaves the disk to do.
    if (repeat % 2 == 0) TRY(add(*ceiling, of));
    TRY(add(measurement, found));
    if (repeat % 2 != 0) TRY(add(*ceiling, of));
  }
  for (const auto& [what, rates] : found) {
    request.report({.name = fmt::format("{} {}", what, size),
                    .value = median(rates.gb_per_s),
                    .unit = "GB/s",
                    .of = median(of[what].gb_per_s),
                    .bytes = bytes});
    request.report({.name = fmt::format("cpu {} {}", what, size), .value = median(rates.cpu_s_per_gb), .unit = "cpu s/GB", .bytes = bytes});
  }
  return {};
}

}  // namespace

Status bench_storage(const Request& request) {
  for (const int ranks : {1, 2}) {
    const std::string size = fmt::format("p={}", ranks);
    if (request.wants(size)) TRY(measure(request, size, ranks));
  }
  return {};
}

}  // namespace holdfast::bench

// Device memory digested, packed, staged and saved by the CUDA back end, held against plain copies of the CUDA runtime in the same run.
#include <array>
#include <cstdlib>
#include <filesystem>

#include "impl/backend/cuda/describe.h"
#include "impl/backend/cuda/device.h"
#include "impl/backend/host/clock.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/core/check.h"
#include "impl/protocol/load.h"
#include "impl/protocol/pending_save.h"
#include "impl/protocol/save.h"
#include "tests/bench/bench.h"
#include "tests/gpu/gpu_ceiling.h"

namespace holdfast::bench {
namespace {

constexpr port::Duration patience = std::chrono::minutes(2);
constexpr double digest_aim = 3000, snapshot_aim = 40 / 0.024, tmpfs_aim = 50, load_aim = 52;  ///< GB/s on an H200

struct Sizes {
  std::size_t large;         ///< digests, packing, copies
  std::size_t small, count;  ///< many small tensors
  std::size_t state;         ///< saved and loaded
  int repeats;
};
constexpr int within_batch = 40, out_batch = 4;
constexpr Sizes full{std::size_t{4} << 30, 4096, 20'000, std::size_t{8} << 30, 7},
    brief{std::size_t{1} << 16, 64, 20, std::size_t{1} << 18, 1};

double gb_per_s(std::size_t bytes, double seconds) { return static_cast<double>(bytes) / 1e9 / seconds; }

class Bench {
 public:
  Bench(const Request& request, backend::CudaDevice& device, port::Clock& clock)
      : request_(request), device_(device), clock_(clock), sizes_(request.quick ? brief : full) {}

  Status run() {
    gpu_ = TRY(backend::describe_cuda_device(0));
    stream_ = TRY(device_.create_stream());
    TRY(ceilings());
    for (const DType dtype : {DType::f32, DType::bf16, DType::f8_e4m3}) TRY(digest(dtype));
    TRY(pack());
    TRY(snapshot());
    TRY(pin());
    TRY(stage());
    TRY(small());
    TRY(saved());
    device_.destroy_stream(stream_);
    return {};
  }

 private:
  void report(std::string name, double value, const char* unit, std::optional<double> of, std::size_t bytes, std::string dtype = {}) {
    request_.report({std::move(name), value, unit, of, bytes, std::move(dtype), gpu_});
  }

  Status wait() {
    const port::EventId event = TRY(device_.record(stream_));
    const Status ended = device_.synchronize(event, clock_.after(patience));
    device_.destroy_event(event);
    return ended;
  }

  /// Median seconds of one work() of `at_once` that are enqueued before their end is waited for, since a wait sleeps up to a millisecond between two looks;
  /// the first time does not count.
  template <typename Work>
  Result<double> time(int at_once, Work work) {
    std::vector<double> times;
    for (int repeat = -1; repeat < sizes_.repeats; ++repeat) {
      const Stopwatch watch;
      for (int i = 0; i < at_once; ++i) TRY(work());
      TRY(wait());
      if (repeat >= 0) times.push_back(watch.wall() / at_once);
    }
    return median(std::move(times));
  }

  /// Device memory full of noise.
  Result<port::Buffer> noise(std::size_t bytes) {
    const port::Buffer buffer = TRY(device_.allocate_device(bytes));
    const std::size_t part = std::min<std::size_t>(bytes, 64 << 20);
    const port::Buffer staging = TRY(device_.allocate_staging(part));
    std::uint64_t value = 1;
    for (std::byte& byte : staging.bytes)
      byte = static_cast<std::byte>((value = value * 6364136223846793005u + 1442695040888963407u) >> 56);
    for (std::size_t at = 0; at < bytes; at += part) {
      const std::size_t here = std::min(part, bytes - at);
      TRY(device_.copy_in(staging.bytes.first(here), staging.owner, packed(buffer.bytes.subspan(at, here)), stream_));
    }
    TRY(wait());
    return buffer;
  }
  static StridedBlock packed(ByteSpan bytes) {
    return packed_block(bytes.data(), {static_cast<std::int64_t>(bytes.size())}, 1, MemoryKind::device);
  }

  Status ceilings() {
    for (const auto& [way, name, speed] : {std::tuple(Way::in, "ceiling copy in", &in_), std::tuple(Way::out, "ceiling copy out", &out_),
                                           std::tuple(Way::within, "ceiling copy within", &within_)}) {
      *speed = gb_per_s(sizes_.large, TRY(copy_seconds(way, sizes_.large, sizes_.repeats)));
      report(name, *speed, "GB/s", {}, sizes_.large);
    }
    return {};
  }

  /// A digest reads each byte once, a copy within the device reads and writes it.
  Status digest(DType dtype) {
    const port::Buffer memory = TRY(noise(sizes_.large));
    const Dims shape{static_cast<std::int64_t>(sizes_.large / size_bytes(dtype) / 64), 64};
    const StridedBlock block = packed_block(memory.bytes.data(), shape, size_bytes(dtype), MemoryKind::device);
    const auto result = std::make_shared<TensorDigest>();
    const double seconds =
        TRY(time(within_batch, [&] { return device_.digest(block, {{0, 0}, shape}, shape, dtype, result.get(), result, stream_); }));
    const std::string name = fmt::format("digest {}", to_string(dtype));
    report(name, gb_per_s(sizes_.large, seconds), "GB/s", 2 * within_, sizes_.large, std::string(to_string(dtype)));
    if (dtype == DType::f32) report("digest for the aim", gb_per_s(sizes_.large, seconds), "GB/s", digest_aim, sizes_.large, "f32");
    return {};
  }

  /// Half of each row of a matrix: what a rank holds of one that is cut by columns.
  Status pack() {
    const port::Buffer memory = TRY(noise(sizes_.large)), to = TRY(device_.allocate_device(sizes_.large / 2));
    const std::int64_t columns = request_.quick ? 64 : 4096;
    const Dims shape{static_cast<std::int64_t>(sizes_.large / 2) / columns, columns};
    const StridedBlock half = narrow(packed_block(memory.bytes.data(), shape, 2, MemoryKind::device), {0, 0}, {shape[0], columns / 2});
    const port::StageItem item{.source = half, .destination = to.bytes};
    const double seconds = TRY(time(within_batch, [&] { return device_.stage({&item, 1}, to.owner, stream_); }));
    report("pack columns", gb_per_s(sizes_.large / 2, seconds), "GB/s", within_, sizes_.large / 2, "bf16");
    return {};
  }

  /// Digested and copied to other memory of the device; and only copied, as the ceiling is.
  Status snapshot() {
    const port::Buffer memory = TRY(noise(sizes_.large)), to = TRY(device_.allocate_device(sizes_.large));
    const Dims shape{static_cast<std::int64_t>(sizes_.large / 2)};
    const StridedBlock block = packed_block(memory.bytes.data(), shape, 2, MemoryKind::device);
    const auto kept = std::make_shared<std::pair<std::shared_ptr<void>, TensorDigest>>(to.owner, TensorDigest{});
    double speed = 0;
    for (const auto& [name, digest] :
         {std::pair("snapshot without digest", static_cast<TensorDigest*>(nullptr)), std::pair("snapshot", &kept->second)}) {
      const port::StageItem item{block, {{0}, shape}, shape, DType::bf16, to.bytes, digest};
      speed = gb_per_s(sizes_.large, TRY(time(within_batch, [&] { return device_.stage({&item, 1}, kept, stream_); })));
      report(name, speed, "GB/s", within_, sizes_.large, "bf16");
    }
    report("snapshot for the aim", speed, "GB/s", snapshot_aim, sizes_.large, "bf16");
    return {};
  }

  /// What the first save pays for each byte of staging: to find, touch and pin it.
  Status pin() {
    const std::size_t bytes = std::min<std::size_t>(sizes_.large, 1 << 30);
    std::vector<double> times;
    for (int repeat = 0; repeat < sizes_.repeats; ++repeat) {
      const Stopwatch watch;
      const port::Buffer staging = TRY(device_.allocate_staging(bytes));
      times.push_back(watch.wall());
    }
    report("pin staging", gb_per_s(bytes, median(std::move(times))), "GB/s", {}, bytes);
    return {};
  }

  /// Digested and copied to pinned memory.
  Status stage() {
    const port::Buffer memory = TRY(noise(sizes_.large)), to = TRY(device_.allocate_staging(sizes_.large));
    const Dims shape{static_cast<std::int64_t>(sizes_.large / 4)};
    const StridedBlock block = packed_block(memory.bytes.data(), shape, 4, MemoryKind::device);
    const auto kept = std::make_shared<std::pair<std::shared_ptr<void>, TensorDigest>>(to.owner, TensorDigest{});
    const port::StageItem item{block, {{0}, shape}, shape, DType::f32, to.bytes, &kept->second};
    const double seconds = TRY(time(out_batch, [&] { return device_.stage({&item, 1}, kept, stream_); }));
    report("stage", gb_per_s(sizes_.large, seconds), "GB/s", out_, sizes_.large, "f32");
    return {};
  }

  /// Thousands of tensors of a page.
  Status small() {
    const std::size_t bytes = sizes_.small * sizes_.count;
    const port::Buffer memory = TRY(noise(bytes)), to = TRY(device_.allocate_staging(bytes));
    const Dims shape{static_cast<std::int64_t>(sizes_.small / 2)};
    const auto digests = std::make_shared<std::vector<TensorDigest>>(sizes_.count);
    const auto kept = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(to.owner, digests);
    std::vector<port::StageItem> items;
    for (std::size_t i = 0; i < sizes_.count; ++i) {
      const StridedBlock block = packed_block(memory.bytes.data() + i * sizes_.small, shape, 2, MemoryKind::device);
      items.push_back({block, {{0}, shape}, shape, DType::bf16, to.bytes.subspan(i * sizes_.small, sizes_.small), &(*digests)[i]});
    }
    const double seconds = TRY(time(out_batch, [&] { return device_.stage(items, kept, stream_); }));
    report(fmt::format("stage {} tensors of {}", sizes_.count, sizes_.small), gb_per_s(bytes, seconds), "GB/s", out_, bytes, "bf16");
    report("stage a small tensor", seconds / static_cast<double>(sizes_.count) * 1e6, "us", {}, sizes_.small, "bf16");
    return {};
  }

  /// A state of device memory saved to files in memory, durably as far as those go, and loaded.
  Status saved() {
    std::error_code unknown;
    const std::filesystem::space_info room = std::filesystem::space("/dev/shm", unknown);
    if (unknown || room.available < 5 * (sizes_.state / 2)) {  // an old step goes when a new one is there
      fmt::print(stderr, "SKIPPED save to tmpfs, load from tmpfs, async_save: /dev/shm has no room for {} bytes twice\n", sizes_.state);
      return {};
    }
    std::string folder = "/dev/shm/holdfast-bench-XXXXXX";
    CHECK(::mkdtemp(folder.data()), "make a folder {}", folder);
    const Status done = save_and_load(folder);
    std::error_code ignored;  // nothing to tell it to
    std::filesystem::remove_all(folder, ignored);
    return done;
  }

  Status save_and_load(const std::string& folder) {
    constexpr std::size_t tensors = 16;
    const std::size_t each = sizes_.state / tensors;
    std::vector<port::Buffer> memory;
    StateDict state;
    const Dims shape{static_cast<std::int64_t>(each / 4)};
    for (std::size_t i = 0; i < tensors; ++i) {
      memory.push_back(TRY(noise(each)));
      TRY(state.add(fmt::format("layers.{}", i), memory.back().bytes.data(), DType::f32, shape, ChunkLayout{0, {Rank{0}}}, Rank{0},
                    MemoryKind::device));
    }
    const auto storage = TRY(backend::PosixStorage::open_root(folder));
    backend::InProcessWorld network(1);
    backend::ThreadTasks tasks;
    protocol::Session session({network.net(Rank{0}), network.data(Rank{0}), *storage, device_, clock_, tasks});
    std::vector<double> saves, loads;
    for (int repeat = -1; repeat < sizes_.repeats; ++repeat) {
      const Stopwatch saving;
      const auto done = protocol::save(session, state, {.step = Step{repeat + 2}, .deadline = patience, .retention = {.keep_last = 1}});
      const double saved = saving.wall();
      if (!done) return fail(ErrorCode::io_error, "{}", to_string(done.error()));
      const Stopwatch loading;
      const auto loaded = protocol::load(session, state, {.deadline = patience, .reading = {.mode = protocol::LoadMode::streamed}});
      if (!loaded) return fail(ErrorCode::io_error, "{}", to_string(loaded.error()));
      if (repeat < 0) continue;
      saves.push_back(gb_per_s(sizes_.state, saved));
      loads.push_back(gb_per_s(sizes_.state, loading.wall()));
    }
    report("save to tmpfs", median(saves), "GB/s", tmpfs_aim, sizes_.state, "f32");
    report("load from tmpfs", median(loads), "GB/s", load_aim, sizes_.state, "f32");
    TRY(stall(session, state, protocol::Snapshot::device, "async_save to a snapshot", within_));
    return stall(session, state, protocol::Snapshot::staging, "async_save to staging", out_);
  }

  /// The bytes of a save by the time that the trainer waits for async_save.
  Status stall(protocol::Session& session, const StateDict& state, protocol::Snapshot snapshot, const char* name, double ceiling) {
    std::vector<double> speeds;
    for (int repeat = -1; repeat < sizes_.repeats; ++repeat) {
      const Stopwatch watch;
      auto pending = protocol::async_save(
          session, state, {.step = Step{repeat + 2}, .deadline = patience, .retention = {.keep_last = 1}, .snapshot = snapshot});
      const double seconds = watch.wall();
      if (!pending) return fail(ErrorCode::io_error, "{}", to_string(pending.error()));
      const auto saved = pending->wait(clock_.after(patience));
      if (!saved) return fail(ErrorCode::timeout, "{}: the save did not end", name);
      if (!*saved) return fail(ErrorCode::io_error, "{}", to_string(saved->error()));
      if ((*saved)->snapshot != snapshot) return fail(ErrorCode::out_of_memory, "{}: there was no memory for it", name);
      if (repeat >= 0) speeds.push_back(gb_per_s(sizes_.state, seconds));
    }
    report(name, median(std::move(speeds)), "GB/s", ceiling, sizes_.state, "f32");
    return {};
  }

  const Request& request_;
  backend::CudaDevice& device_;
  std::string gpu_;
  port::Clock& clock_;
  Sizes sizes_;
  port::StreamId stream_;
  double in_ = 0, out_ = 0, within_ = 0;  ///< GB/s
};

}  // namespace

Status bench_gpu(const Request& request) {
  TRY(backend::cuda_device_count());
  backend::SteadyClock clock;
  const auto device = TRY(backend::make_cuda_device(0, clock));
  return Bench(request, *device, clock).run();
}

std::span<const Benchmark> benchmarks() {
  static constexpr std::array all{Benchmark{"gpu", bench_gpu}};
  return all;
}

}  // namespace holdfast::bench

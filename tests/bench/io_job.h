// A job of some ranks, each a thread of this process, with a state to save and load: for the benchmarks of io.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "impl/backend/host/clock.h"
#include "impl/backend/host/device.h"
#include "impl/backend/host/tasks.h"
#include "impl/backend/inprocess/world.h"
#include "impl/core/check.h"
#include "impl/protocol/save.h"
#include "tests/bench/bench.h"

namespace holdfast::bench {

inline constexpr const char* dtypes = "bf16,f32";
inline constexpr port::Duration patience = std::chrono::minutes(5);

struct Tensor {
  const char* name;
  DType dtype;
  Dims shape;
};

/// A few layers of a model with an optimizer: large matrices of two dtypes, and small vectors between them.
inline std::vector<Tensor> tensors(bool quick) {
  const std::int64_t wide = quick ? 512 : 4096, deep = quick ? 1024 : 12288;
  return {{"layers.0.attention.wq", DType::bf16, {wide, wide}},
          {"layers.0.attention.wk", DType::bf16, {wide / 4, wide}},
          {"layers.0.attention_norm", DType::bf16, {wide}},
          {"layers.0.feed_forward.w1", DType::bf16, {deep, wide}},
          {"layers.0.feed_forward.w2", DType::bf16, {wide, deep}},
          {"layers.0.feed_forward.w3", DType::bf16, {deep, wide}},
          {"layers.0.ffn_norm", DType::bf16, {wide}},
          {"optimizer.exp_avg.w1", DType::f32, {deep, wide}},
          {"optimizer.exp_avg.w2", DType::f32, {wide, deep}},
          {"optimizer.exp_avg_sq.w1", DType::f32, {deep, wide}},
          {"optimizer.exp_avg_sq.w2", DType::f32, {wide, deep}},
          {"optimizer.exp_avg_sq.w3", DType::f32, {deep, wide}},
          {"optimizer.exp_avg.w3", DType::f32, {deep * 4, wide}},
          {"optimizer.step", DType::f32, {1}}};
}

inline ChunkLayout over_all(int ranks) {
  ChunkLayout layout{0, {}};
  for (int r = 0; r < ranks; ++r) layout.placements.push_back(Rank{r});
  return layout;
}

/// What a rank trains with: memory on huge pages, full of noise.
class RankState {
 public:
  RankState(const std::vector<Tensor>& all, const Layout& layout, Rank rank) {
    for (const Tensor& tensor : all) {
      const auto bytes = local_bytes(tensor.dtype, tensor.shape, layout, rank);
      CHECK(bytes.has_value(), "{}", bytes.error());
      places_.push_back({bytes_, *bytes});
      bytes_ += *bytes;
    }
    constexpr std::size_t huge = std::size_t{2} << 20;
    memory_.reset(std::aligned_alloc(huge, (bytes_ + huge) / huge * huge), std::free);
    static_cast<void>(::madvise(memory_.get(), bytes_, MADV_HUGEPAGE));
    std::uint64_t noise = static_cast<std::uint64_t>(rank.value) + 1;
    for (std::size_t at = 0; at + 8 <= bytes_; at += 8) {
      noise = noise * 6364136223846793005u + 1442695040888963407u;
      std::memcpy(data() + at, &noise, 8);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Status added = dict.add(all[i].name, data() + places_[i].first, all[i].dtype, all[i].shape, layout, rank);
      CHECK(added.has_value(), "{}", added.error());
    }
  }

  std::size_t bytes() const { return bytes_; }
  ByteSpan memory() const { return {data(), bytes_}; }
  void poison() { std::memset(memory_.get(), 0xDB, bytes_); }
  /// Of all that the rank holds.
  TensorDigest digest() const {
    TensorDigest sum;
    for (const auto& [name, entry] : dict.entries()) {
      const auto& tensor = std::get<TensorEntry>(entry);
      for (const LocalShard& shard : tensor.shards) sum += tensor_digest(shard.memory, shard.box, tensor.shape, tensor.dtype);
    }
    return sum;
  }

  StateDict dict;

 private:
  std::byte* data() const { return static_cast<std::byte*>(memory_.get()); }
  std::vector<std::pair<std::size_t, std::size_t>> places_;
  std::size_t bytes_ = 0;
  std::shared_ptr<void> memory_;
};

/// Ranks as threads of this process, over one storage. Sessions live as long as it.
class Job {
 public:
  Job(port::Storage& storage, int ranks) : network_(ranks) {
    for (int r = 0; r < ranks; ++r) {
      parts_.push_back(std::make_unique<Part>());
      Part& part = *parts_.back();
      part.session.emplace(port::Env{network_.net(Rank{r}), network_.data(Rank{r}), storage, part.device, clock_, part.tasks});
    }
  }

  /// Runs work(session, rank number) on a thread a rank.
  template <typename Work>
  Status run(Work work) {
    std::vector<Status> results(parts_.size());
    std::vector<std::thread> threads;
    for (std::size_t r = 0; r < parts_.size(); ++r) threads.emplace_back([&, r] { results[r] = work(*parts_[r]->session, r); });
    for (std::thread& thread : threads) thread.join();
    for (const Status& result : results) TRY(result);
    return {};
  }

 private:
  struct Part {
    backend::HostDevice device;
    backend::ThreadTasks tasks;
    std::optional<protocol::Session> session;
  };
  backend::InProcessWorld network_;
  backend::SteadyClock clock_;
  std::vector<std::unique_ptr<Part>> parts_;
};

template <typename T>
Status status_of(const protocol::Checkpointed<T>& outcome) {
  if (outcome) return {};
  return fail(ErrorCode::io_error, "{}", to_string(outcome.error()));
}

/// Two replicas load what two ranks saved: what is read of the storage, and how fast both have it (io_shared_bench.cc).
Status bench_shared_reads(const Request& request);

}  // namespace holdfast::bench

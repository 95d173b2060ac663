// Many blocks in one call: the calls that it costs, and that it does what the blocks would have done one by one.
#include <gtest/gtest.h>

#include <algorithm>

#include "impl/core/dtype.h"
#include "tests/sim/cuda/random_blocks.h"
#include "tests/sim/cuda/simulated.h"

namespace holdfast::testing_cuda {
namespace {

using port::Buffer;
using port::EventId;
using port::StageItem;
using port::StreamId;
using port::UnstageItem;
using sim::cuda::Pace;

Status wait(Simulated& world, StreamId stream) {
  const EventId done = TRY(world.device->record(stream));
  TRY(world.device->synchronize(done, world.soon()));
  world.device->destroy_event(done);
  return {};
}

std::uint64_t calls_so_far() {
  std::uint64_t sum = 0;
  for (const auto& [name, count] : sim::cuda::calls()) sum += count;
  return sum;
}

/// `count` tensors of `bytes` each, side by side in device memory, `gap` bytes apart in host memory, and back.
struct Small {
  std::uint64_t out = 0, in = 0;  ///< calls
  bool whole = false;
};

enum class Digests { taken, none };

Small stage_small(std::size_t count, std::size_t bytes, std::size_t gap, Digests with = Digests::taken) {
  Simulated world(count, Pace::eager);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(count * bytes).value(), again = device.allocate_device(count * bytes).value();
  const Buffer image = device.allocate_staging(count * bytes).value(), staging = device.allocate_staging(count * (bytes + gap)).value();
  Random random(count);
  fill(image.bytes, random);
  std::ranges::fill(staging.bytes, std::byte{0x11});
  const auto raw = [&](const Buffer& buffer) {
    return packed_block(buffer.bytes.data(), {static_cast<std::int64_t>(buffer.bytes.size())}, 1, buffer.kind);
  };
  EXPECT_TRUE(device.copy_in(image.bytes, image.owner, raw(memory), stream));
  EXPECT_TRUE(wait(world, stream));

  const auto digests = std::make_shared<std::vector<TensorDigest>>(2 * count);
  const Dims shape{static_cast<std::int64_t>(bytes / 2)};
  std::vector<StageItem> out;
  std::vector<UnstageItem> in;
  for (std::size_t i = 0; i < count; ++i) {
    const ByteSpan packed = staging.bytes.subspan(i * (bytes + gap), bytes);
    out.push_back({packed_block(memory.bytes.data() + i * bytes, shape, 2, MemoryKind::device),
                   {{0}, shape},
                   shape,
                   DType::bf16,
                   packed,
                   &(*digests)[i]});
    in.push_back({packed_block(packed.data(), shape, 2),
                  {{0}, shape},
                  shape,
                  DType::bf16,
                  packed_block(again.bytes.data() + i * bytes, shape, 2, MemoryKind::device),
                  &(*digests)[count + i]});
  }
  if (with == Digests::none) {
    for (StageItem& item : out) item.digest = nullptr;
    for (UnstageItem& item : in) item.digest = nullptr;
  }
  const auto calls_of = [&](auto enqueue) {
    const std::uint64_t before = calls_so_far();
    EXPECT_TRUE(enqueue());
    const std::uint64_t calls = calls_so_far() - before;
    EXPECT_TRUE(wait(world, stream));
    return calls;
  };
  (void)calls_of([&] { return device.stage(out, digests, stream); });  // allocates what batches use
  (void)calls_of([&] { return device.unstage(in, digests, stream); });
  Small small;
  small.out = calls_of([&] { return device.stage(out, digests, stream); });
  small.in = calls_of([&] { return device.unstage(in, digests, stream); });

  small.whole = true;
  for (std::size_t i = 0; i < count; ++i) {
    const ByteSpan wanted = image.bytes.subspan(i * bytes, bytes);
    const std::size_t at = i * (bytes + gap);
    const ByteSpan around = staging.bytes.subspan(at + bytes, gap);
    small.whole &= std::ranges::equal(wanted, staging.bytes.subspan(at, bytes)) &&
                   std::ranges::all_of(around, [](std::byte byte) { return byte == std::byte{0x11}; });
    if (with == Digests::none) continue;
    const TensorDigest digest = tensor_digest(packed_block(wanted.data(), shape, 2), {{0}, shape}, shape, DType::bf16);
    small.whole &= (*digests)[i] == digest && (*digests)[count + i] == digest;
  }
  EXPECT_TRUE(device.copy_out(raw(again), image.bytes, image.owner, stream));
  EXPECT_TRUE(wait(world, stream));
  for (std::size_t i = 0; i < count; ++i) {
    small.whole &= std::ranges::equal(image.bytes.subspan(i * bytes, bytes), staging.bytes.subspan(i * (bytes + gap), bytes));
  }
  device.destroy_stream(stream);
  return small;
}

TEST(CudaBatch, CostsTheSameCallsHoweverManySmallTensorsItHas) {
  // The capture mode and back, cudaGetDevice; the table goes up; digest, pack, copy out; the lanes come back; the host function.
  constexpr std::uint64_t calls = 9;
  for (const std::size_t count : {2, 100, 20'000}) {
    const Small small = stage_small(count, 64, 0);
    EXPECT_EQ(small.out, calls) << count;
    EXPECT_EQ(small.in, calls) << count;
    EXPECT_TRUE(small.whole) << count;
  }
  const Small alone = stage_small(1, 64, 0);  // goes where it lies, with no packing
  EXPECT_EQ(alone.out, calls - 1);
  EXPECT_EQ(alone.in, calls - 1);
  EXPECT_TRUE(alone.whole);
}

TEST(CudaBatch, CostsTheSameCallsWhereDestinationsAreApart) {
  // The host function that hands out what bounced, or collects it, besides.
  constexpr std::uint64_t calls = 10;
  for (const std::size_t count : {5, 100, 5'000}) {
    const Small small = stage_small(count, 64, 16);
    EXPECT_EQ(small.out, calls) << count;
    EXPECT_EQ(small.in, calls) << count;
    EXPECT_TRUE(small.whole) << count;
  }
}

TEST(CudaBatch, MoreThanTheAreaHoldsCostsTwoCallsMoreARound) {
  const Small small = stage_small(600, 128 << 10, 0, Digests::none);  // 75 MiB through an area of 64
  EXPECT_EQ(small.out, 6u + 2);
  EXPECT_EQ(small.in, 6u + 2);
  EXPECT_TRUE(small.whole);
}

/// A block of a random batch, and where its bytes lie on either side.
struct Part {
  RandomBlock block;
  MemoryKind kind = MemoryKind::device;
  std::size_t memory_at = 0, packed_at = 0;
  bool digested = false, moved = false;
};

struct RandomBatch {
  std::vector<Part> parts;
  std::size_t memory_bytes = 0, packed_bytes = 0;
};

RandomBatch random_batch(Random& random) {
  RandomBatch batch;
  const auto count = random.below(3) == 0 ? random.below(40) : random.below(6);
  const std::int64_t gap = random.below(2) == 0 ? 0 : 40;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::span<const DType> dtypes = all_dtypes();
    Part part;
    part.block = random_block(random, dtypes[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(dtypes.size())))]);
    if (random.below(8) == 0) part.kind = MemoryKind::host;
    part.digested = random.below(4) != 0;
    part.moved = random.below(5) != 0;
    part.memory_at = (batch.memory_bytes + 15) / 16 * 16;
    batch.memory_bytes = part.memory_at + part.block.bytes;
    part.packed_at = batch.packed_bytes + static_cast<std::size_t>(random.below(gap + 1));
    batch.packed_bytes = part.packed_at + part.block.in(nullptr, part.kind).bytes();
    batch.parts.push_back(std::move(part));
  }
  for (std::size_t i = batch.parts.size(); i > 1; --i)
    std::swap(batch.parts[i - 1], batch.parts[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
  return batch;
}

constexpr int to_device = 0, to_pinned = 1, to_pageable = 2;

/// The batch out and back in, compared with copy_block and tensor_digest; what lies between its blocks must not change.
Status check_batch(Simulated& world, const RandomBatch& batch, int kind, std::uint64_t seed) {
  port::Device& device = *world.device;
  Random random(seed);
  const auto allocate = [&](bool on_device, std::size_t bytes) {
    return on_device ? device.allocate_device(bytes) : device.allocate_staging(bytes);
  };
  const Buffer memory = TRY(allocate(true, batch.memory_bytes)), image = TRY(allocate(false, batch.memory_bytes));
  const Buffer known = TRY(allocate(kind == to_device, batch.packed_bytes)), back = TRY(allocate(false, batch.packed_bytes));
  Bytes unknown(kind == to_pageable ? batch.packed_bytes : 0);
  const ByteSpan packed = kind == to_pageable ? ByteSpan(unknown) : known.bytes;
  const StreamId stream = TRY(device.create_stream());
  const auto raw = [](ByteSpan bytes, MemoryKind of) {
    return packed_block(bytes.data(), {static_cast<std::int64_t>(bytes.size())}, 1, of);
  };
  fill(image.bytes, random);
  fill(back.bytes, random);
  Bytes host_side = to_bytes(image.bytes), model = host_side, model_packed = to_bytes(back.bytes);
  TRY(device.copy_in(image.bytes, image.owner, raw(memory.bytes, MemoryKind::device), stream));
  if (kind == to_pageable) std::ranges::copy(back.bytes, unknown.begin());
  if (kind == to_pinned) std::ranges::copy(back.bytes, known.bytes.begin());
  if (kind == to_device) TRY(device.copy_in(back.bytes, back.owner, raw(packed, MemoryKind::device), stream));
  TRY(wait(world, stream));

  const auto place = [&](const Part& part, std::byte* on_device, std::byte* on_host) {
    return part.block.in((part.kind == MemoryKind::device ? on_device : on_host) + part.memory_at, part.kind);
  };
  const auto digests = std::make_shared<std::vector<TensorDigest>>(2 * batch.parts.size());
  std::vector<StageItem> out;
  std::vector<UnstageItem> in;
  for (std::size_t i = 0; i < batch.parts.size(); ++i) {
    const Part& part = batch.parts[i];
    const StridedBlock block = place(part, memory.bytes.data(), host_side.data());
    // A block of host memory has its other side there, too.
    if (part.kind == MemoryKind::host && kind == to_device) continue;
    const ByteSpan bytes = packed.subspan(part.packed_at, block.bytes());
    const StridedBlock expected = part.block.in(model.data() + part.memory_at, MemoryKind::host);
    const StridedBlock expected_packed = packed_block(model_packed.data() + part.packed_at, block.sizes, block.element_bytes);
    if (part.moved) copy_block(expected, expected_packed);
    out.push_back({block, part.block.box, part.block.shape, part.block.dtype, part.moved ? bytes : ByteSpan(),
                   part.digested ? &(*digests)[i] : nullptr});
    if (part.moved) {
      in.push_back({packed_block(bytes.data(), block.sizes, block.element_bytes), part.block.box, part.block.shape, part.block.dtype, block,
                    part.digested ? &(*digests)[batch.parts.size() + i] : nullptr});
    }
  }
  TRY(device.stage(out, digests, stream));
  if (kind == to_device) TRY(device.copy_out(raw(packed, MemoryKind::device), back.bytes, back.owner, stream));
  TRY(wait(world, stream));
  const ByteView arrived = kind == to_device ? ByteView(back.bytes) : ByteView(packed);
  if (!std::ranges::equal(arrived, model_packed)) return fail(ErrorCode::corrupt, "stage: other bytes than copy_block's");
  for (std::size_t i = 0; i < batch.parts.size(); ++i) {
    const Part& part = batch.parts[i];
    if (!part.digested || (part.kind == MemoryKind::host && kind == to_device)) continue;
    const StridedBlock block = part.block.in(model.data() + part.memory_at, MemoryKind::host);
    const TensorDigest expected =
        block.bytes() == 0 ? TensorDigest{} : tensor_digest(block, part.block.box, part.block.shape, part.block.dtype);
    if ((*digests)[i] != expected) return fail(ErrorCode::corrupt, "stage: digest of {}", to_string(part.block));
  }

  Bytes changed(batch.packed_bytes);
  fill(changed, random);
  if (kind == to_device) {
    std::ranges::copy(changed, back.bytes.begin());
    TRY(device.copy_in(back.bytes, back.owner, raw(packed, MemoryKind::device), stream));
  } else {
    std::ranges::copy(changed, packed.begin());
  }
  TRY(device.unstage(in, digests, stream));
  TRY(device.copy_out(raw(memory.bytes, MemoryKind::device), image.bytes, image.owner, stream));
  TRY(wait(world, stream));
  Bytes model_host = model;
  for (std::size_t i = 0; i < batch.parts.size(); ++i) {
    const Part& part = batch.parts[i];
    if (!part.moved || (part.kind == MemoryKind::host && kind == to_device)) continue;
    Bytes& side = part.kind == MemoryKind::device ? model : model_host;
    const StridedBlock block = part.block.in(side.data() + part.memory_at, MemoryKind::host);
    copy_block(packed_block(changed.data() + part.packed_at, block.sizes, block.element_bytes), block);
    if (!part.digested) continue;
    const TensorDigest expected =
        block.bytes() == 0 ? TensorDigest{} : tensor_digest(block, part.block.box, part.block.shape, part.block.dtype);
    if ((*digests)[batch.parts.size() + i] != expected) return fail(ErrorCode::corrupt, "unstage: digest of {}", to_string(part.block));
  }
  if (!std::ranges::equal(model, image.bytes)) return fail(ErrorCode::corrupt, "unstage: other bytes in device memory than copy_block's");
  if (!std::ranges::equal(model_host, host_side)) return fail(ErrorCode::corrupt, "unstage: other bytes in host memory than copy_block's");
  device.destroy_stream(stream);
  return {};
}

TEST(CudaBatch, RandomBatchesDoWhatTheHostDoes) {
  for (const int kind : {to_device, to_pinned, to_pageable}) {
    for (std::uint64_t seed = 0; seed < 150; ++seed) {
      Simulated world(seed);
      Random random(seed * 3 + static_cast<std::uint64_t>(kind));
      const RandomBatch batch = random_batch(random);
      const Status held = check_batch(world, batch, kind, seed);
      ASSERT_TRUE(held) << "kind " << kind << ", seed " << seed << ": " << held.error().message;
      ASSERT_EQ(world.close(), "") << "kind " << kind << ", seed " << seed;
    }
  }
}

TEST(CudaBatch, TakesHostMemoryWithGapsIn) {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    Simulated world(seed);
    port::Device& device = *world.device;
    const StreamId stream = device.create_stream().value();
    constexpr std::int64_t rows = 6, columns = 10, count = 7;
    const Buffer memory = device.allocate_device(count * rows * 4 * 4).value(),
                 staging = device.allocate_staging(rows * columns * 4).value();
    const Buffer back = device.allocate_staging(memory.bytes.size()).value();
    Random random(seed);
    fill(staging.bytes, random);
    const StridedBlock whole = packed_block(staging.bytes.data(), {rows, columns}, 4);
    Bytes expected(memory.bytes.size());
    std::vector<UnstageItem> items;
    for (std::int64_t i = 0; i < count; ++i) {
      const StridedBlock source = narrow(whole, {0, i}, {rows, 4});
      items.push_back(
          {.source = source, .destination = packed_block(memory.bytes.data() + i * rows * 16, {rows, 4}, 4, MemoryKind::device)});
      copy_block(source, packed_block(expected.data() + i * rows * 16, {rows, 4}, 4));
    }
    ASSERT_TRUE(device.unstage(items, staging.owner, stream));
    ASSERT_TRUE(
        device.copy_out(packed_block(memory.bytes.data(), {count * rows * 4}, 4, MemoryKind::device), back.bytes, back.owner, stream));
    ASSERT_TRUE(wait(world, stream));
    EXPECT_TRUE(std::ranges::equal(expected, back.bytes));
    device.destroy_stream(stream);
  }
}

/// Long runs, whose keys stay in registers: whole periods, parts of one at either end, rows, an odd first number.
TEST(CudaBatch, DigestsLongRuns) {
  struct Run {
    DType dtype;
    std::int64_t rows, columns, offset, pitch;
  };
  for (const Run& run :
       {Run{DType::u8, 1, 200'000, 0, 0}, Run{DType::u8, 1, 100'000, 4113, 0}, Run{DType::bf16, 1, 90'001, 4096 * 3 - 8, 0},
        Run{DType::bf16, 3, 40'000, 16, 24}, Run{DType::f32, 1, 70'000, 12, 0}, Run{DType::f32, 2, 33'000, 4096, 4},
        Run{DType::f64, 1, 50'000, 6, 0}, Run{DType::f8_e4m3, 2, 65'536, 0, 16}, Run{DType::f8_e4m3, 2, 65'536, 3, 5}}) {
    for (const bool aligned : {true, false}) {
      Simulated world(static_cast<std::uint64_t>(run.columns));
      port::Device& device = *world.device;
      const StreamId stream = device.create_stream().value();
      const std::uint32_t element = size_bytes(run.dtype);
      const std::int64_t pitch = run.columns + run.pitch;
      const Dims shape{run.rows, run.offset + pitch};
      const Box box{{0, run.offset}, {run.rows, run.columns}};
      // Memory of the whole tensor, or of the box alone: number and address of a unit agree, or mostly do not.
      const StridedBlock layout = aligned ? narrow(packed_block(nullptr, shape, element), box.offset, box.size)
                                          : narrow(packed_block(nullptr, {run.rows, pitch}, element), {0, 0}, box.size);
      const std::size_t bytes = static_cast<std::size_t>(run.rows * (run.offset + pitch)) * element;
      const Buffer memory = device.allocate_device(bytes).value(), image = device.allocate_staging(bytes).value();
      Random random(7);
      fill(image.bytes, random);
      const auto at = [&](const Buffer& buffer) {
        StridedBlock block = layout;
        block.data = buffer.bytes.data() + (aligned ? run.offset * element : 0);
        block.kind = buffer.kind;
        return block;
      };
      const auto digest = std::make_shared<TensorDigest>();
      ASSERT_TRUE(device.copy_in(image.bytes, image.owner,
                                 packed_block(memory.bytes.data(), {static_cast<std::int64_t>(bytes)}, 1, memory.kind), stream));
      ASSERT_TRUE(device.digest(at(memory), box, shape, run.dtype, digest.get(), digest, stream));
      ASSERT_TRUE(wait(world, stream));
      EXPECT_EQ(*digest, tensor_digest(at(image), box, shape, run.dtype)) << to_string(run.dtype) << " " << run.columns << " " << aligned;
      device.destroy_stream(stream);
    }
  }
}

TEST(CudaBatch, IsNamedInErrors) {
  Simulated world(0, Pace::lazy);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(4000).value(), staging = device.allocate_staging(4000).value();
  std::vector<StageItem> items;
  for (std::size_t i = 0; i < 10; ++i) {
    items.push_back({.source = packed_block(memory.bytes.data() + i * 400, {400}, 1, MemoryKind::device),
                     .destination = staging.bytes.subspan(i * 400, 400)});
  }
  ASSERT_TRUE(device.stage(items, staging.owner, stream));
  const EventId done = device.record(stream).value();
  EXPECT_EQ(
      device.synchronize(done, {world.clock.now()}).error().message,
      fmt::format(
          "event {} on device 0, stream {} is not complete at the deadline (under way on this stream: stage of 10 blocks, 4000 bytes)",
          done.value, stream.value));
  ASSERT_TRUE(device.synchronize(done, world.soon()));
}

TEST(CudaBatch, AMisalignedDigestIsRefusedBeforeAnythingOfTheBatch) {
  Simulated world(0);
  port::Device& device = *world.device;
  const StreamId stream = device.create_stream().value();
  const Buffer memory = device.allocate_device(64).value(), staging = device.allocate_staging(64).value();
  TensorDigest digest;
  const StageItem good{.source = packed_block(memory.bytes.data(), {4}, 4, MemoryKind::device), .destination = staging.bytes.first(16)};
  const StageItem bad{packed_block(memory.bytes.data() + 18, {4}, 4, MemoryKind::device), {{0}, {4}}, {4}, DType::f32, {}, &digest};
  const std::vector<StageItem> items{good, bad};
  const std::uint64_t before = calls_so_far();
  EXPECT_EQ(device.stage(items, nullptr, stream).error(),
            error(ErrorCode::invalid_argument, "digest of F32 elements on device 0: address or stride is not a multiple of 4"));
  EXPECT_EQ(calls_so_far(), before);
}

}  // namespace
}  // namespace holdfast::testing_cuda

#include "tests/conformance/device_cases.h"

#include <algorithm>

#include "tests/conformance/expect.h"

namespace holdfast::conformance {
namespace {

using port::Buffer;
using port::Clock;
using port::Device;
using port::EventId;
using port::StageItem;
using port::StreamId;
using port::UnstageItem;

/// Waits for everything enqueued on the stream so far.
Status finish(Device& device, Clock& clock, StreamId stream) {
  const EventId event = TRY(device.record(stream));
  const Status done = device.synchronize(event, clock.after(long_time));
  device.destroy_event(event);
  return done;
}

void fill(ByteSpan bytes, std::uint8_t seed) {
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(static_cast<std::uint8_t>(i * 7 + i / 256 + seed));
}

struct Geometry {
  Dims whole;   // of the packed tensor in memory
  Dims offset;  // of the block in it
  Dims size;
};

const std::vector<Geometry>& geometries() {
  static const std::vector<Geometry> all = {
      {{}, {}, {}},
      {{1}, {0}, {1}},
      {{64}, {5}, {40}},
      {{64}, {64}, {0}},
      {{7, 9}, {0, 0}, {7, 9}},
      {{7, 9}, {2, 0}, {3, 9}},
      {{7, 9}, {0, 4}, {7, 2}},
      {{5, 6, 7}, {1, 2, 3}, {3, 3, 3}},
      {{3, 1, 4, 5}, {1, 0, 0, 1}, {2, 1, 4, 3}},
  };
  return all;
}

/// The whole tensor goes up, the block comes down, and comes down as copy_block on the host would have packed it; then the block goes up
/// again with other bytes, and nothing around it changes.
Status check_copies(Device& device, Clock& clock, StreamId stream, const Geometry& geometry, DType dtype) {
  const std::uint32_t element = size_bytes(dtype);
  const std::size_t bytes = packed_block(nullptr, geometry.whole, element).bytes();
  const Buffer memory = TRY(device.allocate_device(bytes));
  const Buffer up = TRY(device.allocate_staging(bytes));
  const StridedBlock tensor = packed_block(memory.bytes.data(), geometry.whole, element, memory.kind);
  const StridedBlock block = narrow(tensor, geometry.offset, geometry.size);
  fill(up.bytes, 1);
  TRY(device.copy_in(up.bytes, up.owner, tensor, stream));

  const Buffer down = TRY(device.allocate_staging(block.bytes()));
  const auto digest = std::make_shared<TensorDigest>();
  const Box box{geometry.offset, geometry.size};
  TRY(device.digest(block, box, geometry.whole, dtype, digest.get(), digest, stream));
  TRY(device.copy_out(block, down.bytes, down.owner, stream));
  TRY(finish(device, clock, stream));

  Bytes model(up.bytes.begin(), up.bytes.end());
  const StridedBlock model_block = narrow(packed_block(model.data(), geometry.whole, element), geometry.offset, geometry.size);
  Bytes packed(block.bytes());
  copy_block(model_block, packed_block(packed.data(), geometry.size, element));
  TRY(expect(std::equal(packed.begin(), packed.end(), down.bytes.begin(), down.bytes.end()), "copy_out to pack as copy_block does"));
  TRY(expect(*digest == tensor_digest(model_block, box, geometry.whole, dtype), "digest to be tensor_digest"));

  fill(down.bytes, 99);
  TRY(device.copy_in(down.bytes, down.owner, block, stream));
  TRY(device.copy_out(tensor, up.bytes, up.owner, stream));
  TRY(finish(device, clock, stream));
  fill(packed, 99);
  copy_block(packed_block(packed.data(), geometry.size, element), model_block);
  return expect(std::equal(model.begin(), model.end(), up.bytes.begin(), up.bytes.end()), "copy_in to change its block and nothing else");
}

/// stage() copies and digests at once; unstage() takes memory that is not packed, and digests where the bytes end.
Status check_staging(Device& device, Clock& clock, StreamId stream, const Geometry& geometry, DType dtype) {
  const std::uint32_t element = size_bytes(dtype);
  const std::size_t bytes = packed_block(nullptr, geometry.whole, element).bytes();
  const Buffer memory = TRY(device.allocate_device(bytes));
  const Buffer up = TRY(device.allocate_staging(bytes));
  const StridedBlock block =
      narrow(packed_block(memory.bytes.data(), geometry.whole, element, memory.kind), geometry.offset, geometry.size);
  const StridedBlock source = narrow(packed_block(up.bytes.data(), geometry.whole, element), geometry.offset, geometry.size);
  const Box box{geometry.offset, geometry.size};
  fill(up.bytes, 5);
  const TensorDigest expected = tensor_digest(source, box, geometry.whole, dtype);
  struct Kept {
    Buffer staging;
    TensorDigest arrived, left;
  };
  const auto kept = std::make_shared<Kept>();
  const UnstageItem in{source, box, geometry.whole, dtype, block, &kept->arrived};
  TRY(device.unstage({&in, 1}, up.owner, stream));
  kept->staging = TRY(device.allocate_staging(block.bytes()));
  const StageItem out{block, box, geometry.whole, dtype, kept->staging.bytes, &kept->left};
  TRY(device.stage({&out, 1}, kept, stream));
  TRY(finish(device, clock, stream));
  Bytes packed(block.bytes());
  copy_block(source, packed_block(packed.data(), geometry.size, element));
  TRY(expect(kept->arrived == expected, "unstage to digest the destination"));
  TRY(expect(kept->left == expected, "stage to digest the source"));
  return expect(std::equal(packed.begin(), packed.end(), kept->staging.bytes.begin(), kept->staging.bytes.end()),
                "what was unstaged to be staged again");
}

Status copies_strided_blocks(Device& device, Clock& clock) {
  const StreamId stream = TRY(device.create_stream());
  for (const Geometry& geometry : geometries()) {
    for (const DType dtype : {DType::u8, DType::bf16, DType::f32, DType::f64, DType::c128}) {
      Status checked = check_copies(device, clock, stream, geometry, dtype);
      if (checked) checked = check_staging(device, clock, stream, geometry, dtype);
      if (!checked) {
        return fail(within(checked.error(), "block {} of a tensor {} of {}", to_string(Box{geometry.offset, geometry.size}),
                           to_string({geometry.whole.data(), geometry.whole.size()}), to_string(dtype)));
      }
    }
  }
  device.destroy_stream(stream);
  return {};
}

Status refuses_unequal_sizes(Device& device, Clock& clock) {
  const StreamId stream = TRY(device.create_stream());
  const Buffer memory = TRY(device.allocate_device(8));
  const Buffer staging = TRY(device.allocate_staging(8));
  const StridedBlock block = packed_block(memory.bytes.data(), {8}, 1, memory.kind);
  TRY(expect_error(device.copy_out(block, staging.bytes.first(7), staging.owner, stream), ErrorCode::invalid_argument));
  TRY(expect_error(device.copy_in(staging.bytes.first(7), staging.owner, block, stream), ErrorCode::invalid_argument));
  const StridedBlock two_by_four = packed_block(staging.bytes.data(), {2, 4}, 1);
  const UnstageItem reshaped{.source = two_by_four, .destination = block};
  TRY(expect_error(device.unstage({&reshaped, 1}, staging.owner, stream), ErrorCode::invalid_argument));
  TRY(finish(device, clock, stream));
  device.destroy_stream(stream);
  return {};
}

/// Stream b reads what stream a wrote, because it waits for a's event; a's later work is not seen before its own event.
Status streams_wait_for_events(Device& device, Clock& clock) {
  const StreamId a = TRY(device.create_stream());
  const StreamId b = TRY(device.create_stream());
  const Buffer memory = TRY(device.allocate_device(4096));
  const Buffer up = TRY(device.allocate_staging(4096));
  const Buffer down = TRY(device.allocate_staging(4096));
  const StridedBlock block = packed_block(memory.bytes.data(), {4096}, 1, memory.kind);
  for (std::uint8_t round = 0; round < 10; ++round) {
    fill(up.bytes, round);
    TRY(device.copy_in(up.bytes, up.owner, block, a));
    const EventId written = TRY(device.record(a));
    TRY(device.wait(b, written));
    device.destroy_event(written);
    TRY(device.copy_out(block, down.bytes, down.owner, b));
    TRY(finish(device, clock, b));
    TRY(expect(std::equal(up.bytes.begin(), up.bytes.end(), down.bytes.begin()), fmt::format("round {} to be read back", round)));
  }
  device.destroy_stream(a);
  device.destroy_stream(b);
  return {};
}

/// Blocks of a tensor's columns and rows, some empty, some only digested, side by side or apart on the other side: out in one call, and in again in
/// one, they are what they would have been one by one.
Status batches_are_their_blocks_one_by_one(Device& device, Clock& clock) {
  constexpr std::int64_t rows = 12, columns = 33;
  const StreamId stream = TRY(device.create_stream());
  const Dims shape{rows, columns};
  for (const DType dtype : {DType::u8, DType::bf16, DType::f32, DType::c128}) {
    for (const std::size_t gap : {0, 48}) {
      const std::uint32_t element = size_bytes(dtype);
      const std::size_t bytes = rows * columns * element;
      const Buffer memory = TRY(device.allocate_device(bytes)), again = TRY(device.allocate_device(bytes));
      const Buffer up = TRY(device.allocate_staging(bytes)), back = TRY(device.allocate_staging(bytes));
      const Buffer between = TRY(device.allocate_staging(2 * bytes + 64 * gap));
      fill(up.bytes, 3);
      fill(between.bytes, 1);
      const auto whole = [&](const Buffer& buffer) { return packed_block(buffer.bytes.data(), shape, element, buffer.kind); };
      TRY(device.copy_in(up.bytes, up.owner, whole(memory), stream));
      TRY(device.copy_in(up.bytes, up.owner, whole(again), stream));
      std::vector<Box> boxes;
      for (std::int64_t row = 0; row < rows; row += 2) boxes.push_back({{row, 0}, {2, row % 4 == 0 ? columns : 7}});
      for (std::int64_t row = 0; row < rows; ++row) boxes.push_back({{row, row}, {1, row % 5}});
      const auto digests = std::make_shared<std::vector<TensorDigest>>(2 * boxes.size());
      std::vector<port::StageItem> out;
      std::vector<port::UnstageItem> in;
      Bytes expected(between.bytes.begin(), between.bytes.end());
      std::size_t at = 0;
      for (std::size_t i = 0; i < boxes.size(); ++i) {
        const Box& box = boxes[i];
        const StridedBlock source = narrow(whole(memory), box.offset, box.size), model = narrow(whole(up), box.offset, box.size);
        const bool moves = i % 3 != 2;  // the rows that are narrow overlap rows that are wide: these come back alone
        const ByteSpan packed = moves ? between.bytes.subspan(at, source.bytes()) : ByteSpan();
        out.push_back({source, box, shape, dtype, packed, &(*digests)[i]});
        if (!moves) continue;
        copy_block(model, packed_block(expected.data() + at, box.size, element));
        if (i < rows / 2) {
          in.push_back({packed_block(packed.data(), box.size, element), box, shape, dtype, narrow(whole(again), box.offset, box.size),
                        &(*digests)[boxes.size() + i]});
        }
        at += source.bytes() + gap;
      }
      const auto kept = std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(between.owner, digests);
      TRY(device.stage(out, kept, stream));
      TRY(device.unstage(in, kept, stream));
      TRY(device.copy_out(whole(again), back.bytes, back.owner, stream));
      TRY(finish(device, clock, stream));
      TRY(expect(std::ranges::equal(expected, between.bytes), "stage to pack each block as copy_block does, and to write nothing between"));
      TRY(expect(std::ranges::equal(up.bytes, back.bytes), "unstage to put each block back where it was"));
      for (std::size_t i = 0; i < boxes.size(); ++i) {
        const StridedBlock model = narrow(whole(up), boxes[i].offset, boxes[i].size);
        const TensorDigest digest = tensor_digest(model, boxes[i], shape, dtype);
        TRY(expect((*digests)[i] == digest, fmt::format("stage to digest block {} of {}", i, to_string(dtype))));
        const bool came_back = i < rows / 2 && i % 3 != 2;
        TRY(expect(!came_back || (*digests)[boxes.size() + i] == digest,
                   fmt::format("unstage to digest block {} of {}", i, to_string(dtype))));
      }
    }
  }
  device.destroy_stream(stream);
  return {};
}

/// From device memory to device memory and back, several blocks at once.
Status batches_stay_on_the_device(Device& device, Clock& clock) {
  constexpr std::int64_t rows = 9, columns = 20, bytes = rows * columns;
  const StreamId stream = TRY(device.create_stream());
  const Buffer memory = TRY(device.allocate_device(bytes)), packed = TRY(device.allocate_device(bytes)),
               again = TRY(device.allocate_device(bytes));
  const Buffer up = TRY(device.allocate_staging(bytes)), back = TRY(device.allocate_staging(bytes));
  fill(up.bytes, 8);
  const auto whole = [&](const Buffer& buffer) { return packed_block(buffer.bytes.data(), {rows, columns}, 1, buffer.kind); };
  TRY(device.copy_in(up.bytes, up.owner, whole(memory), stream));
  std::vector<port::StageItem> out;
  std::vector<port::UnstageItem> in;
  const auto digests = std::make_shared<std::vector<TensorDigest>>(4);
  for (std::int64_t i = 0; i < 4; ++i) {
    const Box box{{0, 5 * i}, {rows, 5}};
    const ByteSpan part = packed.bytes.subspan(static_cast<std::size_t>(i * rows * 5), rows * 5);
    out.push_back({.source = narrow(whole(memory), box.offset, box.size), .destination = part});
    in.push_back({packed_block(part.data(), box.size, 1, packed.kind),
                  box,
                  {rows, columns},
                  DType::u8,
                  narrow(whole(again), box.offset, box.size),
                  &(*digests)[static_cast<std::size_t>(i)]});
  }
  TRY(device.stage(out, packed.owner, stream));
  TRY(device.unstage(in, digests, stream));
  TRY(device.copy_out(whole(again), back.bytes, back.owner, stream));
  TRY(finish(device, clock, stream));
  TRY(expect(std::ranges::equal(up.bytes, back.bytes), "what went through device memory to be what it was"));
  for (std::int64_t i = 0; i < 4; ++i) {
    const Box box{{0, 5 * i}, {rows, 5}};
    TRY(expect(
        (*digests)[static_cast<std::size_t>(i)] == tensor_digest(narrow(whole(up), box.offset, box.size), box, {rows, columns}, DType::u8),
        "unstage to digest each block"));
  }
  device.destroy_stream(stream);
  return {};
}

Status an_event_with_nothing_before_it_is_complete(Device& device, Clock& clock) {
  const StreamId stream = TRY(device.create_stream());
  TRY(finish(device, clock, stream));
  device.destroy_stream(stream);
  return {};
}

Status allocations_are_apart_and_writable(Device& device, Clock&) {
  std::vector<Buffer> buffers;
  for (const std::size_t bytes : {0, 1, 4095, 4096, 4097, 100'000}) {
    buffers.push_back(TRY(device.allocate_staging(bytes)));
    TRY(expect(buffers.back().bytes.size() == bytes && buffers.back().owner != nullptr, fmt::format("{} bytes with an owner", bytes)));
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) fill(buffers[i].bytes, static_cast<std::uint8_t>(i));
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    Bytes expected(buffers[i].bytes.size());
    fill(expected, static_cast<std::uint8_t>(i));
    TRY(expect(std::equal(expected.begin(), expected.end(), buffers[i].bytes.begin()), fmt::format("buffer {} to keep its bytes", i)));
  }
  return {};
}

constexpr DeviceCase cases[] = {
    {"CopiesStridedBlocks", copies_strided_blocks},
    {"RefusesUnequalSizes", refuses_unequal_sizes},
    {"StreamsWaitForEvents", streams_wait_for_events},
    {"BatchesAreTheirBlocksOneByOne", batches_are_their_blocks_one_by_one},
    {"BatchesStayOnTheDevice", batches_stay_on_the_device},
    {"AnEventWithNothingBeforeItIsComplete", an_event_with_nothing_before_it_is_complete},
    {"AllocationsAreApartAndWritable", allocations_are_apart_and_writable},
};

}  // namespace

std::span<const DeviceCase> device_cases() { return cases; }

}  // namespace holdfast::conformance

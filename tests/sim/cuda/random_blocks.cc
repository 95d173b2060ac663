#include "tests/sim/cuda/random_blocks.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace holdfast::testing_cuda {

std::uint64_t Random::next() {
  state_ += 0x9e3779b97f4a7c15u;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

StridedBlock RandomBlock::in(std::byte* memory, MemoryKind kind) const {
  return {memory + first_byte, box.size, strides_bytes, size_bytes(dtype), kind};
}

RandomBlock random_block(Random& random, DType dtype) {
  RandomBlock block;
  block.dtype = dtype;
  const bool long_rows = random.below(3) == 0;
  const auto dims = static_cast<std::size_t>(long_rows ? 1 + random.below(3) : random.below(11));
  const bool holey = long_rows || random.below(3) != 0;
  std::int64_t shape_volume = 1, elements = 1;
  for (std::size_t d = 0; d < dims; ++d) {
    const std::int64_t most = elements > 1000 ? 1 : dims > 5 ? 3 : 6;
    const std::int64_t size = random.below(40) == 0                          ? 0
                              : long_rows && d + 1 == dims && elements < 200 ? 500 + random.below(700)
                                                                             : 1 + random.below(most);
    elements *= std::max<std::int64_t>(size, 1);
    // Some tensors are far larger than the box, so that unit numbers pass 2^32.
    const std::int64_t around = shape_volume < (1 << 20) && random.below(8) == 0 ? random.below(1 << 30) : random.below(4);
    block.box.size.push_back(size);
    block.box.offset.push_back(random.below(around + 1));
    block.shape.push_back(size + around);
    shape_volume *= block.shape.back();
  }
  // Memory order: a permutation, innermost first, each dimension with a gap before the next.
  std::vector<std::size_t> order(dims);
  for (std::size_t d = 0; d < dims; ++d) order[d] = dims - 1 - d;
  if (!long_rows && random.below(2) == 0) {
    for (std::size_t d = dims; d > 1; --d)
      std::swap(order[d - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(d)))]);
  }
  block.strides_bytes.assign(dims, 0);
  std::int64_t stride = size_bytes(dtype);
  for (const std::size_t d : order) {
    block.strides_bytes[d] = stride;
    if (random.below(10) == 0) block.strides_bytes[d] = -stride;
    const std::int64_t gap = holey && stride < 10'000 && random.below(3) != 0 ? random.below(4) : 0;
    stride *= std::max<std::int64_t>(block.box.size[d], 1) + gap;
  }
  std::int64_t low = 0;
  for (std::size_t d = 0; d < dims; ++d)
    low += std::min<std::int64_t>(0, std::max<std::int64_t>(block.box.size[d] - 1, 0) * block.strides_bytes[d]);
  block.first_byte = -low + random.below(4) * size_bytes(dtype);
  block.bytes = static_cast<std::size_t>(block.first_byte + stride);
  return block;
}

std::string to_string(const RandomBlock& block) {
  return fmt::format("{} box {} of shape {}, strides {}, first byte {}", holdfast::to_string(block.dtype), holdfast::to_string(block.box),
                     holdfast::to_string({block.shape.data(), block.shape.size()}),
                     holdfast::to_string({block.strides_bytes.data(), block.strides_bytes.size()}), block.first_byte);
}

void fill(ByteSpan bytes, Random& random) {
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(8, bytes.size() - i));
  }
}

Status check_block(port::Device& device, port::Clock& clock, const RandomBlock& block, std::uint64_t seed) {
  return check_block(device, clock, block, TRY(device.allocate_device(block.bytes)), seed);
}

Status check_block(port::Device& device, port::Clock& clock, const RandomBlock& block, const port::Buffer& memory, std::uint64_t seed) {
  Random random(seed);
  const std::uint32_t element = size_bytes(block.dtype);
  const port::Buffer image = TRY(device.allocate_staging(block.bytes));
  const StridedBlock all = packed_block(memory.bytes.data(), {static_cast<std::int64_t>(block.bytes)}, 1, memory.kind);
  const StridedBlock region = block.in(memory.bytes.data(), memory.kind);
  const port::Buffer packed = TRY(device.allocate_staging(region.bytes()));
  const auto digest = std::make_shared<TensorDigest>();
  const port::StreamId up = TRY(device.create_stream());
  const port::StreamId down = TRY(device.create_stream());

  fill(image.bytes, random);
  Bytes model = to_bytes(image.bytes);
  TRY(device.copy_in(image.bytes, image.owner, all, up));
  const port::EventId uploaded = TRY(device.record(up));
  TRY(device.wait(down, uploaded));
  TRY(device.digest(region, block.box, block.shape, block.dtype, digest.get(), digest, down));
  TRY(device.copy_out(region, packed.bytes, packed.owner, down));
  const port::EventId downloaded = TRY(device.record(down));
  TRY(device.synchronize(downloaded, clock.after(std::chrono::seconds(60))));
  Bytes expected(region.bytes());
  copy_block(block.in(model.data(), MemoryKind::host), packed_block(expected.data(), region.sizes, element));
  if (!std::ranges::equal(expected, packed.bytes)) return fail(ErrorCode::corrupt, "copy_out of {}", to_string(block));
  if (*digest != tensor_digest(block.in(model.data(), MemoryKind::host), block.box, block.shape, block.dtype)) {
    return fail(ErrorCode::corrupt, "digest of {}", to_string(block));
  }

  fill(packed.bytes, random);
  copy_block(packed_block(packed.bytes.data(), region.sizes, element), block.in(model.data(), MemoryKind::host));
  TRY(device.copy_in(packed.bytes, packed.owner, region, down));
  TRY(device.copy_out(all, image.bytes, image.owner, down));
  const port::EventId changed = TRY(device.record(down));
  TRY(device.synchronize(changed, clock.after(std::chrono::seconds(60))));
  if (!std::ranges::equal(model, image.bytes)) return fail(ErrorCode::corrupt, "copy_in of {}", to_string(block));

  for (const port::EventId event : {uploaded, downloaded, changed}) device.destroy_event(event);
  for (const port::StreamId stream : {up, down}) device.destroy_stream(stream);
  return {};
}

}  // namespace holdfast::testing_cuda

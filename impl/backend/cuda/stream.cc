#include "impl/backend/cuda/stream.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {
namespace {

constexpr std::size_t area_bytes_max = std::size_t{64} << 20;
constexpr std::size_t area_bytes_min = std::size_t{64} << 10;
constexpr std::int64_t digest_units_max = std::int64_t{1} << 30;  // a launch
constexpr std::int64_t row_bytes_min = 512;                       // a 2-D copy with shorter rows is slower than a kernel and a flat copy
constexpr std::uint32_t blocks_max = 2048;                        // enough to fill a GPU several times over

bool is_contiguous(const Dimensions& region) { return region.empty() || (region.size() == 1 && region[0].stride_bytes == 1); }

bool is_rows(const Dimensions& region) {
  return region.size() == 2 && region[1].stride_bytes == 1 && region[1].size >= row_bytes_min && region[0].stride_bytes >= region[1].size &&
         region[0].stride_bytes <= std::numeric_limits<std::int32_t>::max();
}

std::uint32_t ceil_divide(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

}  // namespace

Result<std::unique_ptr<Stream>> Stream::create(const Site& site, Area area) {
  OwnedEvent fence = TRY(create_event(site));
  std::unique_ptr<Stream> stream(new Stream(site, std::move(fence)));
  stream->owned_ = TRY(create_stream(site));
  stream->handle_ = stream->owned_.get();
  if (area.bytes != 0) stream->areas_.push_back(std::move(area));
  return stream;
}

Result<std::unique_ptr<Stream>> Stream::view(const Site& site, cudaStream_t handle) {
  OwnedEvent fence = TRY(create_event(site));
  std::unique_ptr<Stream> stream(new Stream(site, std::move(fence)));
  stream->handle_ = handle;
  return stream;
}

void Stream::begin(std::string name, std::shared_ptr<const void> owner) {
  operations_.push_back({++latest_, std::move(name), false, std::move(owner), {}, {}});
}

std::vector<Operation> Stream::take_ended(std::uint64_t latest) {
  std::vector<Operation> ended;
  for (; !operations_.empty() && operations_.front().number <= latest; operations_.pop_front()) {
    ended.push_back(std::move(operations_.front()));
  }
  return ended;
}

Site Stream::site() const {
  Site site = site_;
  site.under_way = under_way(latest_);
  return site;
}

std::string Stream::under_way(std::uint64_t latest) const {
  constexpr std::size_t named_max = 3;
  const std::uint64_t first = latest_ + 1 - operations_.size();  // their numbers have no gaps
  std::size_t before = latest < first ? 0 : static_cast<std::size_t>(latest + 1 - first);
  std::vector<std::string_view> names;
  while (before > 0 && names.size() < named_max) {
    const Operation& operation = operations_[--before];
    if (operation.begun) names.push_back(operation.name);
  }
  std::ranges::reverse(names);
  return fmt::format("{}{}", fmt::join(names, ", "), before == 0 ? "" : fmt::format(" and {} before", before));
}

Status Stream::check_not_capturing() const {
  if (owned_ || MUTATE("cuda.capture_unchecked", false, true)) return {};
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t code = cudaStreamIsCapturing(handle_, &status);
  if (code == cudaErrorStreamCaptureImplicit) {
    (void)cudaGetLastError();
    return fail(
        ErrorCode::invalid_argument,
        "device {}, stream {}: the legacy default stream, while a stream that synchronises with it is capturing a graph; expected the "
        "capture to have ended",
        site_.device, site_.stream.value);
  }
  TRY(called(code, site_, "cudaStreamIsCapturing"));
  if (status == cudaStreamCaptureStatusNone) return {};
  return fail(ErrorCode::invalid_argument, "device {}, stream {}: the caller's stream is capturing a graph; expected one that is not",
              site_.device, site_.stream.value);
}

Status Stream::copy(const void* from, void* to, std::size_t bytes) {
  return part(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle_), "cudaMemcpyAsync({} bytes)", bytes);
}

Result<char*> Stream::area(std::size_t bytes) {
  if (areas_.empty() || areas_.back().bytes < bytes) {
    const std::size_t rounded = std::bit_ceil(std::max(bytes, area_bytes_min));
    areas_.push_back({TRY(allocate_device_memory(site_, rounded)), rounded});
  }
  return static_cast<char*>(areas_.back().memory.get());
}

Status Stream::launch(Kernel kernel, std::uint32_t blocks, void* arguments) {
  return part(cudaLaunchKernel(kernel_function(kernel), dim3(blocks), dim3(block_threads), &arguments, 0,
                               MUTATE("cuda.wrong_stream", handle_, nullptr)),
              "cudaLaunchKernel({}, {} blocks)", kernel_name(kernel), blocks);
}

Status Stream::launch_pack(Kernel kernel, const Slab& slab, std::byte* strided, char* packed) {
  PackArguments arguments{};
  arguments.strided = reinterpret_cast<char*>(strided + slab.offset_bytes);
  arguments.packed = packed;
  arguments.word_bytes = word_bytes(slab.dimensions, arguments.strided);
  const Dimensions words = in_words(slab.dimensions, arguments.word_bytes);
  arguments.walk = make_walk(words);
  arguments.count = static_cast<std::uint32_t>(units(words));
  return launch(kernel, std::min(blocks_max, ceil_divide(arguments.count, block_threads)), &arguments);
}

Status Stream::gather(const Dimensions& region, std::byte* strided, std::byte* packed) {
  const auto bytes = static_cast<std::size_t>(units(region));
  if (is_contiguous(region)) return copy(strided, packed, bytes);
  if (is_rows(region)) {
    const auto rows = static_cast<std::size_t>(region[0].size), width = static_cast<std::size_t>(region[1].size);
    const auto pitch = MUTATE("cuda.wrong_pitch", static_cast<std::size_t>(region[0].stride_bytes), width);
    return part(cudaMemcpy2DAsync(packed, width, strided, pitch, width, rows, cudaMemcpyDefault, handle_),
                "cudaMemcpy2DAsync({} rows of {} bytes)", rows, width);
  }
  char* packed_area = TRY(area(std::min(bytes, area_bytes_max)));
  for (const Slab& slab : slabs(region, area_bytes_max)) {
    TRY(launch_pack(Kernel::pack, slab, strided, packed_area));
    TRY(copy(packed_area, packed + slab.index, static_cast<std::size_t>(units(slab.dimensions))));
  }
  return {};
}

Status Stream::scatter(const Dimensions& region, std::byte* strided, const std::byte* packed) {
  const auto bytes = static_cast<std::size_t>(units(region));
  if (is_contiguous(region)) return copy(packed, strided, bytes);
  if (is_rows(region)) {
    const auto rows = static_cast<std::size_t>(region[0].size), width = static_cast<std::size_t>(region[1].size);
    const auto pitch = static_cast<std::size_t>(region[0].stride_bytes);
    return part(cudaMemcpy2DAsync(strided, pitch, packed, width, width, rows, cudaMemcpyDefault, handle_),
                "cudaMemcpy2DAsync({} rows of {} bytes)", rows, width);
  }
  char* packed_area = TRY(area(std::min(bytes, area_bytes_max)));
  for (const Slab& slab : slabs(region, area_bytes_max)) {
    TRY(copy(packed + slab.index, packed_area, static_cast<std::size_t>(units(slab.dimensions))));
    TRY(launch_pack(Kernel::unpack, slab, strided, packed_area));
  }
  return {};
}

Status Stream::digest(const Dimensions& region, const std::byte* data, std::uint64_t first_unit, std::uint32_t unit_bytes,
                      const std::uint64_t* keys, DigestSlot slot) {
  operations_.back().slot = slot;
  const cudaError_t cleared = MUTATE("cuda.lanes_not_cleared", cudaMemsetAsync(slot.lanes, 0, sizeof(TensorDigest), handle_), cudaSuccess);
  TRY(part(cleared, "cudaMemsetAsync({} bytes)", sizeof(TensorDigest)));
  for (const Slab& slab : slabs(region, digest_units_max)) {
    DigestArguments arguments{};
    arguments.walk = make_walk(slab.dimensions);
    arguments.data = reinterpret_cast<const char*>(data + slab.offset_bytes);
    for (std::size_t d = 0; d < slab.dimensions.size(); ++d) {
      arguments.index_strides[d] = static_cast<std::uint64_t>(slab.dimensions[d].index_stride);
    }
    arguments.index = first_unit + static_cast<std::uint64_t>(slab.index);
    arguments.keys = keys;
    arguments.lanes = slot.lanes;
    arguments.unit_bytes = unit_bytes;
    arguments.count = static_cast<std::uint32_t>(units(slab.dimensions));
    const std::uint32_t blocks = std::min(blocks_max, ceil_divide(arguments.count, key_period));
    arguments.units_per_block = ceil_divide(ceil_divide(arguments.count, blocks), block_threads) * block_threads;
    TRY(launch(Kernel::digest, blocks, &arguments));
  }
  return copy(slot.lanes, slot.result, sizeof(TensorDigest));
}

Status Stream::run_on_host(std::function<void()> work) {
  std::function<void()>& kept = operations_.back().host_work;  // a deque moves nothing while its ends come and go
  kept = std::move(work);
  const auto run = [](void* argument) { (*static_cast<std::function<void()>*>(argument))(); };
  return part(cudaLaunchHostFunc(handle_, run, &kept), "cudaLaunchHostFunc");
}

void Stream::close() {
  closed_ = true;
  if (!operations_.empty() && check_not_capturing()) fenced_ = cudaEventRecord(fence_.get(), handle_) == cudaSuccess;
  owned_.reset();
}

bool Stream::idle() { return operations_.empty() || (fenced_ && cudaEventQuery(fence_.get()) == cudaSuccess); }

Area Stream::take_area() {
  if (areas_.empty()) return {};
  Area area = std::move(areas_.back());
  areas_.pop_back();
  return area;
}

void Stream::drain() {
  if (operations_.empty()) return;
  cudaError_t waited = cudaErrorUnknown;
  if (!closed_ && check_not_capturing()) {
    waited = cudaStreamSynchronize(handle_);
  } else if (closed_ && fenced_) {
    waited = cudaEventSynchronize(fence_.get());
  }
  if (waited != cudaSuccess) (void)cudaDeviceSynchronize();
}

}  // namespace holdfast::backend::cuda

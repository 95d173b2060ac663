#include "impl/backend/cuda/stream.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "impl/backend/cuda/kernels.cuh"
#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {
namespace {

constexpr std::size_t area_bytes_min = std::size_t{64} << 10;

/// The memory of the last area, made larger where it is not large enough.
template <typename Memory>
Result<std::byte*> last_of(Areas<Memory>& areas, const Site& site, std::size_t bytes,
                           Result<Memory> (*allocate)(const Site&, std::size_t)) {
  if (areas.empty() || areas.back().bytes < bytes) {
    const std::size_t rounded = std::bit_ceil(std::max(bytes, area_bytes_min));
    areas.push_back({TRY(allocate(site, rounded)), rounded});
  }
  return static_cast<std::byte*>(areas.back().memory.get());
}

template <typename Memory>
void take_largest(Areas<Memory>& from, Areas<Memory>& to) {
  const auto largest = std::ranges::max_element(from, {}, &Area<Memory>::bytes);
  if (largest == from.end()) return;
  to.push_back(std::move(*largest));
  from.erase(largest);
}

}  // namespace

Result<std::unique_ptr<Stream>> Stream::create(const Site& site, SpareAreas& spare) {
  OwnedEvent fence = TRY(create_event(site));
  std::unique_ptr<Stream> stream(new Stream(site, std::move(fence)));
  stream->owned_ = TRY(create_stream(site));
  stream->handle_ = stream->owned_.get();
  take_largest(spare.areas, stream->areas_);
  take_largest(spare.bounces, stream->bounces_);
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

Result<std::byte*> Stream::area(std::size_t bytes) { return last_of(areas_, site_, bytes, &allocate_device_memory); }

Result<std::byte*> Stream::bounce(std::size_t bytes) { return last_of(bounces_, site_, bytes, &allocate_pinned_memory); }

Status Stream::launch(Kernel kernel, std::uint32_t blocks, void* arguments) {
  return part(cudaLaunchKernel(kernel_function(kernel), dim3(blocks), dim3(block_threads), &arguments, 0,
                               MUTATE("cuda.wrong_stream", handle_, nullptr)),
              "cudaLaunchKernel({}, {} blocks)", kernel_name(kernel), blocks);
}

Status Stream::run_on_host(std::function<void()> work) {
  std::function<void()>& kept = operations_.back().host_work.emplace_back(std::move(work));
  const auto run = [](void* argument) { (*static_cast<std::function<void()>*>(argument))(); };
  return part(cudaLaunchHostFunc(handle_, run, &kept), "cudaLaunchHostFunc");
}

void Stream::close() {
  closed_ = true;
  if (!operations_.empty() && check_not_capturing()) fenced_ = cudaEventRecord(fence_.get(), handle_) == cudaSuccess;
  owned_.reset();
}

bool Stream::idle() { return operations_.empty() || (fenced_ && cudaEventQuery(fence_.get()) == cudaSuccess); }

void Stream::leave_areas(SpareAreas& spare) {
  std::ranges::move(std::exchange(areas_, {}), std::back_inserter(spare.areas));
  std::ranges::move(std::exchange(bounces_, {}), std::back_inserter(spare.bounces));
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

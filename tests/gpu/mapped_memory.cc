#include "tests/gpu/mapped_memory.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <utility>

namespace holdfast::testing_cuda {
namespace {

/// An entry point of the driver, by its name and the version of CUDA whose form of it is wanted.
template <typename Function>
Result<Function*> entry_point(const char* name) {
  constexpr unsigned version = 12000;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t code = cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
  if (code != cudaSuccess || found != cudaDriverEntryPointSuccess)
    return fail(ErrorCode::io_error, "the driver has no {} (error {}, result {})", name, static_cast<int>(code), static_cast<int>(found));
  return reinterpret_cast<Function*>(function);
}

Status held(CUresult code, const char* call) {
  if (code == CUDA_SUCCESS) return {};
  return fail(ErrorCode::io_error, "{}: error {}", call, static_cast<int>(code));
}

CUmemAllocationProp properties() {
  CUmemAllocationProp wanted{};
  wanted.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  wanted.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
  return wanted;
}

}  // namespace

MappedMemory::MappedMemory(MappedMemory&& other) noexcept
    : begin_(std::exchange(other.begin_, 0)), reserved_bytes_(other.reserved_bytes_), page_bytes_(other.page_bytes_),
      mapped_(std::exchange(other.mapped_, {})) {}

Result<MappedMemory> MappedMemory::make(std::size_t pages) {
  MappedMemory made;
  TRY(made.fill(pages));
  return made;
}

Status MappedMemory::fill(std::size_t pages) {
  const CUmemAllocationProp wanted = properties();
  auto* granularity = TRY(entry_point<decltype(cuMemGetAllocationGranularity)>("cuMemGetAllocationGranularity"));
  TRY(held(granularity(&page_bytes_, &wanted, CU_MEM_ALLOC_GRANULARITY_MINIMUM), "cuMemGetAllocationGranularity"));
  reserved_bytes_ = (pages + 2) * page_bytes_;
  auto* reserve = TRY(entry_point<decltype(cuMemAddressReserve)>("cuMemAddressReserve"));
  TRY(held(reserve(&begin_, reserved_bytes_, 0, 0, 0), "cuMemAddressReserve"));
  auto* create = TRY(entry_point<decltype(cuMemCreate)>("cuMemCreate"));
  auto* map = TRY(entry_point<decltype(cuMemMap)>("cuMemMap"));
  auto* set_access = TRY(entry_point<decltype(cuMemSetAccess)>("cuMemSetAccess"));
  const CUmemAccessDesc access{wanted.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  for (std::size_t page = 0; page < pages; ++page) {
    CUmemGenericAllocationHandle handle = 0;
    TRY(held(create(&handle, page_bytes_, &wanted, 0), "cuMemCreate"));
    const CUdeviceptr at = begin_ + (page + 1) * page_bytes_;
    TRY(held(map(at, page_bytes_, 0, handle, 0), "cuMemMap"));
    mapped_.push_back(handle);
    TRY(held(set_access(at, page_bytes_, &access, 1), "cuMemSetAccess"));
  }
  return {};
}

MappedMemory::~MappedMemory() {
  const auto unmap = entry_point<decltype(cuMemUnmap)>("cuMemUnmap");
  const auto release = entry_point<decltype(cuMemRelease)>("cuMemRelease");
  const auto free_addresses = entry_point<decltype(cuMemAddressFree)>("cuMemAddressFree");
  if (begin_ == 0 || !unmap || !release || !free_addresses) return;
  for (std::size_t page = 0; page < mapped_.size(); ++page) {
    (void)(*unmap)(begin_ + (page + 1) * page_bytes_, page_bytes_);
    (void)(*release)(mapped_[page]);
  }
  (void)(*free_addresses)(begin_, reserved_bytes_);
}

}  // namespace holdfast::testing_cuda

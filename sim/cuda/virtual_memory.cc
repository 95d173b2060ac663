// Virtual memory by the driver's entry points, which the runtime gives out by name: nobody links the driver.
#include <cuda.h>
#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

#include "sim/cuda/entry.h"

namespace holdfast::sim::cuda {
namespace {

CUresult driver_code(cudaError_t code) { return code == cudaSuccess ? CUDA_SUCCESS : static_cast<CUresult>(code); }

/// An entry point of the driver. Its errors are no runtime call's.
template <typename Body>
CUresult driver_call(const char* name, Body body) {
  const tsan::Inside inside;
  const cudaError_t code = state().enter(name, true);
  return code == cudaSuccess ? body(state()) : driver_code(code);
}

bool is_whole(std::size_t bytes) { return bytes != 0 && bytes % Memory::granularity == 0; }

void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

CUresult granularity(std::size_t* bytes, const CUmemAllocationProp*, CUmemAllocationGranularity_flags) {
  return driver_call("cuMemGetAllocationGranularity", [&](State&) {
    *bytes = Memory::granularity;
    return CUDA_SUCCESS;
  });
}

CUresult reserve(CUdeviceptr* begin, std::size_t bytes, std::size_t, CUdeviceptr, unsigned long long) {
  return driver_call("cuMemAddressReserve", [&](State& state) {
    if (!is_whole(bytes)) return CUDA_ERROR_INVALID_VALUE;
    *begin = reinterpret_cast<CUdeviceptr>(state.memory.reserve(state.next_id(), bytes));
    return *begin == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
  });
}

CUresult free_addresses(CUdeviceptr begin, std::size_t bytes) {
  return driver_call("cuMemAddressFree", [&](State& state) {
    if (state.memory.free_reservation(pointer(begin), bytes)) return CUDA_SUCCESS;
    state.find("cuMemAddressFree: no such reservation, or something is mapped there");
    return CUDA_ERROR_INVALID_VALUE;
  });
}

CUresult create(CUmemGenericAllocationHandle* handle, std::size_t bytes, const CUmemAllocationProp* properties, unsigned long long) {
  return driver_call("cuMemCreate", [&](State& state) {
    const int device = properties->location.id;
    if (!is_whole(bytes) || device < 0 || device >= state.device_count) return CUDA_ERROR_INVALID_VALUE;
    *handle = state.next_id();
    state.physical[*handle] = {bytes, device};
    return CUDA_SUCCESS;
  });
}

CUresult release(CUmemGenericAllocationHandle handle) {
  return driver_call("cuMemRelease", [&](State& state) {
    const auto found = state.physical.find(handle);
    if (found == state.physical.end() || std::exchange(found->second.released, true)) {
      state.find("cuMemRelease: no such memory");
      return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
  });
}

CUresult map(CUdeviceptr begin, std::size_t bytes, std::size_t offset, CUmemGenericAllocationHandle handle, unsigned long long) {
  return driver_call("cuMemMap", [&](State& state) {
    const auto found = state.physical.find(handle);
    const bool known = found != state.physical.end() && !found->second.released && !found->second.is_mapped;
    if (!known || offset != 0 || bytes != found->second.bytes) {
      state.find("cuMemMap: not the whole of memory that is mapped nowhere else");
      return CUDA_ERROR_INVALID_VALUE;
    }
    Allocation* made = state.memory.map(pointer(begin), handle, bytes, found->second.device);
    if (made == nullptr) {
      state.find("cuMemMap: no free place of a reservation");
      return CUDA_ERROR_INVALID_VALUE;
    }
    made->accessible = false;
    found->second.is_mapped = true;
    return CUDA_SUCCESS;
  });
}

CUresult unmap(CUdeviceptr begin, std::size_t bytes) {
  return driver_call("cuMemUnmap", [&](State& state) {
    const std::vector<Allocation*> all = state.memory.mapped(pointer(begin), bytes);
    if (all.empty()) state.find("cuMemUnmap: not whole mappings");
    for (Allocation* mapping : all) {
      state.find_users("cuMemUnmap", *mapping, "unmapped");
      state.memory.quarantine(*mapping);
      state.physical[mapping->id].is_mapped = false;
    }
    return all.empty() ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  });
}

CUresult set_access(CUdeviceptr begin, std::size_t bytes, const CUmemAccessDesc* access, std::size_t count) {
  return driver_call("cuMemSetAccess", [&](State& state) {
    const std::vector<Allocation*> all = state.memory.mapped(pointer(begin), bytes);
    if (all.empty() || count != 1 || access->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE) return CUDA_ERROR_INVALID_VALUE;
    for (Allocation* mapping : all) mapping->accessible = access->location.id == mapping->device;
    return CUDA_SUCCESS;
  });
}

struct EntryPoint {
  std::string_view name;
  void* function;
};

void* find_entry_point(std::string_view name) {
  const std::array<EntryPoint, 8> all{{{"cuMemGetAllocationGranularity", reinterpret_cast<void*>(&granularity)},
                                       {"cuMemAddressReserve", reinterpret_cast<void*>(&reserve)},
                                       {"cuMemAddressFree", reinterpret_cast<void*>(&free_addresses)},
                                       {"cuMemCreate", reinterpret_cast<void*>(&create)},
                                       {"cuMemRelease", reinterpret_cast<void*>(&release)},
                                       {"cuMemMap", reinterpret_cast<void*>(&map)},
                                       {"cuMemUnmap", reinterpret_cast<void*>(&unmap)},
                                       {"cuMemSetAccess", reinterpret_cast<void*>(&set_access)}}};
  for (const EntryPoint& entry : all) {
    if (entry.name == name) return entry.function;
  }
  return nullptr;
}

}  // namespace
}  // namespace holdfast::sim::cuda

using namespace holdfast::sim::cuda;

extern "C" {

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  return call("cudaGetDriverEntryPointByVersion", [&](State&) {
    *function = find_entry_point(symbol);
    if (result != nullptr) *result = *function == nullptr ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
    return cudaSuccess;
  });
}

}  // extern "C"

#include "impl/backend/cuda/staging_memory.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>
#include <vector>

#include "impl/core/mutate.h"

namespace holdfast::backend::cuda {
namespace {

constexpr auto host_numa_id = static_cast<cudaDeviceAttr>(134);  // cudaDevAttrHostNumaId, which headers before 12.2 do not name
constexpr std::size_t page_bytes = 4096, huge_page_bytes = 2 << 20;

std::size_t whole(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

/// Preferred, and not the only one: a node that is full makes a save slower, and kills nobody.
void prefer_node(std::byte* memory, std::size_t bytes, int node) {
  constexpr std::size_t bits = CHAR_BIT * sizeof(unsigned long);
  std::vector<unsigned long> nodes(static_cast<std::size_t>(node) / bits + 1);
  nodes.back() = 1ul << (static_cast<std::size_t>(node) % bits);
  (void)::syscall(SYS_mbind, memory, bytes, MPOL_PREFERRED, nodes.data(), nodes.size() * bits + 1, 0);
}

/// Where huge pages begin at multiples of their size, so must the memory.
Result<std::byte*> map_aligned(std::size_t bytes, std::size_t alignment) {
  const std::size_t room = bytes + alignment - page_bytes;
  void* mapped = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return fail(ErrorCode::out_of_memory, "map {} bytes of staging memory: {}", bytes, std::strerror(errno));
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::size_t before = whole(reinterpret_cast<std::uintptr_t>(begin), alignment) - reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t after = room - before - bytes;
  if (before != 0) (void)::munmap(begin, before);
  if (after != 0) (void)::munmap(begin + before + bytes, after);
  return begin + before;
}

std::string lockable() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "unknown";
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : fmt::format("{} bytes", limit.rlim_cur);
}

}  // namespace

int nearest_numa_node(int device) {
  int node = -1;
  if (cudaDeviceGetAttribute(&node, host_numa_id, device) == cudaSuccess) return node;
  (void)cudaGetLastError();
  return -1;
}

void Pages::Unmap::operator()(std::byte* memory) const { (void)::munmap(memory, bytes); }

Result<Pages> Pages::map(std::size_t bytes, int numa_node) {
  const bool is_large = bytes >= huge_page_bytes;
  const std::size_t mapped = whole(std::max(bytes, std::size_t{1}), is_large ? huge_page_bytes : page_bytes);
  Pages pages({TRY(map_aligned(mapped, is_large ? huge_page_bytes : page_bytes)), Unmap{mapped}});
  // A child of fork() has no use for them, and would make the kernel copy a page that the GPU still writes to; else it is only slower.
  (void)::madvise(pages.data(), mapped, MADV_DONTFORK);
  if (is_large) (void)::madvise(pages.data(), mapped, MADV_HUGEPAGE);
  if (numa_node >= 0) prefer_node(pages.data(), mapped, numa_node);
  for (std::size_t at = 0; at < mapped; at += page_bytes) pages.data()[at] = std::byte{0};
  return pages;
}

Result<std::shared_ptr<void>> pin(const Site& site, Pages pages) {
  const cudaError_t code =
      MUTATE("cuda.staging_not_pinned", cudaHostRegister(pages.data(), pages.bytes(), cudaHostRegisterPortable), cudaSuccess);
  if (code != cudaSuccess) {
    Error error = runtime_error(code, fmt::format("cudaHostRegister({} bytes)", pages.bytes()), site);
    // The kernel's refusal to lock memory comes as either.
    if (code == cudaErrorOperatingSystem) error.code = ErrorCode::out_of_memory;
    if (error.code == ErrorCode::out_of_memory)
      error.message += fmt::format("; this process may lock {} (RLIMIT_MEMLOCK), and a container fewer", lockable());
    return fail(std::move(error));
  }
  std::byte* const memory = pages.data();
  const auto unpin = [device = site.device, kept = std::make_shared<Pages>(std::move(pages))](void* pinned) mutable {
    OnDevice here;
    (void)here.enter(Site{device});
    if (MUTATE("cuda.staging_unmapped_pinned", cudaHostUnregister(pinned), cudaSuccess) != cudaSuccess) (void)cudaGetLastError();
    kept.reset();
  };
  return std::shared_ptr<void>(memory, unpin);
}

}  // namespace holdfast::backend::cuda

#include "impl/backend/cuda/scratch.h"

#include <algorithm>
#include <bit>

namespace holdfast::backend::cuda {
namespace {

constexpr std::size_t alignment = 256;
constexpr std::size_t page_bytes_min = std::size_t{256} << 10;

}  // namespace

Result<Scratch> ScratchPages::take(const Site& site, std::size_t bytes) {
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  auto page = std::ranges::find_if(pages_, [&](const Page& candidate) { return candidate.bytes - candidate.used >= rounded; });
  if (page == pages_.end()) {
    Page made;
    made.bytes = std::bit_ceil(std::max(rounded, page_bytes_min));
    made.memory = TRY(allocate_device_memory(site, made.bytes));
    made.image = TRY(allocate_pinned_memory(site, made.bytes));
    page = pages_.insert(pages_.end(), std::move(made));
  }
  Scratch scratch{static_cast<std::size_t>(page - pages_.begin()), bytes, static_cast<std::byte*>(page->memory.get()) + page->used,
                  static_cast<std::byte*>(page->image.get()) + page->used};
  page->used += rounded;
  ++page->batches;
  return scratch;
}

void ScratchPages::give_back(const Scratch& scratch) {
  if (scratch.bytes == 0) return;
  Page& page = pages_[scratch.page];
  if (--page.batches == 0) page.used = 0;
}

}  // namespace holdfast::backend::cuda

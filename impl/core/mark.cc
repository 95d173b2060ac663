#include "impl/core/mark.h"

namespace holdfast {
namespace {
std::atomic<MarkSite*> first_site{nullptr};
}

MarkSite::MarkSite(const char* name) : name_(name) {
  next_ = first_site.load(std::memory_order_relaxed);
  while (!first_site.compare_exchange_weak(next_, this, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

std::map<std::string, std::uint64_t> mark_hits() {
  std::map<std::string, std::uint64_t> hits;
  for (const MarkSite* site = first_site.load(std::memory_order_acquire); site; site = site->next()) hits[site->name()] += site->hits();
  return hits;
}

void add_mark_hits(const std::map<std::string, std::uint64_t>& hits) {
  static std::map<std::string, MarkSite*> sites;  // which stay: the list of all sites has them
  for (const auto& [name, times] : hits) {
    const auto [site, is_new] = sites.try_emplace(name);
    if (is_new) site->second = new MarkSite(site->first.c_str());
    site->second->hit(times);
  }
}

}  // namespace holdfast

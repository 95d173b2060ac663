// MARK("name"): a point that tests must reach. A property that claims to exercise something proves it by its marks.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

namespace holdfast {

class MarkSite {
 public:
  explicit MarkSite(const char* name);
  void hit(std::uint64_t times = 1) { hits_.fetch_add(times, std::memory_order_relaxed); }
  const char* name() const { return name_; }
  std::uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  MarkSite* next() const { return next_; }

 private:
  const char* name_;
  std::atomic<std::uint64_t> hits_{0};
  MarkSite* next_ = nullptr;
};

/// Hits of every mark reached at least once since the process started, by name.
std::map<std::string, std::uint64_t> mark_hits();
/// Adds what was counted elsewhere: in a process that this one started. One caller at a time.
void add_mark_hits(const std::map<std::string, std::uint64_t>& hits);

}  // namespace holdfast

#define MARK(name)                                   \
  do {                                               \
    static ::holdfast::MarkSite holdfast_mark{name}; \
    holdfast_mark.hit();                             \
  } while (false)

// What ThreadSanitizer must be told so that it judges the ranks' code and not the simulator: the simulator's own accesses are ignored, and
// each door call gives the edges that the real door gives. Empty in other builds.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define HOLDFAST_SIM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOLDFAST_SIM_TSAN 1
#endif
#endif

/// For functions that run between fibres.
#define HOLDFAST_SIM_NO_TSAN __attribute__((no_sanitize("thread")))

#ifdef HOLDFAST_SIM_TSAN
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
void __tsan_acquire(void* object);
void __tsan_release(void* object);
void __tsan_read_range(void* begin, long size);
void __tsan_write_range(void* begin, long size);
}
#endif

namespace holdfast::sim::tsan {

#ifdef HOLDFAST_SIM_TSAN
/// While one lives, the running fibre is inside the simulator.
class Inside {
 public:
  Inside() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Inside() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};
inline void release(const void* object) { __tsan_release(const_cast<void*>(object)); }
inline void acquire(const void* object) { __tsan_acquire(const_cast<void*>(object)); }
/// The caller's bytes are read or written by the door on the caller's behalf. Call outside `Inside`.
inline void reads(const void* begin, std::size_t size) { __tsan_read_range(const_cast<void*>(begin), static_cast<long>(size)); }
inline void writes(void* begin, std::size_t size) { __tsan_write_range(begin, static_cast<long>(size)); }
#else
class Inside {
 public:
  Inside() {}   // NOLINT: not trivial, so that a variable of this type is never "unused"
  ~Inside() {}  // NOLINT
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};
inline void release(const void*) {}
inline void acquire(const void*) {}
inline void reads(const void*, std::size_t) {}
inline void writes(void*, std::size_t) {}
#endif

}  // namespace holdfast::sim::tsan

// libnccl, opened at run time: the functions of it that Holdfast calls, and which of them a library has. Needs neither CUDA nor a header of NCCL,
// so that programs without either can look.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::backend {

/// The oldest NCCL that will do, as NCCL counts (2.14.0): the first whose communicators can be made and used without blocking.
constexpr int nccl_version_min = 21400;

/// 22809 is "2.28.9", and 2708 is "2.7.8".
std::string nccl_version_text(int version);

/// Whether the back end can do without a function.
enum class NcclNeed : std::uint8_t { needed, optional };

struct NcclFunction {
  std::string_view name;
  int since;  ///< the version that brought it
  NcclNeed need = NcclNeed::needed;
};
/// All that are called.
std::span<const NcclFunction> nccl_functions();

/// An open library. It stays loaded for the rest of the process: NCCL has threads that outlive its communicators.
class NcclLibrary {
 public:
  /// The first of `names` that opens; each is looked for as dlopen does, so one with a slash is a path. Reads the version first. Errors: unsupported when
  /// none opens, when it is older than nccl_version_min, or when it lacks a function that is needed.
  static Result<NcclLibrary> open(std::span<const std::string> names);
  /// "libnccl.so.2", then "libnccl.so".
  static Result<NcclLibrary> open();

  int version() const { return version_; }
  const std::string& path() const { return path_; }
  /// One of nccl_functions(); null when it is an optional one that the library lacks.
  void* function(std::string_view name) const;
  /// The optional functions that it has, or lacks.
  std::vector<std::string_view> optional(bool there) const;

 private:
  Status read_version(void* handle);
  Status find_functions(void* handle);

  int version_ = 0;
  std::string path_;
  std::map<std::string_view, void*> functions_;
};

}  // namespace holdfast::backend

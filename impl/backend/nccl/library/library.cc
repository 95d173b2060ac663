#include "impl/backend/nccl/library/library.h"

#include <dlfcn.h>
#include <link.h>

#include "impl/core/check.h"

namespace holdfast::backend {
namespace {

constexpr NcclFunction functions[] = {
    {"ncclGetVersion", 2300},
    {"ncclGetErrorString", 2000},
    {"ncclGetLastError", 21300, NcclNeed::optional},  // says more than the error's name
    {"ncclGetUniqueId", 2000},
    {"ncclCommInitRankConfig", 21400},
    {"ncclCommGetAsyncError", 2400},
    {"ncclCommAbort", 2400},
    {"ncclGroupStart", 2000},
    {"ncclGroupEnd", 2000},
    {"ncclSend", 2700},
    {"ncclRecv", 2700},
};

std::string path_of(void* handle, const std::string& name) {
  link_map* map = nullptr;
  const bool found = ::dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && map->l_name != nullptr && *map->l_name != '\0';
  return found ? map->l_name : name;
}

}  // namespace

std::string nccl_version_text(int version) {
  if (version < 10000) return fmt::format("{}.{}.{}", version / 1000, version % 1000 / 100, version % 100);  // until 2.8
  return fmt::format("{}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
}

std::span<const NcclFunction> nccl_functions() { return functions; }

Result<NcclLibrary> NcclLibrary::open() {
  static const std::string names[] = {"libnccl.so.2", "libnccl.so"};
  return open(names);
}

Result<NcclLibrary> NcclLibrary::open(std::span<const std::string> names) {
  std::string reasons;
  for (const std::string& name : names) {
    void* const handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) {
      NcclLibrary library;
      library.path_ = path_of(handle, name);
      TRY(library.read_version(handle));
      TRY(library.find_functions(handle));
      return library;
    }
    const char* const reason = ::dlerror();
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", reason != nullptr ? reason : name.c_str());
  }
  return fail(ErrorCode::unsupported, "open NCCL: {}", reasons);
}

Status NcclLibrary::read_version(void* handle) {
  const auto get_version = reinterpret_cast<int (*)(int*)>(::dlsym(handle, "ncclGetVersion"));
  if (get_version == nullptr) return fail(ErrorCode::unsupported, "open NCCL: {} has no ncclGetVersion", path_);
  if (const int code = get_version(&version_); code != 0)
    return fail(ErrorCode::unsupported, "open NCCL: ncclGetVersion of {} gave {}, expected 0", path_, code);
  if (version_ >= nccl_version_min) return {};
  return fail(ErrorCode::unsupported, "open NCCL: {} is NCCL {}, expected {} or later", path_, nccl_version_text(version_),
              nccl_version_text(nccl_version_min));
}

Status NcclLibrary::find_functions(void* handle) {
  for (const NcclFunction& wanted : functions) {
    void* const found = ::dlsym(handle, std::string(wanted.name).c_str());
    if (found == nullptr && wanted.need == NcclNeed::needed) {
      return fail(ErrorCode::unsupported, "open NCCL: {}, which is NCCL {}, has no {}; expected it since {}", path_,
                  nccl_version_text(version_), wanted.name, nccl_version_text(wanted.since));
    }
    functions_[wanted.name] = found;
  }
  return {};
}

void* NcclLibrary::function(std::string_view name) const {
  const auto found = functions_.find(name);
  CHECK(found != functions_.end(), "{} is not among the functions of NCCL that are called", name);
  return found->second;
}

std::vector<std::string_view> NcclLibrary::optional(bool there) const {
  std::vector<std::string_view> names;
  for (const NcclFunction& one : functions) {
    if (one.need == NcclNeed::optional && (function(one.name) != nullptr) == there) names.push_back(one.name);
  }
  return names;
}

}  // namespace holdfast::backend

#include "impl/cli/machine.h"

#include <dlfcn.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <thread>

#include "impl/api/job.h"
#include "impl/backend/nccl/library/library.h"
#include "impl/backend/posix/posix_storage.h"
#include "impl/core/bytes.h"
#include "impl/protocol/durable.h"
#include "impl/protocol/files.h"
#include "reports/text.h"

namespace holdfast::cli {
namespace {

/// A library that is there or is not.
class Library {
 public:
  explicit Library(std::initializer_list<const char*> names) {
    for (const char* name : names) {
      handle_.reset(::dlopen(name, RTLD_NOW | RTLD_LOCAL));
      if (handle_) return;
      const char* reason = ::dlerror();
      if (reason_.empty() && reason) reason_ = reason;
    }
  }
  const std::string& reason() const { return reason_; }

  /// Calls a function that takes a pointer to an int, and perhaps more ints, and gives 0 for success.
  template <typename... Ints>
  std::optional<int> number(const char* name, Ints... more) const {
    if (!handle_) return std::nullopt;
    const auto function = reinterpret_cast<int (*)(int*, Ints...)>(::dlsym(handle_.get(), name));
    int value = 0;
    if (!function || function(&value, more...) != 0) return std::nullopt;
    return value;
  }
  /// The same for one that takes a number.
  std::optional<int> call(const char* name, unsigned argument) const {
    if (!handle_) return std::nullopt;
    const auto function = reinterpret_cast<int (*)(unsigned)>(::dlsym(handle_.get(), name));
    return function ? std::optional(function(argument)) : std::nullopt;
  }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  struct Close {
    void operator()(void* handle) const { ::dlclose(handle); }
  };
  std::unique_ptr<void, Close> handle_;
  std::string reason_;
};

/// 12040 is "12.4", as CUDA counts.
std::string cuda_version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

/// Of each GPU the node of host memory that is nearest to it, where staging goes.
std::string numa_nodes(const Library& driver, int devices) {
  constexpr int host_numa_id = 134;  // CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID
  std::string nodes;
  for (int i = 0; i < devices; ++i) {
    const std::optional<int> device = driver.number("cuDeviceGet", i);
    const std::optional<int> node = device ? driver.number("cuDeviceGetAttribute", host_numa_id, *device) : std::nullopt;
    nodes += fmt::format("{}{}", i == 0 ? "" : ", ", node && *node >= 0 ? std::to_string(*node) : "unknown");
  }
  return devices == 0 ? "" : fmt::format("; NUMA node of each: {}", nodes);
}

Check check_driver() {
  const Library driver({"libcuda.so.1", "libcuda.so"});
  if (!driver) return {"CUDA driver", Health::good, "none: " + driver.reason()};
  const auto begun = driver.call("cuInit", 0);
  const auto version = driver.number("cuDriverGetVersion");
  const auto devices = begun == 0 ? driver.number("cuDeviceGetCount") : std::nullopt;
  if (!version) return {"CUDA driver", Health::warning, "libcuda.so.1 is there and does not say its version"};
  if (!devices)
    return {"CUDA driver", Health::warning, fmt::format("{}, no device: cuInit gave {}", cuda_version(*version), begun.value_or(-1))};
  return {"CUDA driver", Health::good,
          fmt::format("{}, {}{}", cuda_version(*version), reports::counted(static_cast<std::uint64_t>(*devices), "device"),
                      numa_nodes(driver, *devices))};
}

Check check_runtime() {
  const Library runtime({"libcudart.so", "libcudart.so.13", "libcudart.so.12"});
  if (!runtime) return {"CUDA runtime", Health::good, "none: " + runtime.reason()};
  const auto version = runtime.number("cudaRuntimeGetVersion");
  if (!version) return {"CUDA runtime", Health::warning, "it is there, and cudaRuntimeGetVersion gives no version"};
  return {"CUDA runtime", Health::good, cuda_version(*version)};
}

Check check_nccl() {
  const auto library = backend::NcclLibrary::open();
  if (!library) return {"NCCL", Health::good, "none that will do: " + library.error().message};
  std::string found = fmt::format("{} at {}", backend::nccl_version_text(library->version()), library->path());
  for (const bool there : {true, false}) {
    const std::vector<std::string_view> names = library->optional(there);
    if (!names.empty()) found += fmt::format(", {} {}", there ? "with" : "without", fmt::join(names, ", "));
  }
  return {"NCCL", Health::good, found};
}

std::string_view file_system_name(long magic) {
  struct Row {
    long magic;
    std::string_view name;
  };
  // The numbers of statfs(2).
  constexpr std::array rows = {Row{0xEF53, "ext4"},     Row{0x58465342, "xfs"},    Row{0x9123683E, "btrfs"}, Row{0x01021994, "tmpfs"},
                               Row{0x6969, "nfs"},      Row{0x0BD00BD0, "lustre"}, Row{0x47504653, "gpfs"},  Row{0x794C7630, "overlayfs"},
                               Row{0x65735546, "fuse"}, Row{0xFF534D42, "cifs"},   Row{0x2FC12FC1, "zfs"},   Row{0x00C36400, "ceph"},
                               Row{0x01021997, "9p"}};
  for (const Row& row : rows) {
    if (row.magic == magic) return row.name;
  }
  return "unknown";
}

Check check_file_system(const std::string& folder) {
  struct statfs status{};
  if (::statfs(folder.c_str(), &status) != 0) return {"file system", Health::warning, "statfs does not say"};
  const std::string_view name = file_system_name(static_cast<long>(status.f_type));
  const auto free_bytes = static_cast<std::uint64_t>(status.f_bavail) * static_cast<std::uint64_t>(status.f_bsize);
  const std::string found = fmt::format("{}, {} free", name, reports::human_bytes(free_bytes));
  if (name == "tmpfs") return {"file system", Health::warning, found + ": in memory, nothing survives the machine"};
  return {"file system", Health::good, found};
}

/// What a save asks of a storage, tried one after the other in a directory that goes again.
class FolderProbe {
 public:
  explicit FolderProbe(port::Storage& storage) : storage_(storage), directory_(fmt::format("holdfast-doctor.{}", ::getpid())) {}

  std::vector<Check> run() {
    const Status made = storage_.make_directory(directory_, soon());
    if (!made) return {{"write", Health::bad, made.error().message}};
    const auto start = std::chrono::steady_clock::now();
    note("write, sync", write("first", "first"), "");
    const double milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    checks_.back().found =
        checks_.back().health == Health::good ? fmt::format("{:.2f} ms for a small file", milliseconds) : checks_.back().found;
    probe_link();
    probe_rename();
    note("sync of a directory", storage_.sync_directory(directory_, soon()), "done");
    note("read back", expect("third", "second"), "what was written");
    sweep();
    return std::move(checks_);
  }

 private:
  port::Deadline soon() { return job_->clock().after(std::chrono::seconds(30)); }
  std::string path(std::string_view name) const { return fmt::format("{}/{}", directory_, name); }

  void note(const char* name, const Status& status, std::string_view found) {
    checks_.push_back({name, status ? Health::good : Health::bad, status ? std::string(found) : status.error().message});
  }

  Status write(std::string_view name, std::string_view text) {
    const SharedBytes bytes(to_bytes(as_bytes(text)));
    const port::WritePiece piece{0, bytes.view(), bytes.owner()};
    TRY(protocol::write_new_file(storage_, path(name), {&piece, 1}, soon()));
    return {};
  }

  Status expect(std::string_view name, std::string_view text) {
    const SharedBytes found = TRY(protocol::read_file(storage_, path(name), 4096, soon()));
    if (as_text(found.view()) == text) return {};
    return fail(ErrorCode::corrupt, "read \"{}\": found {} bytes, expected \"{}\"", name, found.view().size(), text);
  }

  /// A link takes a name once: the commit point stands on it.
  void probe_link() {
    const Status linked = storage_.link_if_absent(path("first"), path("linked"), soon());
    if (!linked && linked.error().code == ErrorCode::unsupported) {
      checks_.push_back({"link", Health::warning, linked.error().message + "; commits rename instead"});
      return;
    }
    const Status again = linked ? storage_.link_if_absent(path("first"), path("linked"), soon()) : Status();
    if (linked && (again || again.error().code != ErrorCode::already_exists)) {
      checks_.push_back({"link", Health::bad, "a name that is taken was given again"});
      return;
    }
    note("link", linked, "a name is given once");
    if (linked) probe_link_across();
  }

  /// To give up an attempt on a full storage is to link a file of the folder into its directory.
  void probe_link_across() {
    Status across = storage_.make_directory(path("below"), soon());
    if (across) across = storage_.link_if_absent(path("first"), path("below/linked"), soon());
    if (across) return;
    checks_.push_back({"link", Health::warning,
                       across.error().message + "; what a save left on a full storage is cleared away only once there is room again"});
  }

  /// A rename replaces, whole: the hint "latest" stands on it.
  void probe_rename() {
    Status done = write("second", "second");
    if (done) done = write("third", "third");
    if (done) done = storage_.rename(path("second"), path("third"), soon());
    if (done) done = expect("third", "second");
    note("rename", done, "replaces a file by another, whole");
  }

  void sweep() {
    const Status swept = protocol::remove_directory_tree(storage_, directory_, "", soon());
    if (!swept) checks_.push_back({"sweep", Health::warning, fmt::format("\"{}\" is left: {}", directory_, swept.error().message)});
  }

  port::Storage& storage_;
  std::unique_ptr<Job> job_ = Job::alone();
  std::string directory_;
  std::vector<Check> checks_;
};

}  // namespace

Check check_processor() {
  const char* digests = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") ? "AVX-512"
                        : __builtin_cpu_supports("avx2")                                        ? "AVX2"
                                                                                                : "portable code";
  return {"processor", Health::good,
          fmt::format("{}, digests by {}", reports::counted(std::thread::hardware_concurrency(), "core"), digests)};
}

std::vector<Check> check_cuda() { return {check_driver(), check_runtime(), check_nccl()}; }

Result<std::vector<Check>> check_folder(const std::string& folder) {
  const std::unique_ptr<backend::PosixStorage> storage = TRY(backend::PosixStorage::open_root(folder));
  std::vector<Check> checks{check_file_system(folder)};
  const std::string engine = storage->engine();
  checks.push_back({"input, output", engine.find('(') == std::string::npos ? Health::good : Health::warning, engine});
  for (Check& check : FolderProbe(*storage).run()) checks.push_back(std::move(check));
  return checks;
}

}  // namespace holdfast::cli

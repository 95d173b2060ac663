#include "impl/backend/posix/posix_storage.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <map>

#include "impl/backend/posix/posix_error.h"
#include "impl/backend/posix/posix_file.h"
#include "impl/backend/posix/workers.h"
#include "impl/core/check.h"

namespace holdfast::backend {
namespace {

/// Each component must be a name: the path then stays below the root.
Result<std::string> checked(std::string_view verb, std::string_view path) {
  const auto refuse = [&](std::string_view reason) { return fail(ErrorCode::invalid_argument, "{} \"{}\": {}", verb, path, reason); };
  if (path.empty()) return refuse("that is the root itself");
  if (path.front() == '/') return refuse("the path must be relative");
  if (path.find('\0') != std::string_view::npos) return refuse("the path has a NUL character");
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view component = path.substr(begin, end - begin);
    if (component.empty()) return refuse("the path has an empty component");
    if (component == "." || component == "..") return refuse("\".\" and \"..\" are not allowed in a path");
    begin = end + 1;
  }
  return std::string(path);
}

Result<std::string> checked_directory(std::string_view verb, std::string_view path) {
  if (path.empty()) return std::string();
  return checked(verb, path);
}

}  // namespace

struct PosixStorage::State {
  PosixStorageOptions options;
  std::shared_ptr<PosixRoot> root;
  std::shared_ptr<IoEngine> engine;
  std::shared_ptr<std::atomic<std::size_t>> live_files = std::make_shared<std::atomic<std::size_t>>(0);
  std::mutex mutex;
  std::map<port::FileId, std::shared_ptr<PosixFile>> files;
  std::int64_t next = 0;
  std::unique_ptr<Workers> workers;

  std::shared_ptr<PosixFile> find(port::FileId id) {
    const std::scoped_lock lock(mutex);
    const auto found = files.find(id);
    CHECK(found != files.end(), "file {} is not open", id.value);
    return found->second;
  }

  /// Runs `work` on a worker. `what` names the operation in the error of a timeout.
  template <typename T, typename What, typename Work>
  Result<T> run(port::Deadline deadline, What what, Work work) {
    bool dropped = false;
    std::optional<Result<T>> result = workers->call<T>(deadline, std::move(work), &dropped);
    if (result) return std::move(*result);
    return fail(ErrorCode::timeout, "{}: {}", what(),
                dropped ? "not begun at its deadline, and dropped" : "not done at its deadline; it goes on, abandoned");
  }
};

PosixStorage::PosixStorage(std::unique_ptr<State> state) : state_(std::move(state)) {}
PosixStorage::~PosixStorage() = default;

Result<std::unique_ptr<PosixStorage>> PosixStorage::open_root(const std::string& root, PosixStorageOptions options) {
  const int fd = uninterrupted([&] { return ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return system_error(errno, "open the storage root \"{}\"", root);
  auto state = std::make_unique<State>();
  state->root = std::make_shared<PosixRoot>(fd, options.calls);
  Result<std::shared_ptr<IoEngine>> engine = IoEngine::choose(fd, options.engine, options.calls);
  if (!engine) return fail(within(std::move(engine).error(), "open the storage root \"{}\"", root));
  state->engine = *std::move(engine);
  state->workers = TRY(Workers::start({.workers = options.workers}));
  state->options = std::move(options);
  return std::unique_ptr<PosixStorage>(new PosixStorage(std::move(state)));
}

port::Caps PosixStorage::caps() const {
  port::Caps caps = state_->options.caps;
  caps.io_alignment = state_->engine->direct() ? IoEngine::direct_alignment : 1;
  return caps;
}

std::string PosixStorage::engine() const { return state_->engine->text(); }

Status PosixStorage::make_directory(std::string_view path, port::Deadline deadline) {
  const std::string name = TRY(checked("make directory", path));
  return state_->run<void>(
      deadline, [&] { return fmt::format("make directory \"{}\"", path); },
      [root = state_->root, name] { return root->make_directory(name); });
}

Result<port::FileId> PosixStorage::open_file(std::string_view verb, std::string_view path, int flags, port::Deadline deadline) {
  const std::string name = TRY(checked(verb, path));
  using FilePtr = std::shared_ptr<PosixFile>;
  // The file is opened into an owner, so that an abandoned open leaves no descriptor behind.
  FilePtr file = TRY(state_->run<FilePtr>(
      deadline, [&] { return fmt::format("{} \"{}\"", verb, path); },
      [root = state_->root, engine = state_->engine, calls = state_->options.calls, live = state_->live_files, verb, name,
       flags]() -> Result<FilePtr> {
        const Descriptors fds = TRY(root->open_file(verb, name, flags, *engine));
        return std::make_shared<PosixFile>(fds, name, calls, engine, live);
      }));
  const std::scoped_lock lock(state_->mutex);
  const port::FileId id{state_->next++};
  state_->files.emplace(id, std::move(file));
  return id;
}

Result<port::FileId> PosixStorage::create(std::string_view path, port::Deadline deadline) {
  return open_file("create", path, O_RDWR | O_CREAT | O_EXCL, deadline);
}

Result<port::FileId> PosixStorage::open(std::string_view path, port::Deadline deadline) {
  return open_file("open", path, O_RDONLY, deadline);
}

Status PosixStorage::close(port::FileId id) {
  std::shared_ptr<PosixFile> file = state_->find(id);
  {
    const std::scoped_lock lock(state_->mutex);
    state_->files.erase(id);
  }
  // Not in the table any more: the count can only fall.
  if (file.use_count() > 1) {
    return fail(ErrorCode::timeout, "close \"{}\": an abandoned operation still uses the file; it is closed when that ends", file->path());
  }
  const port::Deadline deadline{port::TimePoint(std::chrono::steady_clock::now().time_since_epoch()) + state_->options.close_timeout};
  const std::string path = file->path();
  return state_->run<void>(deadline, [&] { return fmt::format("close \"{}\"", path); }, [file = std::move(file)] { return file->close(); });
}

Status PosixStorage::write_all(port::FileId id, std::span<const port::WritePiece> pieces, port::Deadline deadline) {
  for (const port::WritePiece& piece : pieces) CHECK(piece.owner || piece.bytes.empty(), "a piece without an owner");
  const std::shared_ptr<PosixFile> file = state_->find(id);
  return state_->run<void>(
      deadline, [&] { return fmt::format("write \"{}\"", file->path()); },
      [file, owned = std::vector(pieces.begin(), pieces.end()), deadline] { return file->write_all(owned, deadline); });
}

Status PosixStorage::read_all(port::FileId id, std::span<const port::ReadPiece> pieces, port::Deadline deadline) {
  for (const port::ReadPiece& piece : pieces) CHECK(piece.owner || piece.bytes.empty(), "a piece without an owner");
  const std::shared_ptr<PosixFile> file = state_->find(id);
  return state_->run<void>(
      deadline, [&] { return fmt::format("read \"{}\"", file->path()); },
      [file, owned = std::vector(pieces.begin(), pieces.end()), deadline] { return file->read_all(owned, deadline); });
}

Result<std::uint64_t> PosixStorage::size(port::FileId id, port::Deadline deadline) {
  const std::shared_ptr<PosixFile> file = state_->find(id);
  return state_->run<std::uint64_t>(deadline, [&] { return fmt::format("size of \"{}\"", file->path()); }, [file] { return file->size(); });
}

Status PosixStorage::truncate(port::FileId id, std::uint64_t size, port::Deadline deadline) {
  const std::shared_ptr<PosixFile> file = state_->find(id);
  return state_->run<void>(
      deadline, [&] { return fmt::format("truncate \"{}\" to {}", file->path(), size); }, [file, size] { return file->truncate(size); });
}

Status PosixStorage::sync(port::FileId id, port::Deadline deadline) {
  const std::shared_ptr<PosixFile> file = state_->find(id);
  return state_->run<void>(deadline, [&] { return fmt::format("sync \"{}\"", file->path()); }, [file] { return file->sync(); });
}

Status PosixStorage::rename(std::string_view from, std::string_view to, port::Deadline deadline) {
  const std::string old_name = TRY(checked("rename", from));
  const std::string new_name = TRY(checked("rename to", to));
  return state_->run<void>(
      deadline, [&] { return fmt::format("rename \"{}\" to \"{}\"", from, to); },
      [root = state_->root, old_name, new_name] { return root->rename(old_name, new_name); });
}

Status PosixStorage::link_if_absent(std::string_view from, std::string_view to, port::Deadline deadline) {
  const std::string old_name = TRY(checked("link", from));
  const std::string new_name = TRY(checked("link to", to));
  return state_->run<void>(
      deadline, [&] { return fmt::format("link \"{}\" to \"{}\"", from, to); },
      [root = state_->root, old_name, new_name] { return root->link_if_absent(old_name, new_name); });
}

Status PosixStorage::remove(std::string_view path, port::Deadline deadline) {
  const std::string name = TRY(checked("remove", path));
  return state_->run<void>(
      deadline, [&] { return fmt::format("remove \"{}\"", path); }, [root = state_->root, name] { return root->remove(name); });
}

Status PosixStorage::remove_directory(std::string_view path, port::Deadline deadline) {
  const std::string name = TRY(checked("remove directory", path));
  return state_->run<void>(
      deadline, [&] { return fmt::format("remove directory \"{}\"", path); },
      [root = state_->root, name] { return root->remove_directory(name); });
}

Result<std::vector<port::DirectoryEntry>> PosixStorage::list(std::string_view path, port::Deadline deadline) {
  const std::string name = TRY(checked_directory("list", path));
  return state_->run<std::vector<port::DirectoryEntry>>(
      deadline, [&] { return fmt::format("list \"{}\"", path); }, [root = state_->root, name] { return root->list(name); });
}

Status PosixStorage::sync_directory(std::string_view path, port::Deadline deadline) {
  const std::string name = TRY(checked_directory("sync directory", path));
  return state_->run<void>(
      deadline, [&] { return fmt::format("sync directory \"{}\"", path); },
      [root = state_->root, name] { return root->sync_directory(name); });
}

std::size_t PosixStorage::live_files() const { return *state_->live_files; }
int PosixStorage::abandoned_operations() const { return state_->workers->abandoned(); }

}  // namespace holdfast::backend

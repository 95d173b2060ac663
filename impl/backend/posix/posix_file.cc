#include "impl/backend/posix/posix_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "impl/backend/posix/posix_error.h"
#include "impl/backend/posix/transfer.h"
#include "impl/core/mark.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr mode_t file_mode = 0666;       // less the umask
constexpr mode_t directory_mode = 0777;  // likewise

/// Below it a write that makes the file longer is not worth a call to reserve its blocks.
constexpr std::uint64_t reserve_bytes_min = std::uint64_t{1} << 20;

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

template <typename Piece>
std::vector<FileSpan> spans_of(const std::vector<Piece>& pieces) {
  std::vector<FileSpan> spans;
  // A write's memory is only looked at (IoRequest).
  for (const Piece& piece : pieces) spans.push_back({piece.offset, const_cast<std::byte*>(piece.bytes.data()), piece.bytes.size()});
  return spans;
}

bool same_file(int a, int b) {
  struct stat one, other;
  return ::fstat(a, &one) == 0 && ::fstat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

}  // namespace

PosixFile::PosixFile(Descriptors fds, std::string path, std::shared_ptr<PosixCalls> calls, std::shared_ptr<IoEngine> engine,
                     std::shared_ptr<std::atomic<std::size_t>> live)
    : fds_(fds), path_(std::move(path)), calls_(std::move(calls)), engine_(std::move(engine)), live_(std::move(live)) {
  ++*live_;
}

PosixFile::~PosixFile() {
  if (open_) static_cast<void>(close());
}

std::uint64_t PosixFile::alignment() const { return fds_.direct >= 0 && !direct_refused_ ? IoEngine::direct_alignment : 1; }

Status PosixFile::write_all(const std::vector<port::WritePiece>& pieces, port::Deadline deadline) {
  const std::shared_ptr<IoLane> lane = engine_->lane();
  const std::vector<FileSpan> spans = join_neighbours(spans_of(pieces));
  // In order means one at a time, and one way only.
  if (MUTATE("posix.order_ignored", overlap(spans), false))
    return transfer(IoKind::write, *lane, cut_write(spans, lane->rules(1)), 1, deadline);
  const std::vector<IoPart> parts = cut_write(spans, lane->rules(alignment()));
  TRY(reserve(parts));
  const auto buffered = std::ranges::find(parts, IoWay::buffered, &IoPart::way);
  TRY(transfer(IoKind::write, *lane, {parts.begin(), buffered}, lane->queue().depth(), deadline));
  return transfer(IoKind::write, *lane, {buffered, parts.end()}, lane->queue().depth(), deadline);
}

Status PosixFile::read_all(const std::vector<port::ReadPiece>& pieces, port::Deadline deadline) {
  const std::shared_ptr<IoLane> lane = engine_->lane();
  const std::vector<IoPart> parts = cut_read(join_neighbours(spans_of(pieces)), lane->rules(MUTATE("posix.read_cached", alignment(), 1)));
  return transfer(IoKind::read, *lane, parts, lane->queue().depth(), deadline);
}

Status PosixFile::transfer(IoKind kind, IoLane& lane, const std::vector<IoPart>& parts, std::size_t at_once, port::Deadline deadline) {
  if (parts.empty()) return {};
  TransferOptions options{.kind = kind, .path = path_, .buffered_fd = fds_.buffered, .direct_fd = fds_.direct};
  options.alignment = IoEngine::direct_alignment;
  options.bounce_bytes = lane.rules(options.alignment).bounce_bytes;
  if (std::ranges::find(parts, IoWay::bounced, &IoPart::way) != parts.end()) options.bounce = TRY(lane.bounce());
  options.at_once = at_once;
  options.deadline = deadline;
  Transfer transfer(lane.queue(), std::move(options));
  const Status done = transfer.run(parts);
  if (transfer.direct_refused() && !direct_refused_.exchange(true)) {
    engine_->note(fmt::format("some files through the page cache: O_DIRECT: {}", direct_refused_text));
    if (engine_->direct_required())
      return fail(ErrorCode::unsupported, "{} \"{}\": O_DIRECT: {}", kind == IoKind::read ? "read" : "write", path_, direct_refused_text);
  }
  return done;
}

/// A write past the page cache that makes the file longer is done alone, and finds its blocks, request by request; with the blocks there
/// and the size set before, all are under way at once (measured on ext4: a quarter of the CPU time). A crash then leaves zeros where
/// nothing was written yet.
Status PosixFile::reserve(const std::vector<IoPart>& parts) {
  std::uint64_t end = 0, direct = 0;
  for (const IoPart& part : parts) {
    end = std::max(end, part.span.end());
    if (part.way != IoWay::buffered) direct += part.span.bytes;
  }
  if (direct < reserve_bytes_min) return {};
  const std::uint64_t there = TRY(size());
  if (end > there) TRY(reserve(there, end));
  return {};
}

/// True when the file has the room and is as long as `end`.
Result<bool> PosixFile::reserve(std::uint64_t there, std::uint64_t end) {
  const auto bytes = static_cast<off_t>(end - there);
  if (calls_->fallocate(fds_.buffered, static_cast<off_t>(there), bytes) == 0) return true;
  // Better now than after hours of writing. Any other refusal is no failure: the writes say what they can. Not every file system can reserve, and one that
  // gives up at a signal would do so again.
  if (errno == ENOSPC || errno == EDQUOT) return system_error(errno, "write \"{}\": reserve {} bytes at {}", path_, bytes, there);
  MARK("posix.nothing_reserved");
  return false;
}

Result<std::uint64_t> PosixFile::size() {
  struct stat info;
  if (::fstat(fds_.buffered, &info) != 0) return system_error(errno, "size of \"{}\"", path_);
  return static_cast<std::uint64_t>(info.st_size);
}

/// A file system waits for the writes under way before it reserves more, so that one who reserves window by window has none at once with another.
Status PosixFile::truncate(std::uint64_t size) {
  const std::uint64_t there = TRY(this->size());
  if (alignment() != 1 && size >= there + reserve_bytes_min) {
    const Result<bool> reserved = reserve(there, size);
    if (!reserved) static_cast<void>(::ftruncate(fds_.buffered, static_cast<off_t>(there)));  // a file system may keep what it had found
    if (TRY(reserved)) return {};
  }
  if (uninterrupted([&] { return ::ftruncate(fds_.buffered, static_cast<off_t>(size)); }) == 0) return {};
  return system_error(errno, "truncate \"{}\" to {}", path_, size);
}

Status PosixFile::sync() {
  const std::scoped_lock lock(sync_mutex_);
  if (sync_failure_) return fail(*sync_failure_);
  if (uninterrupted([&] { return calls_->fsync(fds_.buffered); }) == 0) return {};
  auto failed = system_error(errno, "sync \"{}\"", path_);
  sync_failure_ = failed.value();
  return failed;
}

Status PosixFile::close() {
  --*live_;
  open_ = false;
  int number = 0;
  for (const int fd : {fds_.direct, fds_.buffered}) {
    // Not repeated after EINTR: on Linux the descriptor is gone by then, and may already be somebody else's.
    if (fd >= 0 && calls_->close(fd) != 0 && errno != EINTR) number = errno;
  }
  if (number == 0) return {};
  return system_error(number, "close \"{}\"", path_);
}

PosixRoot::~PosixRoot() { ::close(fd_); }

Result<Descriptors> PosixRoot::open_file(std::string_view verb, const std::string& path, int flags, IoEngine& engine) {
  const std::string what = fmt::format("{} \"{}\"", verb, path);
  Descriptors fds;
  fds.buffered = TRY(open_regular(what, path, flags));
  if (!engine.direct()) return fds;
  const Result<int> direct = open_direct(what, path, flags & ~(O_CREAT | O_EXCL), fds.buffered, engine);
  if (direct) {
    fds.direct = *direct;
    return fds;
  }
  ::close(fds.buffered);
  return fail(direct.error());
}

Result<int> PosixRoot::open_regular(const std::string& what, const std::string& path, int flags) {
  // O_NONBLOCK: a FIFO in a checkpoint's directory must not hang the worker. A regular file is better without: io_uring would give EAGAIN.
  const int fd = uninterrupted([&] { return calls_->openat(fd_, path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, file_mode); });
  if (fd < 0) return system_error(errno, "{}", what);
  struct stat info;
  const int failure = ::fstat(fd, &info) != 0 || ::fcntl(fd, F_SETFL, flags & O_DIRECT) != 0 ? errno : 0;
  if (failure == 0 && S_ISREG(info.st_mode)) return fd;
  ::close(fd);
  if (failure != 0) return system_error(failure, "{}", what);
  return fail(ErrorCode::io_error, "{}: not a regular file", what);
}

/// A second descriptor of the file that `same` is open on, or -1 where there can be none.
Result<int> PosixRoot::open_direct(const std::string& what, const std::string& path, int flags, int same, IoEngine& engine) {
  const Result<int> direct = open_regular("O_DIRECT", path, flags | O_DIRECT);
  if (direct && same_file(*direct, same)) return *direct;
  if (direct) ::close(*direct);
  // By another name already (it was renamed meanwhile), or refused.
  const std::string reason = direct ? "O_DIRECT: renamed while it was opened" : direct.error().message;
  if (engine.direct_required()) return fail(ErrorCode::unsupported, "{}: {}", what, reason);
  MARK("posix.file_without_direct");
  engine.note(fmt::format("some files through the page cache: {}", reason));
  return -1;
}

Status PosixRoot::make_directory(const std::string& path) {
  if (::mkdirat(fd_, path.c_str(), directory_mode) == 0) return {};
  return system_error(errno, "make directory \"{}\"", path);
}

Status PosixRoot::rename(const std::string& from, const std::string& to) {
  if (::renameat(fd_, from.c_str(), fd_, to.c_str()) == 0) return {};
  return system_error(errno, "rename \"{}\" to \"{}\"", from, to);
}

Status PosixRoot::link_if_absent(const std::string& from, const std::string& to) {
  if (calls_->linkat(fd_, from.c_str(), fd_, to.c_str(), 0) == 0) return {};
  const int number = errno;
  auto failed = system_error(number, "link \"{}\" to \"{}\"", from, to);
  // EXDEV within one root: a file system that links only files of one directory.
  if (number == EXDEV || number == EPERM || number == EOPNOTSUPP || number == ENOSYS) failed.value().code = ErrorCode::unsupported;
  return failed;
}

Status PosixRoot::remove(const std::string& path) {
  if (::unlinkat(fd_, path.c_str(), 0) == 0) return {};
  return system_error(errno, "remove \"{}\"", path);
}

Status PosixRoot::remove_directory(const std::string& path) {
  if (::unlinkat(fd_, path.c_str(), AT_REMOVEDIR) == 0) return {};
  return system_error(errno, "remove directory \"{}\"", path);
}

Result<int> PosixRoot::open_directory(std::string_view verb, const std::string& path) {
  const char* const name = path.empty() ? "." : path.c_str();
  const int fd = uninterrupted([&] { return ::openat(fd_, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) return system_error(errno, "{} \"{}\"", verb, path);
  return fd;
}

Result<std::vector<port::DirectoryEntry>> PosixRoot::list(const std::string& path) {
  const int fd = TRY(open_directory("list", path));
  const std::unique_ptr<DIR, DirectoryCloser> directory(::fdopendir(fd));
  if (!directory) {
    const int number = errno;
    ::close(fd);
    return system_error(number, "list \"{}\"", path);
  }
  std::vector<port::DirectoryEntry> entries;
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(directory.get());
    if (!entry && errno != 0) return system_error(errno, "list \"{}\"", path);
    if (!entry) return entries;
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) {
      struct stat info;
      is_directory = ::fstatat(fd, entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
    }
    entries.push_back({std::string(name), is_directory});
  }
}

Status PosixRoot::sync_directory(const std::string& path) {
  const int fd = TRY(open_directory("sync directory", path));
  const int number = uninterrupted([&] { return calls_->fsync(fd); }) == 0 ? 0 : errno;
  ::close(fd);
  if (number != 0) return system_error(number, "sync directory \"{}\"", path);
  return {};
}

}  // namespace holdfast::backend

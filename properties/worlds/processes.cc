#include "properties/worlds/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "impl/backend/posix/posix_error.h"
#include "impl/core/check.h"

namespace holdfast::properties {
namespace {

using backend::Fd;
using backend::uninterrupted;

constexpr std::size_t printed_bytes_max = 4096;  ///< of what a process has printed, in its end
constexpr int threw = 125, not_written = 126;    ///< exit codes

bool write_whole(const Fd& file, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t written = uninterrupted([&] { return ::write(file.get(), bytes.data(), bytes.size()); });
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

/// The last `most` bytes.
Bytes read_end(const Fd& file, std::size_t most) {
  struct stat status{};
  CHECK(::fstat(file.get(), &status) == 0, "look at a file in memory: {}", backend::errno_text(errno));
  Bytes bytes(std::min(static_cast<std::size_t>(status.st_size), most));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const off_t at = status.st_size - static_cast<off_t>(bytes.size() - done);
    const ssize_t read = uninterrupted([&] { return ::pread(file.get(), bytes.data() + done, bytes.size() - done, at); });
    CHECK(read > 0, "read a file in memory: {}", backend::errno_text(errno));
    done += static_cast<std::size_t>(read);
  }
  return bytes;
}

[[noreturn]] void run_child(pid_t parent, const Fd& result, const Fd& printed, const std::function<Bytes()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(threw);  // it ended before it could be asked for
  ::dup2(printed.get(), STDOUT_FILENO);
  ::dup2(printed.get(), STDERR_FILENO);
  try {
    ::_exit(write_whole(result, body()) ? 0 : not_written);  // without what the parent left to do at an exit
  } catch (const std::exception& exception) {
    ::dprintf(STDERR_FILENO, "exception: %s\n", exception.what());
  } catch (...) {
    ::dprintf(STDERR_FILENO, "an exception that is no std::exception\n");
  }
  ::_exit(threw);
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return killed_by(WTERMSIG(status));
  if (WEXITSTATUS(status) == not_written) return "could not write its result";
  if (WEXITSTATUS(status) == threw) return "ended by an exception";
  return fmt::format("ended with exit code {} before its result was there", WEXITSTATUS(status));
}

}  // namespace

std::string killed_by(int signal) { return fmt::format("killed by signal {} ({})", signal, ::strsignal(signal)); }

Result<Processes> Processes::make() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return backend::system_error(errno, "make a pipe");
  return Processes(Fd(ends[0]), Fd(ends[1]));
}

Processes::~Processes() { static_cast<void>(wait(std::chrono::milliseconds(0))); }

Status Processes::start(const std::function<Bytes()>& body) {
  Child child;
  child.result = Fd(::memfd_create("result", MFD_CLOEXEC));
  child.printed = Fd(::memfd_create("printed", MFD_CLOEXEC));
  if (!child.result || !child.printed) return backend::system_error(errno, "make a file in memory");
  const pid_t parent = ::getpid();
  child.process = ::fork();
  if (child.process < 0) return backend::system_error(errno, "fork");
  if (child.process == 0) run_child(parent, child.result, child.printed, body);
  children_.push_back(std::move(child));
  return {};
}

std::vector<ProcessEnd> Processes::wait(std::chrono::milliseconds limit) {
  alive_.reset();
  const auto until = std::chrono::steady_clock::now() + limit;
  int events = children_.empty() ? 1 : -1;
  while (events < 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    pollfd end{ended_.get(), 0, 0};  // its end is told unasked
    events = ::poll(&end, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    CHECK(events >= 0 || errno == EINTR, "wait for processes: {}", backend::errno_text(errno));
  }
  const bool late = events == 0;
  if (late) {
    for (const Child& child : children_) ::kill(child.process, SIGKILL);  // all, before the end of one is a fault for another
  }
  std::vector<ProcessEnd> ends;
  for (const Child& child : children_) {
    int status = 0;
    const pid_t ended = uninterrupted([&] { return ::waitpid(child.process, &status, 0); });
    CHECK(ended == child.process, "wait for process {}: {}", child.process, backend::errno_text(errno));
    ProcessEnd& end = ends.emplace_back();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      end.result = read_end(child.result, SIZE_MAX);
      continue;
    }
    const bool killed = late && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    end.how = killed ? fmt::format("still ran after {} ms, and was killed", limit.count()) : how_it_ended(status);
    const Bytes printed = read_end(child.printed, printed_bytes_max);
    if (!printed.empty()) end.how += fmt::format("; it printed:\n{}", as_text(printed));
  }
  children_.clear();
  return ends;
}

}  // namespace holdfast::properties

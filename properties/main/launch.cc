// Starts the processes of a launched world, or finds where a launcher put this one.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "impl/backend/posix/posix_error.h"
#include "properties/main/worlds.h"
#include "reports/publish.h"

namespace holdfast::properties {
namespace {

/// The processes that this one forked. When it has its verdict they have theirs: what still runs then is killed.
class Team {
 public:
  Team() = default;
  ~Team() {
    for (const pid_t process : processes_) {
      ::kill(process, SIGKILL);
      backend::uninterrupted([&] { return ::waitpid(process, nullptr, 0); });
    }
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// The rank that the caller is now.
  Result<Rank> fork(int processes) {
    const pid_t parent = ::getpid();
    for (int rank = 1; rank < processes; ++rank) {
      const pid_t process = ::fork();
      if (process < 0) return backend::system_error(errno, "fork");
      if (process > 0) {
        processes_.push_back(process);
        continue;
      }
      processes_.clear();
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      const backend::Fd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));
      ::dup2(nowhere.get(), STDOUT_FILENO);
      return Rank{rank};
    }
    return Rank{0};
  }

 private:
  std::vector<pid_t> processes_;
};

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "a host without a name";
}

struct Place {
  backend::Rendezvous rendezvous;
  backend::Fd listener = {};
};

Result<Place> start(int processes) {
  static Team team;  // until this process ends
  Place place{{.world_size = processes, .job_id = fmt::format("processes of {}", ::getpid())}};
  place.listener = TRY(backend::listen_at(place.rendezvous.master_address, 0));
  place.rendezvous.port = TRY(backend::local_address(place.listener)).port();
  place.rendezvous.rank = TRY(team.fork(processes));
  place.rendezvous.local_rank = place.rendezvous.rank.value;
  if (place.rendezvous.rank != Rank{0}) place.listener.reset();
  return place;
}

Result<Place> find() {
  Place place{TRY(backend::rendezvous(backend::process_environment()))};
  if (place.rendezvous.launcher == backend::Launcher::alone)
    return fail(ErrorCode::invalid_argument,
                "this process is alone; expected a launcher (torchrun, srun, mpirun, HOLDFAST_RANK) or --processes");
  return place;
}

}  // namespace

Result<std::unique_ptr<World>> launched_world(const WorldRequest& request,
                                              const std::function<Result<LaunchedOptions>(const backend::Rendezvous&)>& options) {
  Result<Place> place = request.processes > 0 ? start(request.processes) : find();
  if (!place) return fail(within(std::move(place).error(), "world {}", request.name));
  Result<LaunchedOptions> here = options(place->rendezvous);
  if (!here) return fail(within(std::move(here).error(), "world {}", request.name));
  here->name = request.name;
  here->folder = request.folder;
  here->request = request.request;
  here->machine = fmt::format("{}: {}{}", host_name(), reports::machine(), here->machine.empty() ? "" : ", " + here->machine);
  return LaunchedWorld::make(place->rendezvous, std::move(place->listener), *std::move(here));
}

}  // namespace holdfast::properties

#include "impl/backend/tcp/rendezvous.h"

#include <unistd.h>

#include <charconv>
#include <limits>
#include <vector>

#include "impl/backend/tcp/node_list.h"
#include "impl/core/digest.h"
#include "impl/core/mutate.h"

namespace holdfast::backend {
namespace {

constexpr std::size_t secret_bytes_min = 16;
constexpr std::uint16_t port_first = 23000;  ///< of the ports that follow from a job id: below those that systems give out themselves
constexpr std::uint16_t port_count = 8192;
constexpr int port_last = 65535;

/// What a launcher tells each process of itself.
struct Source {
  Launcher launcher;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size = nullptr;
};
constexpr Source sources[] = {
    {Launcher::variables, "HOLDFAST_RANK", "HOLDFAST_WORLD_SIZE", "HOLDFAST_LOCAL_RANK"},
    {Launcher::torchrun, "RANK", "WORLD_SIZE", "LOCAL_RANK"},
    {Launcher::openmpi, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {Launcher::slurm, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"},
    {Launcher::pmi, "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"},
};

struct Place {
  const Source* source;
  int rank;
  int size;
  std::string via;
};

template <typename... Args>
tl::unexpected<Error> refuse(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorCode::invalid_argument, "rendezvous: {}", fmt::format(format, std::forward<Args>(args)...));
}

/// Reads one environment.
class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  Result<Rendezvous> read() const {
    const std::optional<Place> place = TRY(choose());
    Rendezvous found;
    found.secret = text("HOLDFAST_JOB_SECRET");
    if (!found.secret.empty() && found.secret.size() < secret_bytes_min) {
      return refuse("HOLDFAST_JOB_SECRET has {} bytes; expected at least {}", found.secret.size(), secret_bytes_min);
    }
    if (!place) return found;
    found.launcher = place->source->launcher;
    found.via = place->via;
    found.rank = Rank{place->rank};
    found.world_size = place->size;
    if (has(place->source->local_rank)) found.local_rank = TRY(number(place->source->local_rank, 0, std::numeric_limits<int>::max()));
    if (place->size == 1) return found;  // there is nobody to meet
    found.master_address = TRY(master_address(*place));
    const std::string launched = launched_id(place->source->launcher);
    found.port = TRY(port(*place, launched));
    const std::string here = fmt::format("{}:{}", found.master_address, found.port);
    found.job_id = has("HOLDFAST_JOB_ID") ? text("HOLDFAST_JOB_ID") : launched.empty() ? here : launched + "@" + here;
    return found;
  }

 private:
  std::string text(const char* name) const {
    const auto found = environment_.find(name);
    return found == environment_.end() ? std::string() : found->second;
  }
  bool has(const char* name) const { return !text(name).empty(); }
  std::string pair(const char* name) const { return fmt::format("{}={}", name, text(name)); }
  std::string told(const Place& place) const {
    return fmt::format("{}, {} ({})", pair(place.source->rank), pair(place.source->size), to_string(place.source->launcher));
  }

  Result<int> number(const char* name, int low, int high) const {
    const std::string digits = text(name);
    int value = 0;
    const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (problem != std::errc() || end != digits.data() + digits.size() || value < low || value > high) {
      if (high == std::numeric_limits<int>::max()) return refuse("{}=\"{}\"; expected a whole number of at least {}", name, digits, low);
      return refuse("{}=\"{}\"; expected a whole number from {} to {}", name, digits, low, high);
    }
    return value;
  }

  /// What one launcher says, if it started this process.
  Result<std::optional<Place>> place(const Source& source) const {
    // The shell of a Slurm allocation has the number of tasks, and is none of them.
    if (!has(source.rank) && (!has(source.size) || source.launcher == Launcher::slurm)) return std::nullopt;
    for (const auto& [given, missing] : {std::pair(source.rank, source.size), std::pair(source.size, source.rank)}) {
      if (!has(missing)) return refuse("{} without {} ({}); expected both or none", pair(given), missing, to_string(source.launcher));
    }
    const int size = TRY(number(source.size, 1, std::numeric_limits<int>::max()));
    const int rank = TRY(number(source.rank, 0, size - 1));
    return Place{&source, rank, size, std::string(to_string(source.launcher))};
  }

  Result<std::optional<Place>> choose() const {
    if (has("HOLDFAST_LAUNCHER")) return named(text("HOLDFAST_LAUNCHER"));
    std::optional<Place> chosen;
    for (const Source& source : sources) {
      const std::optional<Place> said = TRY(place(source));
      if (!said) continue;
      const bool disagree = chosen && (said->rank != chosen->rank || said->size != chosen->size);
      if (MUTATE("tcp.first_launcher_wins", disagree, false)) {
        return refuse("{} and {} disagree; expected one launcher, or HOLDFAST_LAUNCHER to name the one to believe", told(*chosen),
                      told(*said));
      }
      if (chosen) {
        chosen->via += "," + said->via;
      } else {
        chosen = said;
      }
    }
    return chosen;
  }

  Result<std::optional<Place>> named(const std::string& name) const {
    if (name == to_string(Launcher::alone)) return std::nullopt;
    for (const Source& source : sources) {
      if (name != to_string(source.launcher)) continue;
      std::optional<Place> said = TRY(place(source));
      if (!said) return refuse("HOLDFAST_LAUNCHER={} without {} and {}; expected both", name, source.rank, source.size);
      return said;
    }
    return refuse("HOLDFAST_LAUNCHER=\"{}\"; expected variables, torchrun, openmpi, slurm, pmi or alone", name);
  }

  Result<std::string> master_address(const Place& place) const {
    if (has("HOLDFAST_MASTER_ADDR")) return text("HOLDFAST_MASTER_ADDR");
    switch (place.source->launcher) {
      case Launcher::torchrun:
        if (has("MASTER_ADDR")) return text("MASTER_ADDR");
        return refuse("no MASTER_ADDR beside {}; expected it or HOLDFAST_MASTER_ADDR", told(place));
      case Launcher::openmpi:
      case Launcher::pmi:
        if (text(place.source->local_size) == text(place.source->size)) return "127.0.0.1";
        return refuse("{} with {}, so perhaps several hosts, and nothing tells that of rank 0; expected HOLDFAST_MASTER_ADDR", told(place),
                      pair(place.source->local_size));
      case Launcher::slurm:
        for (const char* list : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
          if (!has(list)) continue;
          Result<std::string> first = first_node(text(list));
          if (!first) return fail(within(std::move(first).error(), "rendezvous: {}", list));
          return first;
        }
        return refuse("no SLURM_STEP_NODELIST, SLURM_JOB_NODELIST or SLURM_NODELIST beside {}; expected one or HOLDFAST_MASTER_ADDR",
                      told(place));
      default: return refuse("no HOLDFAST_MASTER_ADDR beside {}; expected it", told(place));
    }
  }

  /// What the launcher calls the job; empty where it has no name for it.
  std::string launched_id(Launcher launcher) const {
    if (launcher == Launcher::torchrun) return text("TORCHELASTIC_RUN_ID");
    if (launcher == Launcher::openmpi) return has("PMIX_NAMESPACE") ? text("PMIX_NAMESPACE") : text("OMPI_MCA_ess_base_jobid");
    if (launcher == Launcher::pmi) return text("PMI_JOBID");
    if (launcher == Launcher::slurm && has("SLURM_JOB_ID")) return fmt::format("{}.{}", text("SLURM_JOB_ID"), text("SLURM_STEP_ID"));
    return {};
  }

  Result<std::uint16_t> port(const Place& place, const std::string& launched) const {
    if (has("HOLDFAST_PORT")) return static_cast<std::uint16_t>(TRY(number("HOLDFAST_PORT", 1, port_last)));
    const Launcher launcher = place.source->launcher;
    if (launcher == Launcher::torchrun && has("MASTER_PORT")) {
      return static_cast<std::uint16_t>(TRY(number("MASTER_PORT", 1, port_last - 1)) + 1);  // MASTER_PORT is that of torchrun's own store
    }
    if (launcher == Launcher::torchrun) return refuse("no MASTER_PORT beside {}; expected it or HOLDFAST_PORT", told(place));
    const std::string id = has("HOLDFAST_JOB_ID") ? text("HOLDFAST_JOB_ID") : launched;
    if (launcher == Launcher::variables || id.empty()) return refuse("no HOLDFAST_PORT beside {}; expected it", told(place));
    return static_cast<std::uint16_t>(port_first + block_digest(as_bytes(id)).low % port_count);
  }

  const Environment& environment_;
};

}  // namespace

std::string_view to_string(Launcher launcher) {
  switch (launcher) {
    case Launcher::alone: return "alone";
    case Launcher::variables: return "variables";
    case Launcher::torchrun: return "torchrun";
    case Launcher::openmpi: return "openmpi";
    case Launcher::slurm: return "slurm";
    case Launcher::pmi: return "pmi";
  }
  return "?";
}

Result<Rendezvous> rendezvous(const Environment& environment) { return Reader(environment).read(); }

Environment process_environment() {
  Environment copy;
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) copy.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return copy;
}

std::string describe(const Rendezvous& rendezvous) {
  std::string text = fmt::format("rank {} of {}, told by {}", rendezvous.rank, rendezvous.world_size, rendezvous.via);
  if (rendezvous.local_rank) text += fmt::format(", local rank {}", *rendezvous.local_rank);
  if (rendezvous.world_size > 1) text += fmt::format(", rank 0 at {}:{}", rendezvous.master_address, rendezvous.port);
  return text;
}

}  // namespace holdfast::backend

#include "impl/cli/launcher.h"

#include <array>
#include <charconv>

namespace holdfast::cli {
namespace {

struct Names {
  const char* via;
  const char* rank;
  const char* world;
};
constexpr std::array known = {Names{"torchrun", "RANK", "WORLD_SIZE"}, Names{"slurm", "SLURM_PROCID", "SLURM_NTASKS"},
                              Names{"openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, Names{"pmi", "PMI_RANK", "PMI_SIZE"}};

Result<std::int64_t> number_in(const char* name, const std::string& text, std::int64_t least) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least) {
    return fail(ErrorCode::invalid_argument, "{}=\"{}\": expected a number from {}", name, text, least);
  }
  return number;
}

std::string told(const Names& names, const Launcher& launcher) {
  return fmt::format("{}={} of {}={} ({})", names.rank, launcher.rank, names.world, launcher.world, names.via);
}

Result<std::optional<Launcher>> launcher_of(const Names& names, const Variable& variable) {
  const auto rank = variable(names.rank), world = variable(names.world);
  if (!rank && !world) return std::optional<Launcher>();
  if (!rank || !world) {
    return fail(ErrorCode::invalid_argument, "{} is set and {} is not ({}); expected both or none", rank ? names.rank : names.world,
                rank ? names.world : names.rank, names.via);
  }
  Launcher launcher;
  launcher.via = names.via;
  launcher.rank = TRY(number_in(names.rank, *rank, 0));
  launcher.world = TRY(number_in(names.world, *world, 1));
  if (launcher.rank >= launcher.world) {
    return fail(ErrorCode::invalid_argument, "{}: expected a rank below the world's size", told(names, launcher));
  }
  return std::optional<Launcher>(launcher);
}

}  // namespace

Result<std::vector<Launcher>> find_launchers(const Variable& variable) {
  std::vector<Launcher> found;
  std::string first;
  for (const Names& names : known) {
    const std::optional<Launcher> launcher = TRY(launcher_of(names, variable));
    if (!launcher) continue;
    if (found.empty()) first = told(names, *launcher);
    if (!found.empty() && (found[0].rank != launcher->rank || found[0].world != launcher->world)) {
      return fail(ErrorCode::invalid_argument, "{}, {}: they disagree", first, told(names, *launcher));
    }
    found.push_back(*launcher);
  }
  return found;
}

}  // namespace holdfast::cli

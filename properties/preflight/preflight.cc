#include "properties/preflight/preflight.h"

#include "impl/core/encoding.h"
#include "properties/preflight/steps.h"

namespace holdfast::properties {
namespace {

/// What one rank found, step by step, up to the first that failed.
Bytes run_steps(const port::Env& env, const PreflightSize& size) {
  Trial trial(env, size);
  Encoder out;
  for (const Step& step : steps()) {
    const Result<std::string> found = step.run(trial);
    out.u8(found.has_value());
    out.text(found ? *found : found.error().message);
    if (!found) break;
  }
  return out.take();
}

struct Found {
  bool passed = false;
  std::string text;
};

Result<std::vector<Found>> decode(ByteView bytes) {
  Decoder in(bytes, "what a rank found");
  std::vector<Found> found;
  while (in.left() > 0) {
    const bool passed = TRY(in.u8()) != 0;
    found.push_back({passed, TRY(in.text())});
  }
  return found;
}

/// One step as all ranks saw it. Some may have ended before, at a step that others passed.
PreflightRow merge(const char* name, std::size_t number, const std::vector<std::vector<Found>>& ranks) {
  PreflightRow row{name, true, {}};
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    const bool ran = number < ranks[r].size();
    if (ran && ranks[r][number].passed) continue;
    row.passed = false;
    row.found += fmt::format("{}rank {}: {}", row.found.empty() ? "" : "; ", r, ran ? ranks[r][number].text : "was not there");
  }
  if (row.passed) row.found = ranks[0][number].text;
  return row;
}

}  // namespace

std::vector<PreflightRow> preflight(World& world, int ranks, const PreflightSize& size) {
  const WorldRun run = world.run(ranks, 0, [&](const port::Env& env, Rank /*rank*/) { return run_steps(env, size); });
  std::vector<std::vector<Found>> found;
  for (const Bytes& result : run.results) {
    auto decoded = decode(result);
    found.push_back(decoded ? *std::move(decoded) : std::vector<Found>());
  }
  std::vector<PreflightRow> rows;
  for (std::size_t number = 0; number < steps().size() && (rows.empty() || rows.back().passed); ++number)
    rows.push_back(merge(steps()[number].name, number, found));
  if (!run.problems.empty()) {
    if (rows.back().passed) rows.push_back({"processes", false, {}});
    rows.back().found += fmt::format("{}{}", rows.back().found.empty() ? "" : "; ", fmt::join(run.problems, "; "));
  }
  return rows;
}

}  // namespace holdfast::properties

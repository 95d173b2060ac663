#include "properties/workload/judge.h"

#include <algorithm>
#include <map>

#include "impl/core/mark.h"
#include "impl/protocol/survey.h"

namespace holdfast::properties {
namespace {

void add(Verdict& verdict, VerdictClass verdict_class, std::string_view property, std::string message) {
  verdict.push_back({verdict_class, std::string(property), std::move(message)});
}

bool was_hit(const sim::Trace& act, Rank rank) {
  return std::ranges::any_of(act.fired, [&](const sim::Fault& fault) { return fault.site.rank == rank; });
}

}  // namespace

void judge_agreement(const SaveResults& saves, Verdict& verdict) {
  std::optional<std::size_t> committed, failed;
  for (std::size_t r = 0; r < saves.size(); ++r) {
    if (!saves[r]) continue;
    if (saves[r]->has_value()) committed = r;
    if (!saves[r]->has_value() && saves[r]->error().outcome == Outcome::failed) failed = r;
    if (!saves[r]->has_value() && saves[r]->error().outcome == Outcome::unknown) MARK("judge.unknown_outcome");
  }
  if (committed && failed) {
    add(verdict, VerdictClass::safety, "S5",
        fmt::format("rank {} says committed, rank {} says {}", *committed, *failed, to_string(saves[*failed]->error())));
  }
  // Two ranks that heard the decision of one round hold the same map.
  std::map<std::string, const CheckpointError*> first;  // by step
  const protocol::Saved* saved = nullptr;
  for (const auto& save : saves) {
    if (!save) continue;
    if (save->has_value()) {
      if (saved && (saved->directory != (*save)->directory || saved->sequence != (*save)->sequence)) {
        add(verdict, VerdictClass::safety, "S5",
            fmt::format("two names of one checkpoint: {} and {}", saved->directory, (*save)->directory));
      }
      saved = &**save;
      continue;
    }
    const CheckpointError& error = save->error();
    if (error.failures.empty()) continue;
    const auto [before, is_first] = first.try_emplace(error.step, &error);
    if (is_first || (before->second->failures == error.failures && before->second->lost == error.lost)) continue;
    add(verdict, VerdictClass::safety, "S5",
        fmt::format("two maps of one failure: {} and {}", to_string(*before->second), to_string(error)));
    return;
  }
}

void judge_attribution(const SaveResults& saves, const sim::Trace& act, Verdict& verdict) {
  for (std::size_t r = 0; r < saves.size(); ++r) {
    if (!saves[r] || saves[r]->has_value()) continue;
    const CheckpointError& error = saves[r]->error();
    if (act.fired.empty()) {
      add(verdict, VerdictClass::attribution, "A4", fmt::format("rank {}: no fault was injected, yet: {}", r, to_string(error)));
      return;
    }
    for (const Rank blamed : error.failures.ranks()) {
      if (was_hit(act, blamed)) continue;
      add(verdict, VerdictClass::attribution, "A1",
          fmt::format("rank {} blames rank {}, where no fault fired: {}", r, blamed, to_string(error)));
      return;
    }
  }
}

std::optional<std::string> debris(const sim::Disk& disk) {
  for (const std::string& path : disk.paths()) {
    const std::string top = path.substr(0, path.find('/'));
    const Result<Bytes> record = disk.read_file(top + "/MANIFEST");
    if (top != protocol::hint_name && top != protocol::given_up_mark && (!record || as_text(*record) == protocol::given_up_record))
      return path;
  }
  return std::nullopt;
}

}  // namespace holdfast::properties

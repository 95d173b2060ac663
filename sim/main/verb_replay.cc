#include "reports/json.h"
#include "reports/publish.h"
#include "sim/main/failure_file.h"
#include "sim/main/story.h"
#include "sim/main/subprocess.h"
#include "sim/main/verbs.h"

namespace holdfast::sim::program {
namespace {

/// The planted bugs are in another build: that one replays.
Exit hand_over(const ReplayArguments& arguments, const Console& console) {
  const auto program = program_beside("holdfast-sim-mutants");
  if (!program) return console.give_up(program.error());
  std::vector<std::string> words{*program, "replay", arguments.file};
  if (!arguments.trace.empty()) words.insert(words.end(), {"--trace", arguments.trace});
  words.insert(words.end(), {"--engine", to_string(default_engine())});
  if (console.json) words.emplace_back("--json");
  if (console.quiet) words.emplace_back("-q");
  return console.give_up(become(words));
}

}  // namespace

Exit replay_verb(const ReplayArguments& arguments, const Console& console) {
  const auto mutant = planted_bug_of(arguments.file);
  if (!mutant) return console.give_up(mutant.error());
  if (!mutant->empty() && !has_mutants()) return hand_over(arguments, console);
  const auto failure = read_failure_file(arguments.file);
  if (!failure) return console.give_up(failure.error());
  if (failure->build != build_id()) {
    console.note(fmt::format("warning: the failure is of build {}, this is {}; the run may diverge", failure->build, build_id()));
  }
  const Retold told = retell(*failure);
  if (!arguments.trace.empty()) {
    if (const Status written = reports::write_text_file(arguments.trace, reports::to_json(told.record)); !written)
      return console.give_up(written.error());
  }
  if (!console.json) fmt::print("{}", to_string(told.story));
  const Trace& act = told.result.act;
  const bool same = act.event_hash == failure->event_hash && told.result.hash == failure->hash;
  Json object{{"file", arguments.file},
              {"event_hash", fmt::format("{:016x}", act.event_hash)},
              {"expected_event_hash", fmt::format("{:016x}", failure->event_hash)},
              {"same", same},
              {"diverged", act.diverged},
              {"fails_alike", told.fails_alike},
              {"class", to_string(failure->signature.verdict_class)},
              {"property", failure->signature.property},
              {"message", failure->signature.message},
              {"story", {{"beginning", told.story.beginning}, {"events", told.story.events}, {"ending", told.story.ending}}}};
  if (!act.diverged.empty()) return console.finish(Exit::no_verdict, object, fmt::format("NONE {}", act.diverged).substr(0, 200));
  if (!same) {
    return console.finish(Exit::no_verdict, object,
                          fmt::format("NONE the run differs from the recorded one: event hash {:016x} after {} events, recorded {:016x}",
                                      act.event_hash, act.events, failure->event_hash));
  }
  if (!told.fails_alike) {
    return console.finish(Exit::good, object,
                          fmt::format("PASS same events (hash {:016x}), and {} holds now", act.event_hash, failure->signature.property));
  }
  return console.finish(Exit::bad, object,
                        fmt::format("same events, hash {:016x}\n{}", act.event_hash, failure_line(*failure, arguments.file)));
}

}  // namespace holdfast::sim::program

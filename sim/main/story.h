// A failing case told: what happened on which rank, in words and as a trace to draw.
#pragma once

#include <string>
#include <vector>

#include "impl/core/event.h"
#include "sim/main/failure_file.h"

namespace holdfast::sim::program {

struct Story {
  std::string beginning;                         ///< lines: the job and what was injected
  std::vector<std::vector<std::string>> events;  ///< the calls that matter: the columns of event_columns()
  std::string ending;                            ///< lines: the crash, how the ranks ended, what recovery found
};
std::vector<std::string> event_columns();
std::string to_string(const Story& story);

struct Retold {
  Story story;
  TraceRecord record;  ///< of the story, without the recovery
  CaseResult result;
  bool fails_alike = false;  ///< the signature's property is violated again
};

/// Runs the case of a failure file, recorded.
Retold retell(const FailureFile& failure);

}  // namespace holdfast::sim::program

// The case of a failure file run again and told.
#pragma once

#include "sim/main/failure_file.h"
#include "sim/testing/story.h"

namespace holdfast::sim::program {

struct Retold {
  Story story;
  TraceRecord record;  ///< of the story, without the recovery
  CaseResult result;
  bool fails_alike = false;  ///< the signature's property is violated again
};

/// Runs the case of a failure file, recorded.
Retold retell(const FailureFile& failure);

}  // namespace holdfast::sim::program

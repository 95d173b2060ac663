// The first act of a campaign: bugs that are known to be there must be caught, replayed and shown.
#pragma once

#include <string>

#include "sim/main/console.h"
#include "sim/main/story.h"

namespace holdfast::sim::program {

struct Caught {
  std::string title;  ///< "museum 29: PyTorch DCP file writer"
  std::string what;   ///< the bug
  std::string invariants;
  std::string missed;  ///< empty, or why it does not count as caught
  std::string found;   ///< "safety S3: ..."
  std::string file;    ///< the failure
  Story story;
  TraceRecord record;
  std::string healthy;  ///< what the campaign says without the bug
  double seconds = 0;   ///< to the failure file
};

/// The mutant segment_writer.delete_before_publish, in the program holdfast-sim-mutants beside this one.
Caught catch_planted_bug(std::uint64_t seed, unsigned threads, const std::string& folder, const Console& console);
/// Exhibit 29 of the museum: a model of PyTorch's file writer.
Caught catch_museum_bug(std::uint64_t seed, unsigned threads, const std::string& folder, const Console& console);

}  // namespace holdfast::sim::program

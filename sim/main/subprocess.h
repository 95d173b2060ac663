// Programs that lie beside this one.
#pragma once

#include <string>
#include <vector>

#include "impl/core/error.h"

namespace holdfast::sim::program {

struct Ended {
  int exit = 0;        ///< its exit code; 128 + the signal that ended it
  std::string output;  ///< its stdout
};

/// The folder that this program lies in. Empty where the system does not say.
std::string folder_of_this_program();

/// The path of the program `name` in the folder of this one. Errors: not_found.
Result<std::string> program_beside(const std::string& name);

/// Runs a program to its end without its stderr. Errors: io_error when it cannot be started.
Result<Ended> run_program(const std::vector<std::string>& words);

/// Becomes the program; returns only with the reason why not.
Error become(const std::vector<std::string>& words);

}  // namespace holdfast::sim::program

// The options that plan and estimate share.
#pragma once

#include <CLI/CLI.hpp>

#include "impl/cli/plan_text.h"
#include "impl/cli/planning.h"

namespace holdfast::cli {

void add_plan_options(CLI::App& verb, PlanArguments& arguments);
void add_rate_options(CLI::App& verb, Rates& rates);

}  // namespace holdfast::cli

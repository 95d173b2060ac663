// What plan and estimate say of a plan: the header above every printed one, and the same as JSON.
#pragma once

#include <string>

#include "impl/cli/planning.h"

namespace holdfast::cli {

/// What a rank, and all of them together, can move, in GB/s (10^9 bytes). An assumption of the caller's.
struct Rates {
  double write_gbps = 1;    ///< of a rank
  double read_gbps = 1;     ///< of a rank
  double storage_gbps = 0;  ///< of all ranks together; 0: no bound
};

/// Seconds that the rank with most bytes needs, or all of them on their storage, whichever is longer.
double seconds_of(std::uint64_t rank_bytes_max, std::uint64_t bytes, double rank_gbps, double storage_gbps);

std::string header_text(const Planned& planned, const Rates& rates);
std::string save_text(const Planned& planned, const Rates& rates);
std::string load_text(const Planned& planned, const Rates& rates);

Json save_json(const Planned& planned, const Rates& rates);
Json load_json(const Planned& planned, const Rates& rates);

/// The first error among the findings, as the cause of a bad verdict; or empty.
std::string cause_of(const Planned& planned);

}  // namespace holdfast::cli

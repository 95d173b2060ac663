// The two messages of a round, and their bytes.
#pragma once

#include <utility>
#include <vector>

#include "impl/core/bytes.h"
#include "impl/core/failure.h"

namespace holdfast::comm {

/// Up: what a rank and those below it bring.
struct Ascent {
  FailureMap failures;
  std::vector<Rank> lost;                                   ///< ranks below that were not heard
  std::vector<std::pair<Rank, SharedBytes>> contributions;  ///< of ranks that neither failed nor were lost
};

/// Down: what the coordinator decided.
struct Descent {
  enum class Kind : std::uint8_t { agreed = 1, failed = 2, unknown = 3 };
  Kind kind = Kind::unknown;
  SharedBytes common;                                    ///< agreed: for every rank
  std::vector<std::pair<Rank, SharedBytes>> individual;  ///< agreed: for single ranks of the subtree
  FailureMap failures;                                   ///< failed
  std::vector<Rank> lost;                                ///< failed or unknown
};

// On the wire equal contributions, and equal answers to single ranks, stand once: most ranks of a large job say the same.
Bytes encode(const Ascent& ascent);
Bytes encode(const Descent& descent);
// What is decoded shares the bytes of the message.
Result<Ascent> decode_ascent(const SharedBytes& bytes);
Result<Descent> decode_descent(const SharedBytes& bytes);

}  // namespace holdfast::comm

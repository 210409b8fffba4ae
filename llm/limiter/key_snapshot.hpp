#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <moderato/core/time.hpp>

namespace moderato {

/// One limit of a key, for people.
struct DimensionSnapshot {
  std::string name{};  ///< "requests", "tokens", … as the provider spells it.
  std::int64_t limit = 0;
  Duration period{};
  std::int64_t level = 0;   ///< Units that could go at once; negative: debt.
  bool learnt = false;      ///< From the provider's answers, not stated by anybody.
  double foreign_rate = 0;  ///< Units a second that others seem to take from the same quota.
};

/// What is known of a quota key just now, for people.
struct KeySnapshot {
  std::string state{};  ///< As in KeyChange.
  std::string why{};    ///< The provider's words for a state that is not "open".
  Instant until{};      ///< End of a pause or closure; Instant{} if there is none.
  /// Could go at once; negative: debt; infinite: no limit.
  double requests_left = std::numeric_limits<double>::infinity();
  double tokens_left = std::numeric_limits<double>::infinity();
  std::int64_t in_flight = 0;
  std::int64_t max_in_flight = 0;  ///< Slots; 0: no limit.
  std::vector<DimensionSnapshot> dimensions{};
  double retries_left = 0;       ///< In the key's retry budget.
  std::uint64_t granted = 0;     ///< By everybody who shares the key, as far as it is known.
  std::uint64_t rejections = 0;  ///< 429s that were settled.
  std::size_t waiting = 0;       ///< Tickets of all limiters that share the key.
  std::size_t owners = 0;        ///< Processes that share the key and are alive; 0: not counted.
};

}  // namespace moderato

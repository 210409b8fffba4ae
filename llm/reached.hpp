#pragma once

#include <cstdint>

namespace moderato {

/// How far an attempt came. Decides what is refunded to the quota and the budget.
enum class Reached : std::uint8_t {
  nothing,   ///< No byte of the request left: refund everything.
  sent,      ///< The request may have been received; no status came back.
  answered,  ///< A status came back.
};

}  // namespace moderato

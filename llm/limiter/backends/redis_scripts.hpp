#pragma once

// Private header of the library: not installed.

#include <string>

namespace moderato {

/// Lua scripts that Redis runs as one step each. KEYS: the state, the tickets. What they take and
/// give is written at their heads in redis_scripts.cpp and redis_tell_script.cpp. They hold the
/// arithmetic and nothing else: what a response means is worked out by whoever got it.
[[nodiscard]] std::string redis_acquire_script();
[[nodiscard]] std::string redis_tell_script();

/// The second script without what it shares with the first.
extern const char* const redis_tell_text;

}  // namespace moderato

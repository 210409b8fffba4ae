#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>
#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/limiter/backends/redis_connection.hpp>
#include <moderato/llm/limiter/key_snapshot.hpp>

/// What the scripts answer, checked: the numbers may come from a Redis whose keys somebody else
/// wrote, or from something that is no Redis. Times are on the server's clock. An answer of another
/// shape is a storage error.
namespace moderato::redis_answers {

/// A limit's level.
struct Level {
  QuotaUnit unit{};
  std::int64_t limit = 1;
  Duration period{};
  Duration owed{};
};

struct Granted {
  std::uint64_t id = 0;
  Ask charged{};
  std::optional<Instant> next{};  ///< When the next in line may go.
  std::int64_t next_lead = 0;
  bool probe = false;
  Instant start{};
  double share = 0;
};
struct Waits {
  std::optional<Instant> until{};  ///< nullopt: nobody knows.
  enum class For : std::uint8_t { unit, slots, state } what = For::unit;
  QuotaUnit unit{};
  std::int64_t lead = 0;
};
struct Refuses {
  Instant until{};
};
struct NeverFits {
  QuotaUnit unit{};
  std::int64_t limit = 0;
};

/// Of the acquire script.
struct Acquired {
  Instant now{};
  std::int64_t version = 0;  ///< Of the state machine.
  std::string state{};       ///< Its bytes; empty if the version is the one that was known.
  std::int64_t slots_in_use = 0;
  std::variant<Granted, Waits, Refuses, NeverFits> verdict{};
  std::vector<Level> levels{};
};
[[nodiscard]] Result<Acquired> read_acquired(const RedisReply& reply);

/// Of the tell script, but for "look".
struct Told {
  std::int64_t version = -1;  ///< Of the state machine; -1: there is no such quota.
  std::string state{};
  std::int64_t value = 0;  ///< By what was told.
};
[[nodiscard]] Result<Told> read_told(const RedisReply& reply);

/// Of "look", at the caller's `now`; nullopt: there is no such quota. `max_hold` as of its rules.
[[nodiscard]] Result<std::optional<KeySnapshot>> read_looked(const RedisReply& reply, Instant now,
                                                             Duration max_hold);

}  // namespace moderato::redis_answers

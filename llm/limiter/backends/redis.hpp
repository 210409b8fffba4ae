#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <moderato/core/result.hpp>
#include <moderato/llm/limiter/limiter.hpp>

namespace moderato {

/// What becomes of calls while Redis cannot be reached.
enum class RedisOutage : std::uint8_t {
  /// Each process goes on with nine tenths of its share of the quota (by the number of processes
  /// that were there last), for at most five minutes; after that as fail_closed. What went
  /// meanwhile is charged when Redis is back.
  local_share,
  fail_closed,  ///< Calls are refused (ErrorCode::storage, retry_after 1 s).
  fail_open,    ///< Calls go as if there were no limit.
};

struct RedisOptions {
  /// "redis://[user[:password]@]host[:port][/database]" or "unix:///path[?db=n]".
  std::string url = "redis://127.0.0.1:6379";
  /// Names the quota: processes that use the same name on the same Redis share it. It becomes the
  /// hash tag of all its keys, so that they lie on one node of a cluster.
  std::string name = "quota";
  RedisOutage outage = RedisOutage::local_share;
  /// A call to Redis that takes longer has failed; after two in a row it counts as unreachable, and
  /// is tried again once a second.
  Duration timeout = std::chrono::milliseconds(250);
  /// Calls in flight of a process that is not heard of for so long are taken for lost. It is heard
  /// of with each call, and every third of this time.
  Duration lease = std::chrono::seconds(30);
};

/// A quota that the processes of many hosts share through Redis (5 or newer; one script call for
/// each acquire and one for each settle; the time is the server's):
///
///   .limiter = redis({.url = "redis://10.0.0.5", .name = "openai"}, {.requests_per_minute = 600})
///
/// Calls of all processes go in one order, fair between tenants. A call waits for Redis only when
/// it asks for a permit. If processes state different quotas, the lower of each limit counts until
/// nobody has used the quota for two days. After a failover, or when Redis has been restarted
/// empty, levels begin with at most a second of quota. Limits that nobody stated are not learnt
/// from headers: state at least one.
///
/// Throws std::invalid_argument for a quota or a URL that makes no sense. That Redis cannot be
/// reached is no error here: see RedisOutage; `describe()` and `snapshot()` say so.
[[nodiscard]] Limiter redis(RedisOptions redis, QuotaOptions options);

/// The backend alone.
[[nodiscard]] std::shared_ptr<LimiterBackend> redis_backend(const RedisOptions& redis,
                                                            const QuotaOptions& options);

/// Levels, state and waiting calls of a quota that is in use, for looking; takes no part in it, and
/// waits for the answer. Errors: not_found, storage, configuration.
[[nodiscard]] Result<KeySnapshot> snapshot_of_redis(const RedisOptions& redis);

}  // namespace moderato

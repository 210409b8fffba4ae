#include <stdexcept>

#include <moderato/llm/limiter/backends/redis.hpp>

// Built with MODERATO_REDIS=OFF: what is said instead.

namespace moderato {
namespace {

constexpr const char* missing =
    "redis: this library was built without Redis; configure it with -DMODERATO_REDIS=ON";

}  // namespace

Limiter redis(RedisOptions /*redis*/, QuotaOptions /*options*/) {
  throw std::invalid_argument(missing);
}

std::shared_ptr<LimiterBackend> redis_backend(const RedisOptions& /*redis*/,
                                              const QuotaOptions& /*options*/) {
  throw std::invalid_argument(missing);
}

Result<KeySnapshot> snapshot_of_redis(const RedisOptions& /*redis*/) {
  return fail(ErrorCode::configuration, missing);
}

}  // namespace moderato

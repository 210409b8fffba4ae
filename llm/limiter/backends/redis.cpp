#include <moderato/llm/limiter/backends/redis.hpp>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>
#include <utility>

namespace moderato {

std::shared_ptr<LimiterBackend> redis_backend(const RedisOptions& redis,
                                              const QuotaOptions& options) {
  return std::make_shared<RedisBackend>(
      RedisBackend::Options{.redis = redis, .rules = rules_of(options)});
}

Limiter redis(RedisOptions redis, QuotaOptions options) {
  auto backend = redis_backend(redis, options);
  std::string name = options.name.empty() ? std::move(redis.name) : std::move(options.name);
  return limiter_over(std::move(backend), std::move(options.queue), std::move(name));
}

Result<KeySnapshot> snapshot_of_redis(const RedisOptions& redis) {
  return RedisBackend({.redis = redis}).look(Instant{});
}

}  // namespace moderato

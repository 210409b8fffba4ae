#include <stdexcept>
#include <utility>

#include <moderato/llm/limiter/backends/in_process.hpp>
#include <moderato/llm/limiter/backends/unlimited.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/limiter_state.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>

namespace moderato {
namespace {

std::string or_else(std::string name, const char* otherwise) {
  return name.empty() ? otherwise : std::move(name);
}

}  // namespace

Limiter::Limiter() : Limiter(adaptive()) {}

Limiter quota(QuotaOptions options) {
  return limiter_over(std::make_shared<InProcessBackend>(rules_of(options)),
                      std::move(options.queue), or_else(std::move(options.name), "quota"));
}

std::vector<Limiter> shared_quota(QuotaOptions options, std::size_t count) {
  const auto key = std::make_shared<InProcessBackend>(rules_of(options));
  const std::string name = or_else(std::move(options.name), "quota");
  std::vector<Limiter> limiters;
  for (std::size_t i = 0; i < count; ++i) {
    limiters.push_back(limiter_over(key->member(), options.queue, name));
  }
  return limiters;
}

Limiter adaptive(AdaptiveOptions options) {
  return limiter_over(std::make_shared<InProcessBackend>(rules_of(options)),
                      std::move(options.queue), or_else(std::move(options.name), "adaptive"));
}

Limiter unlimited() {
  return limiter_over(std::make_shared<UnlimitedBackend>(), {.max_queue = 0}, "unlimited");
}

Limiter limiter_over(std::shared_ptr<LimiterBackend> backend, QueueOptions queue,
                     std::string name) {
  if (backend == nullptr) throw std::invalid_argument("limiter_over: no backend");
  check(queue);
  return Limiter(std::make_shared<LimiterState>(LimiterState::Options{
      .backend = std::move(backend), .queue = std::move(queue), .name = std::move(name)}));
}

}  // namespace moderato

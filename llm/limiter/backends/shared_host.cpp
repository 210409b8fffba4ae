#include <moderato/llm/limiter/backends/shared_host.hpp>
#include <moderato/llm/limiter/backends/shared_host_backend.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>
#include <stdexcept>
#include <utility>

namespace moderato {
namespace {

using Backend = std::shared_ptr<LimiterBackend>;

Result<Backend> join(const std::shared_ptr<SharedHost>& host, const QuotaRules& rules) {
  auto joined = host->join(rules);
  if (!joined) return fail(std::move(joined.error()));
  return std::make_shared<SharedHostBackend>(host, *std::move(joined));
}

template <class T>
T or_throw(Result<T> result) {
  if (!result) throw std::runtime_error("shared_host: " + result.error().message);
  return *std::move(result);
}

}  // namespace

std::vector<Limiter> shared_host(const std::string& path, QuotaOptions options, std::size_t count) {
  const QuotaRules rules = rules_of(options);
  const auto host = or_throw(SharedHost::open(path, rules));
  const std::string name = options.name.empty() ? "shared_host" : std::move(options.name);
  std::vector<Limiter> limiters;
  for (std::size_t i = 0; i < count; ++i) {
    limiters.push_back(limiter_over(or_throw(join(host, rules)), options.queue, name));
  }
  return limiters;
}

Limiter shared_host(const std::string& path, QuotaOptions options) {
  return shared_host(path, std::move(options), 1).front();
}

Result<std::shared_ptr<LimiterBackend>> open_shared_host(const std::string& path,
                                                         const QuotaOptions& options) {
  const QuotaRules rules = rules_of(options);
  const auto host = SharedHost::open(path, rules);
  if (!host) return fail(host.error());
  return join(*host, rules);
}

Result<SharedHostSnapshot> snapshot_of_shared_host(const std::string& path, Instant now) {
  const auto host = SharedHost::open_existing(path);
  if (!host) return fail(host.error());
  SharedHostSnapshot snapshot;
  SharedHostState& state = (*host)->state();
  const SharedHostState::Lock lock(state);
  if (!lock) return fail(ErrorCode::storage, path + ": is locked by a process that does not go on");
  if (!state.valid()) return fail(ErrorCode::configuration, path + ": is damaged (its numbers)");
  snapshot.key = state.numbers().key.snapshot(now);
  snapshot.key.waiting = state.order().waiting(now);
  snapshot.key.owners = (*host)->alive();
  snapshot.quota = state.numbers().key.describe();
  return snapshot;
}

}  // namespace moderato

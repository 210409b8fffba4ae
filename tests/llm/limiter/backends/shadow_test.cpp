#include <doctest/doctest.h>

#include <moderato/llm/limiter/backends/shadow.hpp>
#include <variant>

namespace moderato {
namespace {

using namespace std::chrono_literals;

bool goes_at_once(LimiterBackend& backend, const Ask& ask = {}) {
  const auto answer = backend.try_acquire(Instant{1h}, ask, {}, nullptr);
  const auto* granted = std::get_if<Granted>(&answer);
  return granted != nullptr && granted->start <= Instant{1h};
}

TEST_CASE("a shadow lets every call go at once and counts those that would have waited") {
  QuotaOptions quota;
  quota.max_in_flight = 2;
  ShadowBackend shadow(quota);
  for (int i = 0; i < 5; ++i) CHECK(goes_at_once(shadow));
  CHECK(shadow.report().calls == 5);
  CHECK(shadow.report().would_wait == 3);
  CHECK(shadow.snapshot(Instant{1h}).in_flight == 2);
  // The fifth was never charged, so its end gives nothing back; the first's does.
  const Outcome done{.kind = Outcome::Kind::succeeded};
  shadow.settle(Instant{1h}, Granted{.id = 5}, {}, done);
  CHECK(shadow.snapshot(Instant{1h}).in_flight == 2);
  shadow.settle(Instant{1h}, Granted{.id = 1}, {}, done);
  CHECK(shadow.snapshot(Instant{1h}).in_flight == 1);
}

TEST_CASE("a shadow lets a call go that would never fit, and counts it as refused") {
  QuotaOptions quota;
  quota.tokens_per_minute = 100;
  ShadowBackend shadow(quota);
  CHECK(goes_at_once(shadow, {.input_tokens = 1'000'000}));
  CHECK(shadow.report().would_refuse == 1);
  CHECK(shadow.report().would_wait == 0);
}

}  // namespace
}  // namespace moderato

// Several limiters that share one key, as the processes of a host do.

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/backends/in_process.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/quota_rules.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Kind = Outcome::Kind;

double seconds_of(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

double jain(const std::vector<double>& shares) {
  double sum = 0;
  double squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return sum * sum / (static_cast<double>(shares.size()) * squares);
}

/// Counts the questions to a key.
class Counting final : public LimiterBackend {
 public:
  explicit Counting(std::shared_ptr<LimiterBackend> inner, int& questions)
      : inner_(std::move(inner)), questions_(questions) {}
  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override {
    ++questions_;
    return inner_->try_acquire(now, ask, ticket, next);
  }
  void withdraw(Instant now, std::uint64_t id) override {
    ++questions_;
    inner_->withdraw(now, id);
  }
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override {
    ++questions_;
    return inner_->settle(now, grant, ask, outcome);
  }
  bool take_retry(Instant now) override { return inner_->take_retry(now); }
  [[nodiscard]] bool shared() const noexcept override { return inner_->shared(); }
  [[nodiscard]] std::shared_ptr<void> on_room(std::function<void()> f) override {
    return inner_->on_room(std::move(f));
  }
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const override {
    return inner_->expected_wait(now, ask, ahead);
  }
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override { return inner_->snapshot(now); }
  [[nodiscard]] std::string describe() const override { return inner_->describe(); }

 private:
  std::shared_ptr<LimiterBackend> inner_;
  int& questions_;
};

/// What 64 chats got of a key in ten minutes.
struct Saturated {
  std::map<std::string, double> tenants;  // tokens
  std::vector<double> chats = std::vector<double>(64);
  double tokens = 0;
  int calls = 0;
  int questions = 0;  // to the key
  KeySnapshot left;
};

constexpr Duration saturated_for = 10min;

/// Eight limiters, half of the chats in the first of them; tenants t0..t3 take turns over the
/// chats.
Saturated saturate(const QueueOptions& queue) {
  Simulation world({.seed = 5});
  const QuotaOptions options{.requests_per_minute = 600, .tokens_per_minute = 200'000};
  const auto key = std::make_shared<InProcessBackend>(rules_of(options));
  Saturated got;
  std::vector<Limiter> limiters;
  for (int i = 0; i < 8; ++i) {
    limiters.push_back(
        limiter_over(std::make_shared<Counting>(key->member(), got.questions), queue, "key"));
  }
  const Instant begin = world.clock().now();
  for (std::size_t chat = 0; chat < got.chats.size(); ++chat) {
    world.spawn([&, chat] {
      std::mt19937 random(static_cast<unsigned>(chat));
      std::lognormal_distribution<double> cost(std::log(2000.0) - 0.32, 0.8);
      Limiter& limiter = limiters[chat < 32 ? 0 : 1 + chat % 7];
      const std::string tenant = fmt::format("t{}", chat % 4);
      const CallContext context{.session = fmt::format("chat {}", chat), .tenant = tenant};
      while (world.clock().now() - begin < saturated_for) {
        const auto size = static_cast<std::int64_t>(std::clamp(cost(random), 200.0, 20'000.0));
        auto permit = limiter.acquire({.input_tokens = size}, context, world.clock());
        REQUIRE(permit.has_value());
        if (world.clock().now() - begin < saturated_for) {
          ++got.calls;
          got.tokens += static_cast<double>(size);
          got.tenants[tenant] += static_cast<double>(size);
          got.chats[chat] += static_cast<double>(size);
        }
        sleep_for(6s);
        permit->settle({.kind = Kind::succeeded, .input_tokens = size});
        sleep_for(1s);
      }
    });
  }
  world.run();
  got.left = key->snapshot(world.clock().now());
  return got;
}

TEST_CASE("a saturated key is used up by eight limiters, fairly between tenants") {
  const Saturated got = saturate({});
  const double quota_tokens = 200'000.0 * (seconds_of(saturated_for) + 3) / 60;
  CHECK(got.tokens / quota_tokens >= 0.98);
  CHECK(got.tokens / quota_tokens <= 0.995);
  std::vector<double> by_tenant;
  for (const auto& [name, sum] : got.tenants) by_tenant.push_back(sum);
  CHECK(jain(by_tenant) >= 0.99);
  CHECK(jain(got.chats) >= 0.85);  // 15 calls of very different size each: chance alone gives 0.94
  CHECK(got.questions <= 3.5 * got.calls);
  CHECK(got.left.in_flight == 0);
  CHECK(got.left.waiting == 0);
}

TEST_CASE("tenants share a key by their weights, wherever their calls wait") {
  const Saturated got = saturate({.tenant_weights = {{"t0", 1}, {"t1", 2}, {"t2", 3}, {"t3", 4}}});
  for (int tenant = 0; tenant < 4; ++tenant) {
    const double share = got.tenants.at(fmt::format("t{}", tenant)) / got.tokens;
    CAPTURE(tenant);
    CHECK(share == doctest::Approx(0.1 * (tenant + 1)).epsilon(0.04));
  }
}

TEST_CASE("slots that one limiter frees are taken by another at once") {
  Simulation world;
  auto limiters = shared_quota({.max_in_flight = 1}, 2);
  std::vector<std::string> log;
  for (std::size_t i = 0; i < 2; ++i) {
    world.spawn([&, i] {
      sleep_for(1ms * i);
      auto permit = limiters[i].acquire({}, {}, world.clock());
      log.push_back(fmt::format("{} at {}", i, seconds_of(world.clock().now() - Instant{})));
      sleep_for(400ms);
      permit->settle({.kind = Kind::succeeded});
    });
  }
  world.run();
  CHECK(log == std::vector<std::string>{"0 at 0", "1 at 0.4"});
}

TEST_CASE("a refusal met by one limiter holds all that share the key") {
  Simulation world;
  auto limiters = shared_quota({.max_in_flight = 8}, 2);
  world.block_on([&] {
    auto permit = limiters[0].acquire({}, {}, world.clock());
    permit->settle({.kind = Kind::rejected,
                    .error = ErrorCode::rate_limited,
                    .http_status = 429,
                    .signal = {.retry_after = 5s}});
    auto other = limiters[1].acquire({}, {}, world.clock());
    CHECK(other->waited() == 5s);
  });
}

TEST_CASE("when a probe opens the key, those who wait at other limiters go, and not at its lease") {
  Simulation world;
  auto limiters = shared_quota({.requests_per_minute = 600}, 3);
  Instant last{};
  // The refusal is answered at once, so nobody knows how fast this provider refuses.
  auto first = limiters[0].acquire({}, {}, world.clock());
  REQUIRE(first);
  first->settle({.kind = Kind::failed, .error = ErrorCode::overloaded, .http_status = 503});
  for (Limiter& limiter : limiters) {
    for (int i = 0; i < 5; ++i) {
      world.spawn([&] {
        auto permit = limiter.acquire({}, {}, world.clock());
        REQUIRE(permit);
        sleep_for(1s);
        permit->settle({.kind = Kind::succeeded});
        last = world.clock().now();
      });
    }
  }
  const Instant begin = world.clock().now();
  world.run();
  CHECK(last - begin < 8s);  // the lease of a probe is 30 s
}

TEST_CASE("a waiting call that is cancelled leaves no ticket") {
  Simulation world;
  const auto key = std::make_shared<InProcessBackend>(rules_of(QuotaOptions{.max_in_flight = 1}));
  Limiter limiter = limiter_over(key->member(), {}, "key");
  world.block_on([&] {
    auto held = limiter.acquire({}, {}, world.clock());
    auto waiting = world.spawn([&] { return limiter.acquire({}, {}, world.clock()); });
    sleep_for(100ms);
    CHECK(key->snapshot(world.clock().now()).waiting == 1);
    waiting.cancel();
    CHECK(waiting.join().error().code == ErrorCode::cancelled);
    CHECK(key->snapshot(world.clock().now()).waiting == 0);
  });
}

TEST_CASE("a hierarchy holds nothing while it waits, and needs room in both") {
  Simulation world;
  Limiter tenant = quota({.max_in_flight = 1});
  Limiter key = quota({.requests_per_minute = 60, .request_burst = 0s, .safety = 1.0});
  Limiter both = tenant & key;
  std::vector<double> times;
  for (int i = 0; i < 3; ++i) {
    world.spawn([&] {
      auto permit = both.acquire({}, {}, world.clock());
      REQUIRE(permit.has_value());
      times.push_back(seconds_of(world.clock().now() - Instant{}));
      sleep_for(100ms);
      permit->settle({.kind = Kind::succeeded});
    });
  }
  world.spawn([&] {
    sleep_for(500ms);  // all others wait for the key's rate: the tenant's slot is free
    CHECK(tenant.snapshot(world.clock().now()).key.in_flight == 0);
  });
  world.run();
  CHECK(times == std::vector<double>{0, 1, 2});
  CHECK(tenant.snapshot(world.clock().now()).key.in_flight == 0);
  CHECK(key.snapshot(world.clock().now()).key.in_flight == 0);
}

TEST_CASE("each tenant gets a limiter of its own, and only so many are kept") {
  Simulation world;
  int made = 0;
  Limiter limiter = per_tenant(
      [&](const std::string&) {
        ++made;
        return quota({.max_in_flight = 1});
      },
      2);
  world.block_on([&] {
    auto a = limiter.acquire({}, {.tenant = "a"}, world.clock());
    auto b = limiter.acquire({}, {.tenant = "b"}, world.clock());
    CHECK(b->waited() == 0s);
    auto c = limiter.acquire({}, {.tenant = "c"}, world.clock());
    CHECK(made == 3);
    a->settle({.kind = Kind::succeeded});  // its limiter is forgotten and ends with it
  });
}

}  // namespace
}  // namespace moderato

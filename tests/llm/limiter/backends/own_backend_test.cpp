// A backend of one's own, as docs/backends.md shows it, and that a limiter over it behaves.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <vector>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/limiter/limiter.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>

using namespace moderato;
using namespace std::chrono_literals;

// [backend]
/// One call every `gap`, whatever its size.
class PacedBackend final : public LimiterBackend {
 public:
  explicit PacedBackend(Duration gap) : gap_(gap) {}

  Admission try_acquire(Instant now, const Ask&, const Ticket&, const NextInLine*) override {
    const std::scoped_lock lock(mutex_);
    if (now < next_) return MustWait{.until = next_, .reason = "pace"};
    next_ = now + gap_;
    return Granted{.id = ++granted_, .at = now};
  }
  void withdraw(Instant, std::uint64_t) override {}  // nobody is remembered

  std::optional<KeyChange> settle(Instant now, const Granted&, const Ask&,
                                  const Outcome& outcome) override {
    if (outcome.kind != Outcome::Kind::rejected) return std::nullopt;
    const std::scoped_lock lock(mutex_);
    ++rejections_;
    next_ = std::max(next_, now + outcome.signal.retry_after.value_or(10 * gap_));
    return KeyChange{.state = "paused", .lasting = next_ - now, .why = outcome.why};
  }
  bool take_retry(Instant) override { return true; }

  WaitEstimate expected_wait(Instant now, const Ask&, const QueuedAhead& ahead) const override {
    const std::scoped_lock lock(mutex_);
    const Duration first = std::max(next_ - now, Duration::zero());
    const Duration wait = first + static_cast<int>(ahead.calls) * gap_;
    return {.at_least = wait, .expected = wait, .reason = "pace", .size = gap_};
  }
  KeySnapshot snapshot(Instant now) const override {
    const std::scoped_lock lock(mutex_);
    return {.state = "open",
            .requests_left = now < next_ ? 0.0 : 1.0,
            .granted = granted_,
            .rejections = rejections_};
  }
  std::string describe() const override {
    return fmt::format("paced, one call every {} ms",
                       std::chrono::duration_cast<std::chrono::milliseconds>(gap_).count());
  }

 private:
  const Duration gap_;
  mutable std::mutex mutex_;
  Instant next_{};
  std::uint64_t granted_ = 0;
  std::uint64_t rejections_ = 0;
};

Limiter paced(Duration gap) {
  return limiter_over(std::make_shared<PacedBackend>(gap), {}, "paced");
}
// [/backend]

TEST_CASE("a limiter over a backend of one's own keeps its pace, in order, for every history") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Simulation world({.seed = seed});
    Limiter limiter = paced(100ms);
    std::vector<Instant> left;
    for (int call = 0; call < 40; ++call) {
      const Duration asked = std::chrono::milliseconds(random() % 3000);
      const bool gives_up = random() % 5 == 0;
      world.spawn([&, asked, gives_up] {
        sleep_for(asked);
        CallContext context;
        if (gives_up) context.deadline = world.clock().now() + 300ms;
        auto permit = limiter.acquire({}, context, world.clock());
        if (!permit) {
          CHECK(gives_up);
          CHECK(permit.error().code == ErrorCode::deadline_exceeded);
          return;
        }
        left.push_back(world.clock().now());
        sleep_for(50ms);
        permit->settle({.kind = Outcome::Kind::succeeded});
      });
    }
    world.run();
    CHECK(left.size() >= 32);
    for (std::size_t i = 1; i < left.size(); ++i) CHECK(left[i] - left[i - 1] >= 100ms);
    CHECK(limiter.snapshot(world.clock().now()).queued == 0);
  }
}

TEST_CASE("a backend of one's own that is told of a 429 holds everybody") {
  Simulation world;
  Limiter limiter = paced(100ms);
  const auto task = world.spawn([&] {
    auto first = limiter.acquire({}, {}, world.clock());
    REQUIRE(first);
    const Instant refused = world.clock().now();
    first->settle({.kind = Outcome::Kind::rejected, .signal = {.retry_after = 5s}});
    REQUIRE(limiter.acquire({}, {}, world.clock()));
    CHECK(world.clock().now() - refused == 5s);
  });
  world.run();
}

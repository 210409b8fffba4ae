#pragma once

// Private header of the library: not installed.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/limiter/foreign_meter.hpp>
#include <moderato/llm/limiter/gcra.hpp>
#include <moderato/llm/limiter/short_text.hpp>

namespace moderato {

/// "requests", "tokens", "input tokens", "output tokens", "money"; a literal.
[[nodiscard]] const char* to_string(QuotaUnit unit) noexcept;
/// The unit that a provider's name for a dimension means ("tokens_usage_based" is tokens); nullopt
/// for what a text model does not use ("images").
[[nodiscard]] std::optional<QuotaUnit> unit_of(std::string_view dimension) noexcept;
/// How much of it a call takes.
[[nodiscard]] constexpr std::int64_t amount(const Ask& ask, QuotaUnit unit) noexcept {
  switch (unit) {
    case QuotaUnit::requests:
      return ask.requests;
    case QuotaUnit::input_tokens:
      return ask.input_tokens;
    case QuotaUnit::output_tokens:
      return ask.output_tokens;
    case QuotaUnit::micros:
      return ask.micros;
    default:
      return ask.tokens();
  }
}

/// The period of a limit as a header shows it (a minute, an hour or a day); nullopt if the header
/// does not say. By the law of continuous buckets, reset = (limit − remaining) · period / limit; a
/// reset of up to a minute is always taken for a minute, because providers that count in fixed
/// minutes give such resets too, and for them the law means nothing.
[[nodiscard]] std::optional<Duration> period_of(const QuotaHeader& header) noexcept;

/// How much may go at once, as time of quota.
struct Bursts {
  Duration requests = std::chrono::seconds(1);
  Duration tokens = std::chrono::seconds(3);
  [[nodiscard]] Duration of(QuotaUnit unit) const noexcept {
    return unit == QuotaUnit::requests ? requests : tokens;
  }
};

/// One limit of a key: ours, which paces what is sent, and our picture of the provider's bucket,
/// which holds a whole period's quota and which what the provider says corrects. A call needs room
/// in both. A value without pointers. Pure; not thread safe.
class QuotaDimension {
 public:
  struct Rule {
    ShortText<32> name{};  ///< As the provider spells it.
    QuotaUnit unit = QuotaUnit::requests;
    std::int64_t limit = 1;
    Duration period = std::chrono::minutes(1);
    Duration burst{};
    double safety = 1.0;  ///< Share of the limit at which we send.
    bool learnt =
        false;  ///< From the provider: its limit may be raised; a stated one is a ceiling.
  };
  QuotaDimension() : QuotaDimension(Rule{}) {}
  explicit QuotaDimension(const Rule& rule);

  [[nodiscard]] bool never_fits(const Ask& ask) const noexcept {
    return amount(ask, rule_.unit) > limit_;
  }
  /// The cost of a call as time of quota; the same in both buckets.
  [[nodiscard]] Duration cost(const Ask& ask) const noexcept {
    return ours_.cost(amount(ask, rule_.unit));
  }
  /// As Gcra::wait and Gcra::idle. `share`: thousandths of our own rate that may be used.
  [[nodiscard]] Duration wait(Instant now, Duration cost, Duration ahead = {},
                              int share = 1000) const noexcept {
    return std::max(ours_.wait(now, slowed(cost, share), slowed(ahead, share)),
                    theirs_.wait(now, cost, ahead));
  }
  [[nodiscard]] Duration idle(Instant at, Duration ahead) const noexcept {
    return ours_.idle(at, ahead);
  }
  /// `ahead`: as Gcra::take.
  void take(Instant at, Duration cost, int share = 1000, Duration ahead = {}) noexcept {
    ours_.take(at, slowed(cost, share), ahead);
    theirs_.take(at, cost, ahead);
  }
  /// Charges `actual` instead of what was taken at `taken_at`. `theirs_too`: the provider does so,
  /// too; otherwise what is given back counts for our pace alone.
  void settle(Instant now, const Ask& taken, const Ask& actual, Instant taken_at,
              bool theirs_too = true) noexcept;
  /// Nothing may go at once: the next calls are paced from the start.
  void drain(Instant now) noexcept;

  /// The provider's limit is this now: lower at once, raised at most to a stated one.
  void adopt_limit(std::int64_t limit) noexcept;
  /// Its stated limit is at most this.
  void tighten(std::int64_t limit) noexcept {
    rule_.limit = std::min(rule_.limit, limit);
    adopt_limit(std::min(limit_, limit));
  }
  /// A header about this dimension: adopts the limit, notices a misjudged period, and counts proof
  /// that the provider's bucket really holds a full minute, which makes a learnt limit's burst 50
  /// s.
  void adopt(const QuotaHeader& header) noexcept;
  /// The provider has this much left, as far as a response shows. Less than we thought: the level
  /// is lowered at once. More, by over a fiftieth of the limit, in three responses over five
  /// seconds: a quarter of the difference is given back.
  void correct(Instant now, std::int64_t units) noexcept;
  /// The provider has no more than this left. Only ever lowers.
  void lower_to(Instant now, std::int64_t units) noexcept;
  /// A response to a request granted at `at`, when `charged` units of this dimension had been
  /// charged in all, said that `remaining` were left: what others take slows our rate.
  void observe_others(Instant at, std::int64_t remaining, std::int64_t charged) noexcept;
  /// Units a second that others seem to take; 0: not noticeable.
  [[nodiscard]] double foreign_rate() const noexcept { return others_.rate(); }

  /// Units that could go at once; negative: debt.
  [[nodiscard]] std::int64_t level(Instant now) const noexcept;
  /// As the provider states it.
  [[nodiscard]] std::int64_t limit() const noexcept { return limit_; }
  [[nodiscard]] Duration period() const noexcept { return rule_.period; }
  /// The units that the provider refills in this time.
  [[nodiscard]] std::int64_t refilled(Duration time) const noexcept;
  [[nodiscard]] const Rule& rule() const noexcept { return rule_; }
  /// "90000 tokens/min"; what others take is said, too.
  [[nodiscard]] std::string describe() const;

 private:
  static Duration slowed(Duration cost, int share) noexcept {
    return share >= 1000 ? cost : cost * 1000 / share;
  }
  void set_rate(std::int64_t limit) noexcept;

  Rule rule_;
  std::int64_t limit_ = 1;
  std::int64_t left_to_others_ = 0;  // of limit_, in the rates below
  Gcra ours_;
  Gcra theirs_;
  ForeignMeter others_;
  int more_seen_ = 0;  // responses in a row that show more than we thought
  Instant more_since_{};
  int proofs_ = 0;  // headers in a row that fit a full-minute bucket
};

}  // namespace moderato

#pragma once

// Private header of the library: not installed.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <moderato/llm/limiter/ask.hpp>
#include <moderato/llm/limiter/gcra.hpp>

namespace moderato {

/// What a limit counts.
enum class QuotaUnit : std::uint8_t { requests, tokens, input_tokens, output_tokens };

/// "requests", "tokens", "input tokens", "output tokens"; a literal.
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
/// in both. Pure; not thread safe.
class QuotaDimension {
 public:
  struct Rule {
    std::string name{};  ///< As the provider spells it.
    QuotaUnit unit = QuotaUnit::requests;
    std::int64_t limit = 1;
    Duration period = std::chrono::minutes(1);
    Duration burst{};
    double safety = 1.0;  ///< Share of the limit at which we send.
    bool learnt =
        false;  ///< From the provider: its limit may be raised; a stated one is a ceiling.
  };
  explicit QuotaDimension(Rule rule);

  [[nodiscard]] bool never_fits(const Ask& ask) const noexcept {
    return theirs_.never_fits(amount(ask, rule_.unit));
  }
  /// The cost of a call as time of quota; the same in both buckets.
  [[nodiscard]] Duration cost(const Ask& ask) const noexcept {
    return ours_.cost(amount(ask, rule_.unit));
  }
  /// As Gcra::wait and Gcra::idle.
  [[nodiscard]] Duration wait(Instant now, Duration cost, Duration ahead = {}) const noexcept {
    return std::max(ours_.wait(now, cost, ahead), theirs_.wait(now, cost, ahead));
  }
  [[nodiscard]] Duration idle(Instant at, Duration ahead) const noexcept {
    return ours_.idle(at, ahead);
  }
  void take(Instant now, Duration cost) noexcept {
    ours_.take(now, cost);
    theirs_.take(now, cost);
  }
  /// Charges `actual` instead of what was taken at `taken_at`.
  void settle(Instant now, const Ask& taken, const Ask& actual, Instant taken_at) noexcept;

  /// The provider's limit is this now: lower at once, raised at most to a stated one.
  void adopt_limit(std::int64_t limit) noexcept;
  /// A header about this dimension: adopts the limit, notices a misjudged period, and counts proof
  /// that the provider's bucket really holds a full minute, which makes a learnt limit's burst 50
  /// s.
  void adopt(const QuotaHeader& header) noexcept;
  /// The provider has no more than this left. Only ever lowers.
  void lower_to(Instant now, std::int64_t units) noexcept;

  /// Units that could go at once; negative: debt.
  [[nodiscard]] std::int64_t level(Instant now) const noexcept;
  [[nodiscard]] std::int64_t limit() const noexcept { return theirs_.limit(); }
  [[nodiscard]] Duration period() const noexcept { return rule_.period; }
  /// The units that the provider refills in this time, at most the limit.
  [[nodiscard]] std::int64_t refilled(Duration time) const noexcept;
  [[nodiscard]] const Rule& rule() const noexcept { return rule_; }
  /// "90000 tokens/min".
  [[nodiscard]] std::string describe() const;

 private:
  void set_rate(std::int64_t limit) noexcept;

  Rule rule_;
  Gcra ours_;
  Gcra theirs_;
  int proofs_ = 0;  // headers in a row that fit a full-minute bucket
};

}  // namespace moderato

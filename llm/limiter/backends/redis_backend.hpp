#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <moderato/llm/limiter/backends/redis.hpp>
#include <moderato/llm/limiter/backends/redis_answers.hpp>
#include <moderato/llm/limiter/backends/redis_client.hpp>
#include <moderato/llm/limiter/limiter_backend.hpp>
#include <moderato/llm/limiter/quota_key.hpp>

namespace moderato {

/// A process' end of a quota in Redis: see redis_backend.cpp. Thread safe.
class RedisBackend final : public LimiterBackend {
 public:
  struct Options {
    RedisOptions redis{};
    QuotaRules rules{};
    /// The caller's time is the server's: for tests in virtual time.
    bool callers_time = false;
  };
  /// Throws std::invalid_argument for a URL that is none.
  explicit RedisBackend(Options options);
  ~RedisBackend() override;

  Admission try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                        const NextInLine* next) override;
  void withdraw(Instant now, std::uint64_t ticket_id) override;
  std::optional<KeyChange> settle(Instant now, const Granted& grant, const Ask& ask,
                                  const Outcome& outcome) override;
  [[nodiscard]] bool take_retry(Instant now) override;
  [[nodiscard]] bool shared() const noexcept override { return true; }
  [[nodiscard]] std::shared_ptr<void> on_room(std::function<void()> f) override;
  [[nodiscard]] WaitEstimate expected_wait(Instant now, const Ask& ask,
                                           const QueuedAhead& ahead) const override;
  /// As it was heard last; asks for the next time.
  [[nodiscard]] KeySnapshot snapshot(Instant now) const override;
  [[nodiscard]] std::string describe() const override;

  /// Waits for what Redis holds now.
  [[nodiscard]] Result<KeySnapshot> look(Instant now) const;
  /// Script calls so far.
  [[nodiscard]] std::uint64_t calls() const noexcept { return client_->sent(); }

 private:
  /// In the ids of grants that were made without Redis.
  static constexpr std::uint64_t local_grant = std::uint64_t{1} << 62;
  struct Grant {          // in flight
    std::int64_t at = 0;  // server's µs
    std::uint64_t epoch = 0;
  };
  struct Listener;

  [[nodiscard]] std::int64_t server_time(Instant now) const;
  [[nodiscard]] std::string given_time(Instant now) const;
  [[nodiscard]] Result<RedisReply> ask_and_wait(std::size_t script,
                                                std::vector<std::string> words) const;
  [[nodiscard]] std::vector<std::string> tell(Instant now, const char* what) const;
  [[nodiscard]] std::vector<std::string> acquire_words(Instant now, const Ask& ask,
                                                       const Ticket& ticket,
                                                       const NextInLine* next) const;
  Admission answer(Instant now, Duration took, const Ask& ask, redis_answers::Acquired reply);
  Admission failed(Instant now, const Ask& ask, const Ticket& ticket, const Error& error);
  Granted granted(Instant now, Duration took, const redis_answers::Granted& verdict,
                  Instant server_now);
  void adopt(std::int64_t version, const std::string& state);
  void begin_probe(Instant now);
  [[nodiscard]] std::string corrections(const Outcome& outcome, Duration age,
                                        bool state_believed) const;
  std::optional<KeyChange> move_state(Instant now, const Granted& grant, const Ask& ask,
                                      const Outcome& outcome, std::vector<std::string>& words);
  std::optional<KeyChange> send_settle(Instant now, const Granted& grant, const Ask& ask,
                                       const Outcome& outcome);
  void send_state(std::vector<std::string> words, std::function<void()> again);
  void move_again(Granted grant, Ask ask, const Outcome& outcome, int tries);
  void renew();
  // Without Redis; with mutex_ held.
  Admission without(Instant now, const Ask& ask, const Ticket& ticket);
  void connection_changed(const std::string& run, const std::string& why);
  std::optional<KeyChange> settle_local(Instant now, const Granted& grant, const Ask& ask,
                                        const Outcome& outcome);
  void pay_debt(Instant now);
  void charge_debt(Instant now);
  void charge(const Ask& ask);
  void room(const std::string& message);
  void tick();

  const Options options_;
  const SteadyClock steady_;
  const std::string owner_;
  const std::string channel_;  // of wake-ups; empty in virtual time, which no thread may disturb
  const std::string rules_json_;
  mutable std::mutex mutex_;
  QuotaKey mirror_;  // whose state machine is the key's, as far as it was heard
  std::int64_t state_version_ = 0;
  Duration offset_{};  // the server's clock minus the callers'
  std::unordered_map<std::uint64_t, Grant> in_flight_;
  std::vector<redis_answers::Level> levels_;  // as they were heard last
  std::int64_t slots_in_use_ = 0;
  std::string run_;
  std::string down_because_ = "not connected yet";
  bool joined_ = false;
  std::size_t others_ = 1;  // processes, this one included
  std::optional<QuotaKey> local_;
  Instant local_since_{};
  std::uint64_t local_ids_ = 0;
  Ask debt_{.requests = 0};  // what was spent without Redis and has not flowed off
  Instant debt_at_{};
  int ticks_to_renewal_ = 0;
  int asking_ = 0;  // acquires under way
  mutable KeySnapshot looked_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  std::unique_ptr<RedisClient> client_;  // last: its thread uses the rest
};

}  // namespace moderato

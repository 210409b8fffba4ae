#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/core/error.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/time.hpp>
#include <moderato/core/usage.hpp>

namespace moderato {

/// What a model call is for.
enum class Purpose : std::uint8_t {
  reply,
  speaker_selection,
  summary,
  final_answer,
  other,
  planning,  ///< A planner's facts, plan and ledger; its closing call is a final_answer.
};

[[nodiscard]] std::string_view to_string(Purpose purpose) noexcept;
[[nodiscard]] std::optional<Purpose> purpose_from_string(std::string_view name) noexcept;

/// One attempt at a model call: one line of the ledger. Written for every attempt that took a
/// permit, and for every call that was refused before (attempt 0: no request was sent).
struct CallRecord {
  std::string session{};  ///< Session id; empty for a call outside a session.
  std::string tenant{};
  std::string agent{};
  Purpose purpose = Purpose::other;
  std::string provider{};  ///< "openai", "scripted", …
  std::string model{};
  std::uint64_t call = 0;            ///< Number of the logical call within its Model, from 1.
  int attempt = 0;                   ///< 1 is the first that was sent; 0: nothing was sent.
  bool cached = false;               ///< Answered from a cache: nothing was sent or charged.
  std::int64_t estimated_input = 0;  ///< Tokens reserved for the prompt.
  std::int64_t reserved_output = 0;  ///< Output cap that was reserved.
  Usage usage{};                     ///< What was charged for this attempt.
  double cost = 0.0;                 ///< By the Model's Price; 0 without one.
  Duration queue_wait{};             ///< From the ask to the permit.
  Duration latency{};                ///< From the permit to the last byte.
  std::optional<Duration> time_to_first_token{};
  std::optional<ErrorCode> error{};  ///< nullopt: the attempt succeeded.
  int http_status = 0;
  std::string provider_code{};
  std::string request_id{};
  std::string finish_reason{};
  WallTime sent_at{};
  // For whoever asks later why it went as it did; empty, 0 or nullopt where nobody said.
  std::string key{};                      ///< Names the quota that was drawn on; no secret.
  std::string wait_reason{};              ///< What there was no room in: "tokens", "in_flight", …
  std::string request{};                  ///< Digest of prompt and settings.
  std::string reply{};                    ///< Digest of the reply's text and tool calls.
  std::optional<Duration> retry_after{};  ///< The provider's wish.
  std::optional<std::int64_t> limit_requests{};      ///< What the answer's headers said.
  std::optional<std::int64_t> remaining_requests{};  ///< Left, this request counted.
  std::optional<std::int64_t> limit_tokens{};
  std::optional<std::int64_t> remaining_tokens{};

  [[nodiscard]] bool ok() const noexcept { return !error; }
};

[[nodiscard]] Json to_json(const CallRecord& record);
/// Reads what to_json writes; members that are not there keep their defaults. Error: storage.
[[nodiscard]] Result<CallRecord> call_record_from_json(const Json& json);

/// Where the records of all attempts go. Implementations are thread safe and do not block for long.
class Ledger {
 public:
  virtual ~Ledger() = default;
  virtual void append(const CallRecord& record) = 0;
};

/// Keeps everything in memory: for tests, examples and short runs.
class MemoryLedger final : public Ledger {
 public:
  void append(const CallRecord& record) override;
  [[nodiscard]] std::vector<CallRecord> records() const;
  [[nodiscard]] std::size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::vector<CallRecord> records_;
};

}  // namespace moderato

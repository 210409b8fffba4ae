#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <moderato/core/result.hpp>
#include <moderato/core/secret.hpp>

struct redisReply;  // hiredis

namespace moderato {

/// Where a Redis is: "redis://[user[:password]@]host[:port][/database]" or
/// "unix:///path[?db=n]".
struct RedisAddress {
  std::string host{};  ///< Empty: `socket`.
  int port = 6379;
  std::string socket{};
  std::string user{};
  Secret password{};
  int database = 0;

  /// Error: configuration. The text holds no password.
  [[nodiscard]] static Result<RedisAddress> parse(const std::string& url);
  /// Without the password.
  [[nodiscard]] std::string describe() const;
};

/// What Redis answered.
struct RedisReply {
  enum class Kind : std::uint8_t { nil, integer, text, error, array };
  Kind kind = Kind::nil;
  std::int64_t integer = 0;
  std::string text{};  ///< Of text and error.
  std::vector<RedisReply> elements{};

  [[nodiscard]] bool is_error() const noexcept { return kind == Kind::error; }
};
/// hiredis' reply as ours.
[[nodiscard]] RedisReply reply_of(const redisReply& reply);

/// One connection, never waiting: commands are written when the socket takes them, and replies come
/// in the order of the commands. The only place that knows hiredis. One thread at a time.
class RedisConnection {
 public:
  /// Begins to connect.
  explicit RedisConnection(const RedisAddress& address);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  [[nodiscard]] int descriptor() const noexcept;
  [[nodiscard]] bool wants_write() const noexcept { return writing_; }
  /// Queues a command.
  void append(const std::vector<std::string>& command);
  /// The socket is ready. False: the connection has failed, see error().
  [[nodiscard]] bool write();
  [[nodiscard]] bool read();
  /// The next whole reply, if one is here.
  [[nodiscard]] std::optional<RedisReply> next();
  [[nodiscard]] bool failed() const noexcept;
  [[nodiscard]] std::string error() const;

 private:
  struct Context;
  std::unique_ptr<Context> context_;
  bool writing_ = true;
  int greetings_ = 0;      // replies to AUTH and SELECT that have not come
  std::string refused_{};  // what Redis said to those
};

}  // namespace moderato

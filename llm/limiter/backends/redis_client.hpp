#pragma once

// Private header of the library: not installed.

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <moderato/core/clock.hpp>
#include <moderato/core/result.hpp>
#include <moderato/llm/limiter/backends/redis_connection.hpp>

namespace moderato {

/// A connection to a Redis kept up by a thread of its own: scripts are sent as they come, one after
/// the other without waiting for answers, and those are given to callbacks on that thread. It
/// connects again by itself, once a second. Thread safe.
class RedisClient {
 public:
  struct Options {
    RedisAddress address{};
    std::vector<std::string> keys{};     ///< KEYS of every script.
    std::vector<std::string> scripts{};  ///< Their texts; they are called by index.
    std::string channel{};               ///< Messages of this channel are heard; may be empty.
    /// An answer that takes longer has failed; after two in a row the connection is given up.
    Duration timeout = std::chrono::milliseconds(250);
    /// On the thread: the connection is there (the server's run id), or lost (empty, and why).
    std::function<void(const std::string& run, const std::string& why)> changed{};
    std::function<void(const std::string& message)> heard{};
    /// On the thread, about once a second.
    std::function<void()> tick{};
  };
  using Done = std::function<void(const Result<RedisReply>&)>;

  explicit RedisClient(Options options);
  /// What has been sent is still given the timeout to be answered.
  ~RedisClient();
  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  /// Begins; callbacks may come from now on.
  void start();
  /// Runs a script. `done` (may be null) is called once, on the thread. Error replies of Redis come
  /// as storage errors. False: there is no connection, and nothing was done.
  bool run(std::size_t script, std::vector<std::string> arguments, Done done);
  [[nodiscard]] bool connected() const noexcept { return connected_; }
  /// The first attempt to connect is over, one way or the other.
  [[nodiscard]] bool tried() const noexcept { return tried_; }
  /// Waits until then, on an ordinary thread.
  void wait_until_tried() const { tried_.wait(false); }
  [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }

 private:
  struct Request {
    std::size_t script = 0;
    std::vector<std::string> arguments{};
    Done done{};
    Instant deadline{};
    enum class Kind : std::uint8_t { script, text, info, load } kind = Kind::script;
  };

  void work();
  void connect();
  void lose(const std::string& why);
  void take_new();
  void send(Request request);
  void wait_for_events();
  bool receive();
  void answer(Request& request, RedisReply reply);
  void hear();
  void expire();
  void wake() const noexcept;

  const Options options_;
  const SteadyClock clock_;
  int wake_ = -1;
  std::unique_ptr<RedisConnection> connection_;
  std::unique_ptr<RedisConnection> subscription_;
  std::deque<Request> pending_;  // in the order of their commands
  std::vector<std::string> shas_;
  Instant connect_at_{};
  Instant tick_at_{};
  int timeouts_ = 0;
  std::atomic<bool> connected_{false};
  std::atomic<bool> tried_{false};
  std::atomic<bool> ending_{false};
  std::atomic<std::uint64_t> sent_{0};
  std::mutex mutex_;  // new_
  std::vector<Request> new_;
  std::thread thread_;
};

}  // namespace moderato

#pragma once

// Private header of the library: not installed.

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <moderato/core/loop.hpp>
#include <moderato/llm/http/curl_handle.hpp>

namespace moderato {

/// Runs libcurl on a loop: shards of multi handles, all their sockets in the loop's poller. See
/// curl_pump.cpp for the reasons. Loop's thread only.
class CurlPump final : Poller::Listener {
 public:
  /// Exchanges a shard runs at most.
  static constexpr std::size_t handles_per_shard = 64;

  explicit CurlPump(Loop& loop);
  ~CurlPump() override;
  CurlPump(const CurlPump&) = delete;
  CurlPump& operator=(const CurlPump&) = delete;

  /// A new handle, in a shard that has room.
  [[nodiscard]] std::unique_ptr<CurlHandle> make_handle();
  /// parse_url, with the last result kept: 10,000 handles ask the same, each on a fiber's stack of
  /// which libcurl's printf would touch two pages more.
  [[nodiscard]] Result<ParsedUrl> parsed(const std::string& url);
  /// Starts the handle's transfer. Internal error if libcurl refuses.
  [[nodiscard]] Result<void> start(CurlHandle& handle);
  /// Takes the handle out of libcurl; an unfinished exchange's connection (or HTTP/2 stream) is
  /// closed at once.
  void remove(CurlHandle& handle) noexcept;

  /// Whether the shard's kept connection with that local port was closed by the peer.
  [[nodiscard]] bool is_dead(std::size_t shard, int local_port) const noexcept;

  /// A socket that libcurl will close through on_close_socket.
  void note_connection(std::size_t shard, int fd);
  static int on_close_socket(void* pump, curl_socket_t fd);

 private:
  struct Shard {
    CurlPump* pump = nullptr;
    std::size_t index = 0;
    CURLM* multi = nullptr;
    std::size_t handles = 0;
    std::size_t running = 0;      // handles in `multi`
    std::size_t connections = 0;  // open sockets
    std::vector<int> dead;        // those that the peer closed while they were idle
    Instant due = no_deadline;    // libcurl's timer
    bool due_now = false;         // in due_now_
  };
  /// What is known of a file descriptor that libcurl uses.
  struct Socket {
    std::uint32_t shard = 0;
    std::uint32_t watched = 0;  // epoll's events; 0: not in epoll
    bool connection = false;    // else one of libcurl's own (its resolver's)
    bool idle = false;          // libcurl does not want to hear of it now
    bool dead = false;          // the peer closed it while it was idle
    int local_port = 0;
  };

  static int on_watch(CURL* easy, curl_socket_t fd, int what, void* shard, void* socket);
  static int on_timer(CURLM* multi, long timeout_ms, void* shard);

  Shard& add_shard();
  static void make_multi(Shard& shard);
  static void close_multi(Shard& shard);
  Socket& socket(int fd);
  void watch(int fd, Socket& socket, std::uint32_t events);
  void idle_event(int fd, Socket& socket, std::uint32_t events);
  void set_dead(int fd, Socket& socket, bool dead);
  void renew_if_all_dead(Shard& shard);
  void take_messages(Shard& shard);
  void on_socket(int fd, std::uint32_t events) override;
  void on_turn() override;
  void run_due();
  void find_due();

  const Clock& clock_;
  CURLSH* shared_ = nullptr;
  std::string last_url_;
  ParsedUrl last_parsed_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Socket> sockets_;  // by file descriptor
  std::vector<Shard*> due_now_;
  std::vector<Shard*> due_;         // being run
  Instant earliest_ = no_deadline;  // not after any shard's due
};

}  // namespace moderato

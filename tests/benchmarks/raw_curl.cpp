#include "benchmarks/raw_curl.hpp"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

namespace moderato::bench {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

class RawLoop;

struct Multi {
  RawLoop* loop = nullptr;
  CURLM* handle = nullptr;
  SteadyTime due = SteadyTime::max();
};

struct Easy {
  Multi* multi = nullptr;
  CURL* handle = nullptr;
  std::string answer;
};

class RawLoop {
 public:
  RawLoop(const RawCurlOptions& options, const std::vector<std::string>& bodies,
          std::size_t requests)
      : bodies_(bodies), requests_(requests), epoll_(epoll_create1(0)) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    for (const std::string& line : options.headers) {
      headers_ = curl_slist_append(headers_, line.c_str());
    }
    const std::size_t per_multi = options.per_multi == 0 ? options.concurrency : options.per_multi;
    for (std::size_t i = 0; i < options.concurrency; ++i) {
      if (i % per_multi == 0) add_multi(per_multi);
      add_easy(options.url);
    }
  }
  ~RawLoop() {
    for (const auto& easy : easies_) curl_easy_cleanup(easy->handle);
    for (const auto& multi : multis_) curl_multi_cleanup(multi->handle);
    curl_slist_free_all(headers_);
    close(epoll_);
  }
  RawLoop(const RawLoop&) = delete;
  RawLoop& operator=(const RawLoop&) = delete;

  RawCurlResult run() {
    for (const auto& easy : easies_) start(*easy);
    while (running_ > 0) turn();
    return result_;
  }

 private:
  void add_multi(std::size_t connections) {
    auto multi = std::make_unique<Multi>();
    multi->loop = this;
    multi->handle = curl_multi_init();
    curl_multi_setopt(multi->handle, CURLMOPT_SOCKETFUNCTION, &RawLoop::on_socket);
    curl_multi_setopt(multi->handle, CURLMOPT_SOCKETDATA, multi.get());
    curl_multi_setopt(multi->handle, CURLMOPT_TIMERFUNCTION, &RawLoop::on_timer);
    curl_multi_setopt(multi->handle, CURLMOPT_TIMERDATA, multi.get());
    curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS, static_cast<long>(2 * connections));
    multis_.push_back(std::move(multi));
  }

  void add_easy(const std::string& url) {
    auto easy = std::make_unique<Easy>();
    easy->multi = multis_.back().get();
    easy->handle = curl_easy_init();
    curl_easy_setopt(easy->handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy->handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy->handle, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(easy->handle, CURLOPT_PRIVATE, easy.get());
    curl_easy_setopt(easy->handle, CURLOPT_WRITEFUNCTION, &RawLoop::on_body);
    curl_easy_setopt(easy->handle, CURLOPT_WRITEDATA, easy.get());
    easies_.push_back(std::move(easy));
  }

  void start(Easy& easy) {
    if (started_ == requests_) return;
    const std::string& body = bodies_[started_++ % bodies_.size()];
    easy.answer.clear();
    curl_easy_setopt(easy.handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy.handle, CURLOPT_POSTFIELDS, body.data());
    curl_multi_add_handle(easy.multi->handle, easy.handle);
    ++running_;
  }

  void turn() {
    const auto now = std::chrono::steady_clock::now();
    SteadyTime next = SteadyTime::max();
    bool acted = false;
    for (const auto& multi : multis_) {
      if (multi->due <= now) {
        multi->due = SteadyTime::max();
        act(*multi, CURL_SOCKET_TIMEOUT, 0);
        acted = true;
      }
      next = std::min(next, multi->due);
    }
    int wait_ms = acted ? 0 : 1000;
    if (!acted && next != SteadyTime::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
      wait_ms = static_cast<int>(std::clamp<long>(left, 0, 1000));
    }
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), events.size(), wait_ms);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      const int fd = static_cast<int>(event.data.u64 & 0xFFFFFFFFU);
      int mask = 0;
      if ((event.events & (EPOLLIN | EPOLLHUP)) != 0) mask |= CURL_CSELECT_IN;
      if ((event.events & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
      if ((event.events & EPOLLERR) != 0) mask |= CURL_CSELECT_ERR;
      act(*multis_[event.data.u64 >> 32U], fd, mask);
    }
  }

  void act(Multi& multi, curl_socket_t fd, int mask) {
    int running = 0;
    curl_multi_socket_action(multi.handle, fd, mask, &running);
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi.handle, &left)) {
      CURL* handle = message->easy_handle;
      const CURLcode code = message->data.result;
      Easy* easy = nullptr;
      long status = 0;
      curl_easy_getinfo(handle, CURLINFO_PRIVATE, &easy);
      curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
      curl_multi_remove_handle(multi.handle, handle);
      --running_;
      ++(code == CURLE_OK && status == 200 ? result_.ok : result_.failed);
      result_.answer_bytes += easy->answer.size();
      start(*easy);
    }
  }

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* easy) {
    static_cast<Easy*>(easy)->answer.append(data, size * count);
    return size * count;
  }

  static int on_timer(CURLM* /*handle*/, long timeout_ms, void* multi) {
    static_cast<Multi*>(multi)->due =
        timeout_ms < 0 ? SteadyTime::max()
                       : std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    return 0;
  }

  static int on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* multi, void* known) {
    RawLoop& loop = *static_cast<Multi*>(multi)->loop;
    if (what == CURL_POLL_REMOVE) {
      epoll_ctl(loop.epoll_, EPOLL_CTL_DEL, fd, nullptr);
      return 0;
    }
    std::size_t index = 0;
    while (loop.multis_[index].get() != multi) ++index;
    epoll_event event{};
    event.events = (what != CURL_POLL_OUT ? EPOLLIN : 0U) | (what != CURL_POLL_IN ? EPOLLOUT : 0U);
    event.data.u64 = (static_cast<std::uint64_t>(index) << 32U) | static_cast<std::uint32_t>(fd);
    epoll_ctl(loop.epoll_, known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    curl_multi_assign(static_cast<Multi*>(multi)->handle, fd, multi);
    return 0;
  }

  const std::vector<std::string>& bodies_;
  const std::size_t requests_;
  int epoll_;
  curl_slist* headers_ = nullptr;
  std::vector<std::unique_ptr<Multi>> multis_;
  std::vector<std::unique_ptr<Easy>> easies_;
  std::size_t started_ = 0;
  std::size_t running_ = 0;
  RawCurlResult result_;
};

}  // namespace

RawCurlResult run_raw_curl(const RawCurlOptions& options, const std::vector<std::string>& bodies,
                           std::size_t requests) {
  return RawLoop(options, bodies, requests).run();
}

}  // namespace moderato::bench

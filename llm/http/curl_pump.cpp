#include <moderato/llm/http/curl_pump.hpp>

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <utility>

#include <moderato/core/runtime_core.hpp>

// libcurl on an event loop, at the price of libcurl alone
//
// The usual way (a descriptor object for each socket, a timer for each of libcurl's time-outs, a
// completion for each of both) costs about three times what libcurl itself costs. What is done
// about it:
//
// Shards. A multi handle finds a kept connection by walking over all connections to that host. With
// 8,000 of them a request takes 20 times the CPU that it takes with 64. So there is a multi handle
// for every 64 easy handles; the transport hands handles out last in, first out, which keeps the
// kept connections of the first shards busy when load falls. Names and TLS sessions are shared
// among the shards, connections are not.
//
// One epoll. All sockets are in the loop's poller: one wake-up serves all that are ready, and each
// is told to libcurl once, with read and write in one mask: telling them apart makes 7.88 fail
// HTTP/2 streams with error 92.
//
// Idle sockets stay in the epoll. libcurl says "remove" at the end of every exchange and "add" at
// the start of the next; obeying costs two system calls a request. Left where they are, idle
// sockets also tell when the server closes them: such a connection is dead, which libcurl 7.88.1
// does not notice by itself (see curl_transfer.cpp). An idle socket that is readable but not closed
// (an HTTP/2 ping) is watched for its end only, or it would wake us for ever. When all connections
// of a shard that runs nothing are dead, its multi handle is replaced: libcurl has no other way to
// close them, and after a burst they would hold their file descriptors for ever.
//
// Time. Every start of a transfer makes libcurl ask for a time-out of 0; all that come while fibers
// run are served in one turn after them, once for each shard. Later time-outs ask the poller for a
// turn at that time, and nobody takes the wish back: a turn too early does nothing and costs
// little.

namespace moderato {
namespace {

/// What wants to go on at once goes on in the same turn at most that often.
constexpr int rounds_in_a_turn = 8;
constexpr std::uint32_t closed_events = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

/// libcurl's global state is set up once in the process and never torn down: others may use it.
void set_up_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) throw std::runtime_error("libcurl cannot be set up");
}

int local_port_of(int fd) {
  sockaddr_in6 address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.sin6_port);  // sockaddr_in has its port at the same place
}

int curl_mask(std::uint32_t events) {
  int mask = 0;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) mask |= CURL_CSELECT_IN;
  if ((events & EPOLLOUT) != 0) mask |= CURL_CSELECT_OUT;
  if ((events & EPOLLERR) != 0) mask |= CURL_CSELECT_ERR;
  return mask;
}

}  // namespace

CurlPump::CurlPump(Loop& loop) : Listener(loop.poller()), clock_(loop.core().clock()) {
  set_up_libcurl();
  shared_ = curl_share_init();
  if (shared_ == nullptr) throw std::bad_alloc();
  curl_share_setopt(shared_, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  curl_share_setopt(shared_, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
}

CurlPump::~CurlPump() {
  for (const auto& shard : shards_) close_multi(*shard);
  curl_share_cleanup(shared_);
}

void CurlPump::make_multi(Shard& shard) {
  shard.multi = curl_multi_init();
  if (shard.multi == nullptr) throw std::bad_alloc();
  curl_multi_setopt(shard.multi, CURLMOPT_SOCKETFUNCTION, &on_watch);
  curl_multi_setopt(shard.multi, CURLMOPT_SOCKETDATA, &shard);
  curl_multi_setopt(shard.multi, CURLMOPT_TIMERFUNCTION, &on_timer);
  curl_multi_setopt(shard.multi, CURLMOPT_TIMERDATA, &shard);
  curl_multi_setopt(shard.multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  // Room for every handle's connection to one host and to another one.
  curl_multi_setopt(shard.multi, CURLMOPT_MAXCONNECTS, 2L * static_cast<long>(handles_per_shard));
}

void CurlPump::close_multi(Shard& shard) {
  curl_multi_setopt(shard.multi, CURLMOPT_SOCKETFUNCTION, nullptr);
  curl_multi_setopt(shard.multi, CURLMOPT_TIMERFUNCTION, nullptr);
  curl_multi_cleanup(shard.multi);
}

CurlPump::Shard& CurlPump::add_shard() {
  auto shard = std::make_unique<Shard>();
  shard->pump = this;
  shard->index = shards_.size();
  make_multi(*shard);
  shards_.push_back(std::move(shard));
  return *shards_.back();
}

std::unique_ptr<CurlHandle> CurlPump::make_handle() {
  const bool full = shards_.empty() || shards_.back()->handles == handles_per_shard;
  Shard& shard = full ? add_shard() : *shards_.back();
  auto handle = std::make_unique<CurlHandle>(*this, shard.index, shared_);
  ++shard.handles;
  return handle;
}

Result<ParsedUrl> CurlPump::parsed(const std::string& url) {
  if (last_parsed_ != nullptr && last_url_ == url) return last_parsed_;
  Result<ParsedUrl> made = parse_url(url);
  if (made) {
    last_url_ = url;
    last_parsed_ = *made;
  }
  return made;
}

Result<void> CurlPump::start(CurlHandle& handle) {
  Shard& shard = *shards_[handle.shard()];
  const CURLMcode code = curl_multi_add_handle(shard.multi, handle.easy());
  if (code != CURLM_OK) return fail(ErrorCode::internal, curl_multi_strerror(code));
  handle.running = true;
  ++shard.running;
  return {};
}

void CurlPump::remove(CurlHandle& handle) noexcept {
  if (!handle.running) return;
  Shard& shard = *shards_[handle.shard()];
  curl_multi_remove_handle(shard.multi, handle.easy());
  handle.running = false;
  --shard.running;
}

bool CurlPump::is_dead(std::size_t shard, int local_port) const noexcept {
  return std::ranges::any_of(shards_[shard]->dead, [&](int fd) {
    return sockets_[static_cast<std::size_t>(fd)].local_port == local_port;
  });
}

void CurlPump::note_connection(std::size_t shard, int fd) {
  socket(fd) = {.shard = static_cast<std::uint32_t>(shard), .connection = true};
  ++shards_[shard]->connections;
}

CurlPump::Socket& CurlPump::socket(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= sockets_.size()) sockets_.resize(index + 1);
  return sockets_[index];
}

void CurlPump::watch(int fd, Socket& socket, std::uint32_t events) {
  Listener::watch(fd, socket.watched, events);
  socket.watched = events;
}

int CurlPump::on_watch(CURL* /*easy*/, curl_socket_t fd, int what, void* shard, void* /*socket*/) {
  const Shard& self = *static_cast<Shard*>(shard);
  Socket& socket = self.pump->socket(fd);
  socket.shard = static_cast<std::uint32_t>(self.index);
  if (what == CURL_POLL_REMOVE || what == CURL_POLL_NONE) {
    socket.idle = true;
    if (!socket.connection) self.pump->watch(fd, socket, 0);
    return 0;
  }
  socket.idle = false;
  self.pump->set_dead(fd, socket, false);
  std::uint32_t events = EPOLLRDHUP;
  if (what != CURL_POLL_OUT) events |= EPOLLIN;
  if (what != CURL_POLL_IN) events |= EPOLLOUT;
  self.pump->watch(fd, socket, events);
  return 0;
}

int CurlPump::on_close_socket(void* pump, curl_socket_t fd) {
  auto& self = *static_cast<CurlPump*>(pump);
  Socket& socket = self.socket(fd);
  self.set_dead(fd, socket, false);
  self.watch(fd, socket, 0);
  --self.shards_[socket.shard]->connections;
  socket = {};
  return close(fd);
}

void CurlPump::set_dead(int fd, Socket& socket, bool dead) {
  if (socket.dead == dead) return;
  socket.dead = dead;
  if (dead) {
    socket.local_port = local_port_of(fd);
    shards_[socket.shard]->dead.push_back(fd);
  } else {
    std::erase(shards_[socket.shard]->dead, fd);
  }
}

void CurlPump::renew_if_all_dead(Shard& shard) {
  if (shard.running > 0 || shard.dead.size() < shard.connections) return;
  close_multi(shard);
  shard.due = no_deadline;
  make_multi(shard);
}

void CurlPump::idle_event(int fd, Socket& socket, std::uint32_t events) {
  if ((events & closed_events) != 0) {
    watch(fd, socket, 0);
    set_dead(fd, socket, true);
    renew_if_all_dead(*shards_[socket.shard]);
  } else {
    watch(fd, socket, EPOLLRDHUP);
  }
}

void CurlPump::on_socket(int fd, std::uint32_t events) {
  Socket& known = socket(fd);
  if (known.watched == 0) return;  // It was closed earlier in this turn.
  if (known.idle) {
    idle_event(fd, known, events);
    return;
  }
  Shard& shard = *shards_[known.shard];
  int running = 0;
  curl_multi_socket_action(shard.multi, fd, curl_mask(events), &running);
  take_messages(shard);
}

void CurlPump::take_messages(Shard& shard) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(shard.multi, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;
    void* handle_pointer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &handle_pointer);
    auto& handle = *static_cast<CurlHandle*>(handle_pointer);
    remove(handle);
    handle.transfer()->finish(code, easy, handle.error_text());
  }
}

int CurlPump::on_timer(CURLM* /*multi*/, long timeout_ms, void* shard) {
  auto& self = *static_cast<Shard*>(shard);
  if (timeout_ms < 0) {
    self.due = no_deadline;
  } else if (timeout_ms == 0) {
    self.due = no_deadline;
    if (!self.due_now) {
      self.due_now = true;
      self.pump->due_now_.push_back(&self);
      self.pump->ask_for_turn();
    }
  } else {
    self.due = self.pump->clock_.now() + std::chrono::milliseconds(timeout_ms);
    self.pump->earliest_ = std::min(self.pump->earliest_, self.due);
    self.pump->ask_for_turn_at(self.due);
  }
  return 0;
}

void CurlPump::run_due() {
  for (Shard* shard : due_) {
    shard->due_now = false;
    int running = 0;
    curl_multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_messages(*shard);
  }
}

void CurlPump::find_due() {
  const Instant now = clock_.now();
  earliest_ = no_deadline;
  for (const auto& shard : shards_) {
    if (shard->due > now) {
      earliest_ = std::min(earliest_, shard->due);
      continue;
    }
    shard->due = no_deadline;
    if (!std::exchange(shard->due_now, true)) due_now_.push_back(shard.get());
  }
}

void CurlPump::on_turn() {
  if (earliest_ != no_deadline && earliest_ <= clock_.now()) find_due();
  for (int round = 0; round < rounds_in_a_turn && !due_now_.empty(); ++round) {
    due_.swap(due_now_);
    run_due();
    due_.clear();
  }
  if (!due_now_.empty()) ask_for_turn();
  if (earliest_ != no_deadline) ask_for_turn_at(earliest_);
}

}  // namespace moderato

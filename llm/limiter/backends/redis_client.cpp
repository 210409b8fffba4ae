#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <moderato/llm/limiter/backends/redis_client.hpp>
#include <utility>

// One thread, one connection, no round trip waited for
//
// The naive client writes a command and waits for its answer, so a connection carries one command
// for each round trip. Redis answers in the order of the commands, so nothing forbids to write the
// next one at once; a deque remembers whose answer comes next. A fiber that wants the answer parks
// on a wait point; a settle does not even do that.
//
// A connection that is up and does not answer is worse than none: every call would wait for the
// timeout. After two timeouts in a row it is given up as a whole, and all that is under way fails
// at once; a new one is tried once a second.

namespace moderato {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Error lost(const std::string& why) {
  return {.code = ErrorCode::storage, .message = "redis: " + why};
}

/// "run_id:9f3c…" in what INFO gives.
std::string run_id(const std::string& info) {
  const auto begin = info.find("run_id:");
  if (begin == std::string::npos) return "unknown";
  const auto end = info.find_first_of("\r\n", begin);
  return info.substr(begin + 7, end - begin - 7);
}

}  // namespace

RedisClient::RedisClient(Options options)
    : options_(std::move(options)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void RedisClient::start() {
  thread_ = std::thread([this] { work(); });
}

RedisClient::~RedisClient() {
  ending_ = true;
  wake();
  if (thread_.joinable()) thread_.join();
  if (wake_ >= 0) ::close(wake_);
}

void RedisClient::wake() const noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof(one));
}

bool RedisClient::run(std::size_t script, std::vector<std::string> arguments, Done done) {
  if (!connected_) return false;
  bool first = false;
  {
    const std::scoped_lock lock(mutex_);
    first = new_.empty();
    new_.push_back({.script = script,
                    .arguments = std::move(arguments),
                    .done = std::move(done),
                    .deadline = clock_.now() + options_.timeout});
  }
  if (first) wake();
  return true;
}

void RedisClient::work() {
  Instant give_up = Instant::max();
  for (;;) {
    const Instant now = clock_.now();
    if (ending_ && give_up == Instant::max()) give_up = now + options_.timeout;
    take_new();
    if (ending_ && (pending_.empty() || now >= give_up)) break;
    if (connection_ == nullptr && now >= connect_at_) connect();
    wait_for_events();
    if (connection_ != nullptr && !receive()) lose(connection_->error());
    hear();
    expire();
    if (clock_.now() >= tick_at_) {
      tick_at_ = clock_.now() + seconds(1);
      if (options_.tick && !ending_) options_.tick();
    }
  }
  connected_ = false;
  take_new();
  for (auto& request : std::exchange(pending_, {})) {
    if (request.done) request.done(fail(lost("the program ended")));
  }
}

void RedisClient::connect() {
  connect_at_ = clock_.now() + seconds(1);
  connection_ = std::make_unique<RedisConnection>(options_.address);
  if (connection_->failed()) {
    lose(connection_->error());
    return;
  }
  shas_.assign(options_.scripts.size(), {});
  for (std::size_t i = 0; i < options_.scripts.size(); ++i) {
    connection_->append({"SCRIPT", "LOAD", options_.scripts[i]});
    pending_.push_back({.script = i,
                        .deadline = clock_.now() + 4 * options_.timeout,
                        .kind = Request::Kind::load});
  }
  connection_->append({"INFO", "server"});
  pending_.push_back(
      {.deadline = clock_.now() + 4 * options_.timeout, .kind = Request::Kind::info});
  if (options_.channel.empty()) return;
  subscription_ = std::make_unique<RedisConnection>(options_.address);
  subscription_->append({"SUBSCRIBE", options_.channel});
}

void RedisClient::lose(const std::string& why) {
  connected_ = false;
  connection_.reset();
  subscription_.reset();
  timeouts_ = 0;
  connect_at_ = clock_.now() + seconds(1);
  take_new();
  for (auto& request : std::exchange(pending_, {})) {
    if (request.done) request.done(fail(lost(why)));
  }
  if (options_.changed) options_.changed({}, why);
  tried_ = true;
  tried_.notify_all();
}

void RedisClient::take_new() {
  std::vector<Request> requests;
  {
    const std::scoped_lock lock(mutex_);
    requests.swap(new_);
  }
  for (auto& request : requests) send(std::move(request));
}

void RedisClient::send(Request request) {
  if (connection_ == nullptr) {
    if (request.done) request.done(fail(lost("not connected")));
    return;
  }
  const bool by_text = request.kind == Request::Kind::text || shas_[request.script].empty();
  std::vector<std::string> command{
      by_text ? "EVAL" : "EVALSHA",
      by_text ? options_.scripts[request.script] : shas_[request.script],
      std::to_string(options_.keys.size())};
  command.insert(command.end(), options_.keys.begin(), options_.keys.end());
  command.insert(command.end(), request.arguments.begin(), request.arguments.end());
  connection_->append(command);
  if (by_text) request.kind = Request::Kind::text;
  pending_.push_back(std::move(request));
  ++sent_;
}

/// Writes what there is to write, and sleeps until something happens.
void RedisClient::wait_for_events() {
  // (Before it is connected, poll says when it can be written.)
  if (connected_ && connection_->wants_write()) (void)connection_->write();
  Instant until = std::min(tick_at_, connection_ == nullptr ? connect_at_ : Instant::max());
  for (const auto& request : pending_) {
    if (request.deadline == Instant::min()) continue;
    until = std::min(until, request.deadline);
    break;
  }
  if (ending_) until = std::min(until, clock_.now() + milliseconds(20));
  std::array<pollfd, 3> sockets{};
  sockets[0] = {.fd = wake_, .events = POLLIN, .revents = 0};
  nfds_t count = 1;
  for (auto* connection : {connection_.get(), subscription_.get()}) {
    if (connection == nullptr) continue;
    const int events = POLLIN | (connection->wants_write() ? POLLOUT : 0);
    sockets[count++] = {
        .fd = connection->descriptor(), .events = static_cast<short>(events), .revents = 0};
  }
  const auto wait = std::chrono::ceil<milliseconds>(until - clock_.now());
  const auto most = std::clamp<milliseconds>(wait, milliseconds(0), milliseconds(1000));
  ::poll(sockets.data(), count, static_cast<int>(most.count()));
  if ((sockets[0].revents & POLLIN) != 0) {
    std::uint64_t counted = 0;
    [[maybe_unused]] const auto got = ::read(wake_, &counted, sizeof(counted));
  }
  std::size_t index = 1;
  for (auto* connection : {connection_.get(), subscription_.get()}) {
    if (connection == nullptr) continue;
    const int happened = sockets[index++].revents;
    if ((happened & POLLOUT) != 0) (void)connection->write();
    if ((happened & (POLLIN | POLLERR | POLLHUP)) != 0) (void)connection->read();
  }
}

bool RedisClient::receive() {
  while (auto reply = connection_->next()) {
    if (pending_.empty()) return false;
    Request request = std::move(pending_.front());
    pending_.pop_front();
    timeouts_ = 0;
    answer(request, *std::move(reply));
    if (connection_ == nullptr) return true;
  }
  return !connection_->failed();
}

void RedisClient::answer(Request& request, RedisReply reply) {
  if (request.kind == Request::Kind::load) {
    if (!reply.is_error()) shas_[request.script] = reply.text;
    return;
  }
  if (request.kind == Request::Kind::info) {
    if (reply.is_error()) {
      lose(reply.text);
      return;
    }
    connected_ = true;
    if (options_.changed) options_.changed(run_id(reply.text), {});
    tried_ = true;
    tried_.notify_all();
    return;
  }
  if (reply.is_error() && request.kind == Request::Kind::script &&
      reply.text.rfind("NOSCRIPT", 0) == 0) {
    request.kind = Request::Kind::text;
    send(std::move(request));
    return;
  }
  if (!request.done) return;
  if (reply.is_error()) {
    request.done(fail(lost(reply.text)));
  } else {
    request.done(std::move(reply));
  }
}

void RedisClient::hear() {
  if (subscription_ == nullptr) return;
  while (const auto reply = subscription_->next()) {
    const auto& words = reply->elements;
    if (words.size() == 3 && words[0].text == "message" && options_.heard) {
      options_.heard(words[2].text);
    }
  }
  if (!subscription_->failed()) return;
  subscription_.reset();
  if (connection_ != nullptr) lose("the connection for wake-ups was lost");
}

void RedisClient::expire() {
  const Instant now = clock_.now();
  for (auto& request : pending_) {
    if (request.deadline > now) break;
    if (request.deadline == Instant::min()) continue;  // has expired before; its answer may come
    const bool greeting =
        request.kind == Request::Kind::info || request.kind == Request::Kind::load;
    if (greeting || ++timeouts_ >= 2) {
      lose(fmt::format("no answer within {} ms",
                       std::chrono::duration_cast<milliseconds>(options_.timeout).count()));
      return;
    }
    request.deadline = Instant::min();
    if (const Done done = std::exchange(request.done, nullptr)) {
      done(fail(lost("no answer in time")));
    }
  }
}

}  // namespace moderato

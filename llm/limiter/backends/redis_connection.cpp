#include <fmt/format.h>
#include <hiredis/hiredis.h>

#include <charconv>
#include <cstring>
#include <moderato/llm/limiter/backends/redis_connection.hpp>
#include <string_view>
#include <utility>

namespace moderato {
namespace {

std::optional<int> number_of(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

tl::unexpected<Error> wrong(std::string_view what) {
  return fail(ErrorCode::configuration,
              fmt::format("redis: {}; write redis://[user:password@]host[:port][/database] or "
                          "unix:///path/of/the/socket",
                          what));
}

std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, code, 16).ptr ==
            text.data() + i + 3) {
      plain.push_back(static_cast<char>(code));
      i += 2;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

}  // namespace

RedisReply reply_of(const redisReply& from) {
  RedisReply reply;
  switch (from.type) {
    case REDIS_REPLY_INTEGER:
      reply.kind = RedisReply::Kind::integer;
      reply.integer = from.integer;
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      reply.kind = RedisReply::Kind::text;
      reply.text.assign(from.str, static_cast<std::size_t>(from.len));
      break;
    case REDIS_REPLY_ERROR:
      reply.kind = RedisReply::Kind::error;
      reply.text.assign(from.str, static_cast<std::size_t>(from.len));
      break;
    case REDIS_REPLY_ARRAY:
      reply.kind = RedisReply::Kind::array;
      for (std::size_t i = 0; i < from.elements; ++i) {
        reply.elements.push_back(reply_of(*from.element[i]));
      }
      break;
    default:
      break;
  }
  return reply;
}

Result<RedisAddress> RedisAddress::parse(const std::string& url) {
  RedisAddress address;
  std::string_view rest = url;
  const auto take = [&](std::string_view prefix) {
    if (rest.substr(0, prefix.size()) != prefix) return false;
    rest.remove_prefix(prefix.size());
    return true;
  };
  if (take("unix://")) {
    const auto query = rest.find("?db=");
    address.socket = std::string(rest.substr(0, query));
    if (query != std::string_view::npos) {
      const auto database = number_of(rest.substr(query + 4));
      if (!database) return wrong("the database is not a number");
      address.database = *database;
    }
    if (address.socket.empty()) return wrong("the path of the socket is missing");
    return address;
  }
  if (take("rediss://")) return wrong("rediss:// (TLS) is not supported: use a tunnel");
  if (!take("redis://")) return wrong("the address is not a redis:// or unix:// URL");
  if (const auto at = rest.rfind('@'); at != std::string_view::npos) {
    const std::string_view who = rest.substr(0, at);
    const auto colon = who.find(':');
    address.user = decoded(who.substr(0, colon));
    if (colon != std::string_view::npos) address.password = decoded(who.substr(colon + 1));
    rest.remove_prefix(at + 1);
  }
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view text = rest.substr(slash + 1);
    const auto database = text.empty() ? std::optional<int>(0) : number_of(text);
    if (!database) return wrong("the database is not a number");
    address.database = *database;
    rest = rest.substr(0, slash);
  }
  if (const auto colon = rest.rfind(':'); colon != std::string_view::npos) {
    const auto port = number_of(rest.substr(colon + 1));
    if (!port || *port == 0 || *port > 65535) return wrong("the port is not one");
    address.port = *port;
    rest = rest.substr(0, colon);
  }
  address.host = rest.empty() ? "127.0.0.1" : std::string(rest);
  return address;
}

std::string RedisAddress::describe() const {
  if (!socket.empty()) return "unix://" + socket;
  return fmt::format("redis://{}:{}/{}", host, port, database);
}

struct RedisConnection::Context {
  redisContext* raw = nullptr;
  ~Context() {
    if (raw != nullptr) redisFree(raw);
  }
};

RedisConnection::RedisConnection(const RedisAddress& address)
    : context_(std::make_unique<Context>()) {
  context_->raw = address.socket.empty() ? redisConnectNonBlock(address.host.c_str(), address.port)
                                         : redisConnectUnixNonBlock(address.socket.c_str());
  if (!address.password.empty()) {
    if (address.user.empty()) {
      append({"AUTH", address.password.reveal()});
    } else {
      append({"AUTH", address.user, address.password.reveal()});
    }
  }
  if (address.database != 0) append({"SELECT", std::to_string(address.database)});
  greetings_ = (address.password.empty() ? 0 : 1) + (address.database != 0 ? 1 : 0);
}

RedisConnection::~RedisConnection() = default;

int RedisConnection::descriptor() const noexcept {
  return context_->raw == nullptr ? -1 : context_->raw->fd;
}

void RedisConnection::append(const std::vector<std::string>& command) {
  if (failed()) return;
  std::vector<const char*> words;
  std::vector<std::size_t> sizes;
  for (const auto& word : command) {
    words.push_back(word.data());
    sizes.push_back(word.size());
  }
  redisAppendCommandArgv(context_->raw, static_cast<int>(words.size()), words.data(), sizes.data());
  writing_ = true;
}

bool RedisConnection::write() {
  if (failed()) return false;
  int done = 0;
  if (redisBufferWrite(context_->raw, &done) != REDIS_OK) return false;
  writing_ = done == 0;
  return true;
}

bool RedisConnection::read() {
  return !failed() && redisBufferRead(context_->raw) == REDIS_OK;
}

std::optional<RedisReply> RedisConnection::next() {
  if (failed()) return std::nullopt;
  void* raw = nullptr;
  if (redisGetReplyFromReader(context_->raw, &raw) != REDIS_OK || raw == nullptr) {
    return std::nullopt;
  }
  const std::unique_ptr<void, void (*)(void*)> owned(raw, freeReplyObject);
  RedisReply reply = reply_of(*static_cast<redisReply*>(raw));
  if (greetings_ == 0) return reply;
  --greetings_;
  if (reply.is_error()) refused_ = reply.text;
  return next();
}

bool RedisConnection::failed() const noexcept {
  return context_->raw == nullptr || context_->raw->err != 0 || !refused_.empty();
}

std::string RedisConnection::error() const {
  if (context_->raw == nullptr) return "no memory";
  if (!refused_.empty()) return refused_;
  return static_cast<const char*>(context_->raw->errstr);
}

}  // namespace moderato

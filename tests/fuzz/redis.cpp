// Whatever a Redis answers is an error or something that can be gone by; the same for the address
// in front of it.

#include <hiredis/hiredis.h>

#include <algorithm>
#include <memory>
#include <moderato/llm/limiter/backends/redis_answers.hpp>
#include <moderato/llm/limiter/key_state.hpp>

using namespace moderato;

namespace {

/// What is done with another process' state machine.
void go_by(const std::string& bytes) {
  const auto kept = KeyState::from_bytes(bytes);
  if (!kept) return;
  for (const Duration since : {Duration(0), Duration(std::chrono::hours(24 * 365 * 50))}) {
    KeyState state = *kept;
    const Instant now(since);
    (void)state.gate(now);
    (void)state.held_until(now);
    (void)state.share(now);
    (void)state.refusal(now);
    (void)state.name(now);
    (void)state.told_to_wait(now, state.epoch(), std::nullopt, "later");
    (void)state.succeeded(now + std::chrono::minutes(1), state.epoch());
  }
}

/// hiredis asks for as much memory as an array or a string announces, before any of it has come.
bool announces_much(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '*' && text[at] != '$') continue;
    const std::size_t end = text.find_first_not_of("+0123456789", at + 1);
    if (std::min(end, text.size()) - at > 6) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto address = RedisAddress::parse(std::string(text))) (void)address->describe();

  if (announces_much(text)) return 0;
  const std::unique_ptr<redisReader, void (*)(redisReader*)> reader(redisReaderCreate(),
                                                                    redisReaderFree);
  if (redisReaderFeed(reader.get(), text.data(), text.size()) != REDIS_OK) return 0;
  void* raw = nullptr;
  while (redisReaderGetReply(reader.get(), &raw) == REDIS_OK && raw != nullptr) {
    const std::unique_ptr<void, void (*)(void*)> owned(raw, freeReplyObject);
    const RedisReply reply = reply_of(*static_cast<redisReply*>(raw));
    if (const auto acquired = redis_answers::read_acquired(reply)) {
      go_by(acquired->state);
      if (const auto* granted = std::get_if<redis_answers::Granted>(&acquired->verdict)) {
        (void)(granted->start - acquired->now + std::chrono::hours(1));
        if (granted->next) (void)(*granted->next - acquired->now);
      }
    }
    if (const auto told = redis_answers::read_told(reply)) go_by(told->state);
    (void)redis_answers::read_looked(reply, Instant{}, std::chrono::minutes(2));
    if (reply.kind == RedisReply::Kind::text) go_by(reply.text);
  }
  return 0;
}

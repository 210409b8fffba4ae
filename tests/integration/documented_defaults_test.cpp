#include <doctest/doctest.h>

#include <chrono>
#include <moderato/moderato.hpp>

using namespace moderato;
using namespace std::chrono_literals;

// README.md has a table of these. Change both.

TEST_CASE("the defaults of a chat are those that the README states") {
  CHECK(ConversableOptions{}.max_consecutive_auto_reply == 10);
  CHECK(AssistantOptions{}.max_consecutive_auto_reply == 10);
  CHECK(UserProxyOptions{}.max_consecutive_auto_reply == 10);
  const ChatOptions chat;
  CHECK(chat.repetition.report_after == 2);
  CHECK(chat.repetition.stop_after == 3);
  CHECK_FALSE(chat.max_turns.has_value());
  CHECK(chat.max_messages == 10'000);
  CHECK_FALSE(chat.token_budget.has_value());
  CHECK(chat.deadline == no_deadline);
  CHECK(ToolOptions{}.max_result_bytes == 100'000);
}

TEST_CASE("the defaults of groups, code and caches are those that the README states") {
  CHECK(GroupChat{}.max_round == 10);
  CHECK(GroupChat{}.max_retries_for_selecting_speaker == 2);
  CHECK(CommandLineOptions{}.isolation == Isolation::sandbox);
  CHECK(MemoryCacheOptions{}.max_replies == 10'000);
  CHECK(ConversableOptions{}.max_parallel_tools == 1);
}

TEST_CASE("the defaults of a model and its limiter are those that the README states") {
  const ModelOptions model;
  CHECK(model.default_max_output_tokens == 1024);
  CHECK(model.retry.max_attempts == 4);
  CHECK(model.retry.max_delay == 30s);
  CHECK(model.retry.max_hold == 120s);
  CHECK(model.limiter.describe() == adaptive().describe());
  const AdaptiveOptions learnt;
  CHECK(learnt.initial_in_flight == 1);
  CHECK(learnt.max_in_flight == 256);
  CHECK(learnt.queue.max_queue == 100'000);
  CHECK(learnt.queue.max_queue_time == 1h);
  CHECK(learnt.max_hold == 120s);
  const QuotaOptions stated;
  CHECK(stated.safety == doctest::Approx(0.99));
  CHECK(stated.profile.request_burst == 1s);
  CHECK(stated.profile.token_burst == 3s);
  CHECK(stated.queue.max_queue == 100'000);
  CHECK(stated.max_hold == 120s);
}

TEST_CASE("the defaults of a transport and of a runtime are those that the README states") {
  const OpenAIOptions transport;
  CHECK(transport.connect_timeout == 10s);
  CHECK(transport.first_byte_timeout == 300s);
  CHECK(transport.silence_timeout == 60s);
  CHECK(transport.total_timeout == 600s);
  CHECK(transport.max_response_bytes == 32UL * 1024 * 1024);
  CHECK(ParallelOptions{}.max_in_flight == 16);
  CHECK(RuntimeOptions{}.worker_threads == 8);
  CHECK(RuntimeOptions{}.stack_size == 256UL * 1024);
}

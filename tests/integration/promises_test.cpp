#include <doctest/doctest.h>

#include <chrono>
#include <moderato/moderato.hpp>

#include "provider_server.hpp"

using namespace moderato;
using namespace std::chrono_literals;

// What the library promises, shown end to end: agents on one side, a provider over real HTTP on the
// other, which counts for itself.

namespace {

const RetryOptions quick_retry{.base_delay = 1ms, .max_delay = 2ms};

ProviderServerOptions with_fault(FaultKind kind, std::int64_t every = 1) {
  ProviderServerOptions options;
  options.engine.faults = {{.kind = kind, .every = every}};
  return options;
}

AssistantAgent assistant_with(Model model) {
  return AssistantAgent({.name = "assistant", .model = std::move(model)});
}

UserProxyAgent user_until(Condition end) {
  return UserProxyAgent({.name = "user",
                         .human_input_mode = HumanInputMode::never,
                         .is_termination_msg = std::move(end),
                         .default_auto_reply = "Please go on."});
}

std::int64_t billed(const ProviderServer& server) {
  const SimulatedStats stats = server.stats();
  return stats.input_tokens + stats.output_tokens;
}

std::string texts(const ChatResult& chat) {
  return to_text(chat.transcript);
}

}  // namespace

TEST_CASE(
    "two agents talk over HTTP until one of them is done, and the provider's bill is the chat's") {
  const ProviderServer server;
  Runtime runtime;
  const Model model = runtime.model(openai({.model = "review", .base_url = server.base_url()}));
  const ChatResult chat = user_until(contains("TERMINATE"))
                              .initiate_chat(assistant_with(model), "Review this contract.");
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(chat.transcript.size() == 6);
  CHECK(chat.calls == 3);
  CHECK(server.stats().requests == 3);
  CHECK(chat.usage.total() == billed(server));
  CHECK(chat.usage.source == UsageSource::measured);
}

TEST_CASE("the ledger has a record for every request: replies, summaries and retries") {
  const ProviderServer server(with_fault(FaultKind::overloaded, 3));
  const auto ledger = std::make_shared<MemoryLedger>();
  Runtime runtime({.ledger = ledger});
  const Model model = runtime.model(openai({.model = "pingpong-4", .base_url = server.base_url()}),
                                    {.retry = quick_retry});
  const ChatResult chat = user_until(contains("TERMINATE"))
                              .initiate_chat(assistant_with(model), "Begin.",
                                             {.summary_method = reflection_with_llm()});
  CHECK_FALSE(chat.stop.error.has_value());
  CHECK(chat.calls == 5);
  CHECK(chat.attempts > chat.calls);
  std::int64_t sent = 0;
  std::int64_t summaries = 0;
  for (const CallRecord& record : ledger->records()) {
    if (record.attempt > 0) ++sent;
    if (record.purpose == Purpose::summary && record.ok()) ++summaries;
  }
  CHECK(sent == server.stats().requests);
  CHECK(sent == chat.attempts);
  CHECK(summaries == 1);
}

TEST_CASE("chats that share a budget never make the provider bill more, however they overlap") {
  ProviderServerOptions options;
  options.engine.latency = {.first_token = 2ms};
  const ProviderServer server(options);
  Runtime runtime;
  const Model model = runtime.model(openai({.model = "tokens-50", .base_url = server.base_url()}),
                                    {.limiter = unlimited()});
  const AssistantAgent assistant = assistant_with(model);
  const UserProxyAgent user = user_until(never());
  const auto budget = TokenBudget::make(3'000);
  const std::vector<int> numbers(8);
  const auto stops = runtime.parallel(numbers, {.max_in_flight = 8}, [&](int) {
    return user
        .initiate_chat(
            assistant, "Count.",
            {.shared_budget = budget, .repetition = {.report_after = 0, .stop_after = 0}})
        .stop.reason;
  });
  for (const StopReason reason : stops) CHECK(reason == StopReason::token_budget);
  CHECK(billed(server) > 1'000);
  CHECK(billed(server) <= 3'000);
  CHECK(budget->spent() == billed(server));
  CHECK(budget->reserved() == 0);
}

TEST_CASE("a provider whose slots are stated refuses nothing") {
  ProviderServerOptions options;
  options.engine.quota = {.max_in_flight = 3};
  options.engine.latency = {.first_token = 2ms};
  const ProviderServer server(options);
  Runtime runtime;
  const Model model = runtime.model(openai({.model = "echo", .base_url = server.base_url()}),
                                    {.limiter = quota({.max_in_flight = 3})});
  const AssistantAgent assistant = assistant_with(model);
  const UserProxyAgent user = user_until(never());
  const std::vector<int> numbers(40);
  runtime.parallel(numbers, {.max_in_flight = 40}, [&](int) {
    return user.initiate_chat(assistant, "Hello.", {.max_turns = 1}).stop;
  });
  CHECK(server.stats().requests == 40);
  CHECK(server.stats().successes == 40);
  CHECK(server.stats().peak_in_flight == 3);
}

TEST_CASE("whatever the provider does wrong, the chat ends with a stop and keeps its transcript") {
  for (const FaultKind kind :
       {FaultKind::server_error, FaultKind::overloaded, FaultKind::reset, FaultKind::stall,
        FaultKind::truncated, FaultKind::malformed_stream, FaultKind::slow_down,
        FaultKind::insufficient_quota, FaultKind::refuse_without_hint}) {
    for (const bool stream : {false, true}) {
      CAPTURE(to_string(kind));
      CAPTURE(stream);
      const ProviderServer server(with_fault(kind, 2));  // the second reply fails
      Runtime runtime;
      const Model model = runtime.model(openai({.model = "review",
                                                .base_url = server.base_url(),
                                                .first_byte_timeout = 100ms,
                                                .silence_timeout = 100ms}),
                                        {.limiter = unlimited(), .retry = {.max_attempts = 1}});
      const ChatResult chat =
          user_until(contains("TERMINATE"))
              .initiate_chat(assistant_with(model), "Review this contract.", {.stream = stream});
      CHECK(chat.stop.reason == StopReason::model_error);
      REQUIRE(chat.stop.error.has_value());
      CHECK(chat.transcript.size() == 3);
      CHECK(chat.calls == 1);
      CHECK(server.stats().requests == 2);
    }
  }
}

TEST_CASE("streamed replies are the same replies") {
  const ProviderServer server;
  Runtime runtime;
  const Model model = runtime.model(openai({.model = "review", .base_url = server.base_url()}));
  const AssistantAgent assistant = assistant_with(model);
  const UserProxyAgent user = user_until(contains("TERMINATE"));
  std::string pieces;
  const Observer listener = [&](const Event& event) {
    if (const auto* delta = std::get_if<TokenDelta>(&event.data)) pieces += delta->text;
  };
  const ChatResult whole = user.initiate_chat(assistant, "Review this contract.");
  const ChatResult streamed = user.initiate_chat(assistant, "Review this contract.",
                                                 {.observer = listener, .stream = true});
  CHECK(texts(whole) == texts(streamed));
  CHECK(whole.usage == streamed.usage);
  std::string said;
  for (const TranscriptEntry& entry : streamed.transcript) {
    if (entry.speaker == "assistant") said += (*entry.message)->text();
  }
  CHECK(pieces == said);
}

TEST_CASE("a tool that the model asks for is run, and its result goes back over the wire") {
  const ProviderServer server;
  Runtime runtime;
  const Tool weather = tool(
      "get_weather", "Weather in a city",
      [](const std::string& city, bool celsius) {
        return city + (celsius ? ": -4 °C" : ": 25 °F");
      },
      arg("city"), arg("celsius"));
  const AssistantAgent assistant(
      {.name = "assistant",
       .model = runtime.model(openai({.model = "weather", .base_url = server.base_url()})),
       .tools = {weather}});
  const ChatResult chat =
      user_until(contains("TERMINATE")).initiate_chat(assistant, "How is Oslo?");
  CHECK(chat.stop.reason == StopReason::termination_message);
  CHECK(chat.summary.find("The forecast says: Oslo: -4 °C") != std::string::npos);
  CHECK(chat.calls == 2);
}

TEST_CASE("a replay says the same and sends nothing") {
  const ProviderServer server;
  const auto journal = std::make_shared<MemoryJournal>();
  const auto talk = [&](JournalMode mode) {
    Runtime runtime;
    const Model model = runtime.model(openai({.model = "review", .base_url = server.base_url()}));
    Session session(runtime, {.id = "one", .journal = journal, .journal_mode = mode});
    return user_until(contains("TERMINATE"))
        .initiate_chat(assistant_with(model), "Review this contract.", {.session = &session});
  };
  const ChatResult recorded = talk(JournalMode::record);
  const std::int64_t requests = server.stats().requests;
  CHECK(requests == 3);
  const ChatResult replayed = talk(JournalMode::replay);
  CHECK(server.stats().requests == requests);
  CHECK(texts(replayed) == texts(recorded));
  CHECK(replayed.stop == recorded.stop);
  CHECK(replayed.usage == recorded.usage);
}

TEST_CASE("a stop token ends a call in flight at once") {
  const ProviderServer server(with_fault(FaultKind::stall));
  Runtime runtime;
  const Model model = runtime.model(openai({.model = "review", .base_url = server.base_url()}));
  std::stop_source source;
  const Observer stopper = [&](const Event& event) {
    if (std::holds_alternative<CallSent>(event.data)) source.request_stop();
  };
  const ChatResult chat = user_until(never()).initiate_chat(
      assistant_with(model), "Hello?", {.observer = stopper, .stop = source.get_token()});
  CHECK(chat.stop.reason == StopReason::cancelled);
  CHECK(chat.transcript.size() == 1);
}

#include <doctest/doctest.h>

#include <moderato/core/simulation.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/providers/openai.hpp>
#include <support/scripted_server.hpp>

using namespace moderato;
using namespace moderato::test;
using namespace std::chrono_literals;

namespace {

const std::string key = "sk-very-secret-0123456789";
const std::string good_answer =
    R"({"model":"m-1","choices":[{"message":{"role":"assistant","content":"Hello"},)"
    R"("finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}})";

ScriptedServer::Script answer_with(std::string body, std::string status = "200 OK",
                                   std::string headers = "") {
  return [=](ServerConnection& connection) {
    while (connection.read_request()) connection.answer(body, status, headers);
  };
}

std::string chunk(std::string_view delta, std::string_view finish = "null") {
  return "data: {\"choices\":[{\"delta\":" + std::string(delta) +
         ",\"finish_reason\":" + std::string(finish) + "}]}\n\n";
}

/// A model at the end of a real connection to a server that a test scripts.
struct World {
  explicit World(ScriptedServer::Script script, OpenAIOptions options = {}, int attempts = 1)
      : server(std::move(script)) {
    options.model = "m";
    options.base_url = server.url("/v1");
    options.api_key = key;
    model = runtime.model(
        openai(std::move(options)),
        {.limiter = unlimited(), .retry = {.max_attempts = attempts, .base_delay = 1ms}});
  }
  [[nodiscard]] Result<ModelReply> ask(bool stream = false) const {
    return model.complete({.messages = {store(Message::user("hi"))}, .stream = stream});
  }
  [[nodiscard]] Error error(bool stream = false) const {
    const auto reply = ask(stream);
    REQUIRE(!reply);
    CHECK(reply.error().message.find("secret") == std::string::npos);
    return reply.error();
  }
  ScriptedServer server;
  std::shared_ptr<MemoryLedger> ledger = std::make_shared<MemoryLedger>();
  Runtime runtime{{.ledger = ledger}};
  Model model;
};

}  // namespace

TEST_CASE("a question goes out as chat completions and its answer comes back") {
  ReceivedRequest received;
  World world(
      [&](ServerConnection& connection) {
        received = connection.read_request().value();
        connection.answer(good_answer, "200 OK", "x-request-id: req-7\r\n");
      },
      {.organization = "org-1", .project = "proj-1", .headers = {{"X-Own", "value"}}});
  const auto reply = world.ask();
  REQUIRE(reply);
  CHECK(reply->message == Message::assistant("Hello"));
  CHECK(reply->usage == Usage{.input = 9, .output = 2, .source = UsageSource::measured});
  CHECK(reply->request_id == "req-7");
  CHECK(reply->model == "m-1");
  CHECK(received.line() == "POST /v1/chat/completions HTTP/1.1");
  CHECK(received.header("authorization") == "Bearer " + key);
  CHECK(received.header("content-type") == "application/json");
  CHECK(received.header("openai-organization") == "org-1");
  CHECK(received.header("openai-project") == "proj-1");
  CHECK(received.header("x-own") == "value");
  CHECK(received.body == R"({"model":"m","messages":[{"role":"user","content":"hi"}]})");
  CHECK(world.ledger->records().at(0).http_status == 200);
}

TEST_CASE("a streamed answer arrives piece by piece") {
  World world([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    connection.write(": hello\n\n" + chunk(R"({"content":"Hel"})"));
    connection.write(chunk(R"({"content":"lo"})") + chunk("{}", "\"stop\""));
    connection.write(
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\n\n");
    connection.write("data: [DONE]\n\n");
  });
  std::vector<std::string> pieces;
  const auto reply =
      world.model.complete({.messages = {store(Message::user("hi"))},
                            .on_delta = [&](std::string_view text) { pieces.emplace_back(text); }});
  REQUIRE(reply);
  CHECK(reply->message == Message::assistant("Hello"));
  CHECK(reply->usage.total() == 11);
  CHECK(reply->time_to_first_token.has_value());
  CHECK(pieces == std::vector<std::string>{"Hel", "lo"});
}

TEST_CASE("a server that does not stream although it was asked to is understood") {
  World world(answer_with(good_answer, "200 OK", "Content-Type: application/json\r\n"));
  std::string heard;
  const auto reply =
      world.model.complete({.messages = {store(Message::user("hi"))},
                            .on_delta = [&](std::string_view text) { heard += text; }});
  REQUIRE(reply);
  CHECK(heard == "Hello");
}

TEST_CASE("a stream that breaks off is an error that shows what came") {
  World world([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    connection.write(chunk(R"({"content":"Half an ans"})"));
  });
  const Error error = world.error(true);
  CHECK(error.code == ErrorCode::protocol);
  CHECK(error.message.find("Half an ans") != std::string::npos);
  CHECK(world.ledger->records().at(0).usage.source == UsageSource::reserved);
}

TEST_CASE("an error in mid-stream is the provider's error") {
  World world([](ServerConnection& connection) {
    (void)connection.read_request();
    connection.write(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n");
    connection.write("data: {\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\"}}\n\n");
  });
  CHECK(world.error(true).code == ErrorCode::overloaded);
}

TEST_CASE("a refused key is shown to nobody, even where the server quotes it") {
  World world(answer_with(R"({"error":{"message":"Incorrect API key provided: )" + key +
                              R"(.","code":"invalid_api_key"}})",
                          "401 Unauthorized"));
  const Error error = world.error();
  CHECK(error.code == ErrorCode::authentication);
  CHECK(error.message == "Incorrect API key provided: [key].");
  CHECK(error.http_status == 401);
  CHECK(error.provider_code == "invalid_api_key");
}

TEST_CASE("what a server says about a bad request reaches the caller") {
  World bad(answer_with(R"({"error":{"message":"temperature must be below 2","code":null}})",
                        "400 Bad Request"));
  CHECK(bad.error().code == ErrorCode::invalid_request);
  CHECK(bad.error().message == "temperature must be below 2");
  World missing(
      answer_with(R"({"error":{"message":"The model m does not exist"}})", "404 Not Found"));
  CHECK(missing.error().code == ErrorCode::not_found);
}

TEST_CASE("a rate limit is retried after the server's own wait, a bill never") {
  int requests = 0;
  World limited(
      [&](ServerConnection& connection) {
        while (connection.read_request()) {
          if (requests++ == 0) {
            connection.answer(R"({"error":{"message":"slow","code":"rate_limit_exceeded"}})",
                              "429 Too Many Requests", "retry-after-ms: 20\r\n");
          } else {
            connection.answer(good_answer);
          }
        }
      },
      {}, 2);
  REQUIRE(limited.ask());
  CHECK(requests == 2);
  CHECK(limited.ledger->size() == 2);

  World unpaid(answer_with(R"({"error":{"message":"pay","type":"insufficient_quota"}})",
                           "429 Too Many Requests", "retry-after-ms: 20\r\n"),
               {}, 4);
  CHECK(unpaid.error().code == ErrorCode::quota_exhausted);
  CHECK(unpaid.server.requests() == 1);
}

TEST_CASE("answers that are no answers are protocol errors") {
  CHECK(World(answer_with("{\"choices\":[{\"mess")).error().code == ErrorCode::protocol);
  CHECK(World(answer_with("<html>welcome</html>")).error().message.find("welcome") !=
        std::string::npos);
  CHECK(World(answer_with("{}")).error().code == ErrorCode::protocol);
}

TEST_CASE("an answer beyond the size limit is given up") {
  World world(answer_with(std::string(100'000, ' ')), {.max_response_bytes = 10'000});
  CHECK(world.error().code == ErrorCode::too_large);
  // And beyond the limit that holds when nobody says one.
  World big(answer_with(R"({"choices":[{"message":{"content":")" + std::string(50'000'000, 'x')));
  CHECK(big.error().code == ErrorCode::too_large);
  CHECK(big.error().message.find("max_response_bytes") != std::string::npos);
}

TEST_CASE("nobody there is a connection error, and no attempt counts as sent") {
  Runtime runtime;
  Model model =
      runtime.model(openai({.model = "m",
                            .base_url = "http://127.0.0.1:" + std::to_string(closed_port()) + "/v1",
                            .api_key = key}),
                    {.limiter = unlimited(), .retry = {.max_attempts = 1}});
  CallTotals totals;
  const auto reply = model.complete({}, {.totals = &totals});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::connection);
  CHECK(totals.snapshot().attempts == 0);
}

TEST_CASE("a silent server is given up after the limit, and the call may be cancelled before") {
  World stalled([](ServerConnection& connection) { connection.wait_for_close(); },
                {.first_byte_timeout = 50ms});
  CHECK(stalled.error().code == ErrorCode::timeout);

  World waiting([](ServerConnection& connection) { connection.wait_for_close(); });
  std::stop_source stop;
  waiting.runtime.spawn([&] {
    sleep_for(20ms);
    stop.request_stop();
  });
  const auto reply = waiting.model.complete({}, {.stop = stop.get_token()});
  REQUIRE(!reply);
  CHECK(reply.error().code == ErrorCode::cancelled);
}

TEST_CASE("what cannot work is said before anything is sent") {
  Simulation simulation;
  const auto error = [&](OpenAIOptions options) {
    Model model = simulation.model(openai(std::move(options)), {.limiter = unlimited()});
    const auto reply = model.complete({});
    REQUIRE(!reply);
    CHECK(reply.error().message.find("secret") == std::string::npos);
    return reply.error();
  };
  CHECK(error({.model = "m"}).code == ErrorCode::authentication);
  CHECK(error({.model = "m"}).message.find("api_key") != std::string::npos);
  CHECK(error({.api_key = key}).message.find("model") != std::string::npos);
  CHECK(error({.model = "m", .api_key = key + "\n"}).code == ErrorCode::configuration);
  CHECK(error({.model = "m", .base_url = "localhost:8000/v1"}).code == ErrorCode::configuration);
  // A server of one's own needs no key; here the simulation says that it has no sockets.
  CHECK(error({.model = "m", .base_url = "http://localhost:8000/v1"}).message.find("Simulation") !=
        std::string::npos);
}

TEST_CASE("the name of a quota does not contain the key") {
  Simulation simulation;
  const auto name = [&](const char* api_key) {
    return openai({.model = "m", .api_key = api_key}).make(simulation)->quota_key();
  };
  CHECK(name("secret-1").find("secret") == std::string::npos);
  CHECK(name("secret-1") == name("secret-1"));
  CHECK(name("secret-1") != name("secret-2"));
}

TEST_CASE("a key that a server quotes where a text is cut does not leak its head") {
  const std::string begin = key.substr(0, 12);
  for (std::size_t at = 150; at < 210; ++at) {
    const std::string page = std::string(at, '.') + key + " is not valid";
    World plain(answer_with(page, "401 Unauthorized"));
    CHECK(plain.error().message.find(begin) == std::string::npos);
  }
  const std::string odd = std::string(190, '.') + key;
  World html(answer_with(odd));
  CHECK(html.error().message.find(begin) == std::string::npos);
  World long_text(answer_with(R"({"error":{"message":")" + std::string(1'990, '.') + key + R"("}})",
                              "401 Unauthorized"));
  CHECK(long_text.error().message.find(begin) == std::string::npos);
  World half(answer_with(chunk(R"({"content":")" + odd + R"("})"), "200 OK",
                         "Content-Type: text/event-stream\r\n"));
  CHECK(half.error(true).message.find(begin) == std::string::npos);
  World damaged(
      answer_with("data: " + odd + "\n\n", "200 OK", "Content-Type: text/event-stream\r\n"));
  CHECK(damaged.error(true).message.find(begin) == std::string::npos);
}

#include <doctest/doctest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "provider_server.hpp"

using namespace moderato;
using namespace std::chrono_literals;
namespace asio = boost::asio;
namespace http = boost::beast::http;

namespace {

using Response = http::response<http::string_body>;

/// One connection, with blocking calls.
class Client {
 public:
  explicit Client(const ProviderServer& server) : socket_(io_) {
    socket_.connect({asio::ip::address_v4::loopback(), server.port()});
  }

  void send(std::string_view bytes) { asio::write(socket_, asio::buffer(bytes)); }
  void post(std::string_view body, std::string_view headers = {},
            std::string_view path = "/v1/chat/completions") {
    send("POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(headers) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body));
  }
  void get(std::string_view path) {
    send("GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  Response read() {
    Response response;
    http::read(socket_, buffer_, response);
    return response;
  }
  Response ask(std::string_view body, std::string_view headers = {}) {
    post(body, headers);
    return read();
  }
  /// What read() fails with.
  boost::system::error_code read_error() {
    Response response;
    boost::system::error_code error;
    http::read(socket_, buffer_, response, error);
    return error;
  }
  /// Waits for the end of the connection.
  boost::system::error_code read_to_end(std::string& bytes) {
    boost::system::error_code error;
    asio::read(socket_, asio::dynamic_buffer(bytes), error);
    return error;
  }
  void close() { socket_.close(); }

 private:
  asio::io_context io_;
  asio::ip::tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
};

std::string question(std::string_view model, std::string_view more = "") {
  return R"({"model":")" + std::string(model) +
         R"(","messages":[{"role":"user","content":"hello there"}])" + std::string(more) + "}";
}

SimulatedEngineOptions with_fault(FaultKind kind) {
  return {.faults = {{.kind = kind, .every = 1}}};
}

Json json_of(const Response& response) {
  return Json::parse(response.body());
}

/// The data of each event of a stream.
std::vector<std::string> events_of(const Response& response) {
  std::vector<std::string> events;
  std::string_view left = response.body();
  while (!left.empty()) {
    const std::size_t end = left.find("\n\n");
    REQUIRE(end != std::string_view::npos);
    REQUIRE(left.substr(0, 6) == "data: ");
    events.emplace_back(left.substr(6, end - 6));
    left.remove_prefix(end + 2);
  }
  return events;
}

}  // namespace

TEST_CASE("a whole answer has the members that clients of chat completions look for") {
  const ProviderServer server;
  Client client(server);
  const auto response = client.ask(question("pingpong-1"));
  CHECK(response.result_int() == 200);
  CHECK(response["content-type"] == "application/json");
  CHECK(response["x-request-id"] == "req_00000001");
  const Json json = json_of(response);
  CHECK(json["object"] == "chat.completion");
  CHECK(json["model"] == "pingpong-1");
  CHECK(json["choices"][0]["index"] == 0);
  CHECK(json["choices"][0]["message"]["role"] == "assistant");
  CHECK(json["choices"][0]["message"]["content"] == "Reply 1. TERMINATE");
  CHECK(json["choices"][0]["finish_reason"] == "stop");
  CHECK(json["usage"]["prompt_tokens"] == 3 + 4);
  CHECK(json["usage"]["completion_tokens"] == 5);
  CHECK(json["usage"]["total_tokens"] == 12);
}

TEST_CASE("replies are counted in the request, roles in any order and content in parts") {
  const ProviderServer server;
  Client client(server);
  const auto response = client.ask(
      R"({"messages":[{"content":null,"role":"assistant","tool_calls":[]},)"
      R"({"role":"assistant","content":"a"},{"role":"user","content":[{"type":"text","text":"x"},)"
      R"({"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"y\u00e9"}]}],)"
      R"("model":"pingpong-3","max_tokens":null})");
  CHECK(json_of(response)["choices"][0]["message"]["content"] == "Reply 3. TERMINATE");
  const auto echo = client.ask(
      R"({"model":"echo","messages":[{"role":"user","content":[{"type":"text","text":"x"},)"
      R"({"type":"text","text":"y\u00e9"}]}]})");
  CHECK(json_of(echo)["choices"][0]["message"]["content"] == "xyé");
}

TEST_CASE("a streamed answer comes in chunks, with usage when it is asked for, and ends in DONE") {
  for (const bool packet_each : {true, false}) {
    CAPTURE(packet_each);
    const ProviderServer server({.packet_for_each_piece = packet_each});
    Client client(server);
    const auto response = client.ask(
        question("tokens-1000", R"(,"stream":true,"stream_options":{"include_usage":true})"));
    CHECK(response["content-type"] == "text/event-stream");
    const auto events = events_of(response);
    REQUIRE(events.size() == 1 + 1000 + 1 + 1 + 1);
    CHECK(Json::parse(events[0])["choices"][0]["delta"]["role"] == "assistant");
    std::string text;
    for (std::size_t i = 1; i <= 1000; ++i) {
      const Json event = Json::parse(events[i]);
      CHECK(event["object"] == "chat.completion.chunk");
      CHECK(event["choices"][0]["finish_reason"].is_null());
      text += event["choices"][0]["delta"]["content"].get<std::string>();
    }
    CHECK(text.size() == 4999);
    CHECK(Json::parse(events[1001])["choices"][0]["finish_reason"] == "stop");
    const Json usage = Json::parse(events[1002]);
    CHECK(usage["choices"].empty());
    CHECK(usage["usage"]["completion_tokens"] == 1250);
    CHECK(events[1003] == "[DONE]");

    // The connection goes on, and without the option there is no usage.
    const auto plain = events_of(client.ask(question("tokens-2", R"(,"stream":true)")));
    CHECK(plain.size() == 1 + 2 + 1 + 1);
    CHECK(!Json::parse(plain[1]).contains("usage"));
  }
}

TEST_CASE("a tool is called whole or in pieces") {
  const ProviderServer server;
  Client client(server);
  const std::string tools =
      R"(,"tools":[{"type":"function","function":{"name":"get_weather","parameters":{}}}])";
  const Json whole = json_of(client.ask(question("weather", tools)));
  const Json& message = whole["choices"][0]["message"];
  CHECK(message["content"].is_null());
  CHECK(message["tool_calls"][0]["function"]["name"] == "get_weather");
  const std::string arguments = message["tool_calls"][0]["function"]["arguments"];
  CHECK(whole["choices"][0]["finish_reason"] == "tool_calls");

  std::string name;
  std::string pieces;
  for (const auto& text : events_of(client.ask(question("weather", tools + R"(,"stream":true)")))) {
    if (text == "[DONE]") break;
    const Json delta = Json::parse(text)["choices"][0]["delta"];
    if (!delta.contains("tool_calls")) continue;
    const Json& call = delta["tool_calls"][0];
    CHECK(call["index"] == 0);
    if (call["function"].contains("name")) name = call["function"]["name"];
    pieces += call["function"]["arguments"].get<std::string>();
  }
  CHECK(name == "get_weather");
  CHECK(pieces == arguments);
}

TEST_CASE("bad requests are refused with OpenAI's form of an error, and the connection goes on") {
  const ProviderServer server;
  Client client(server);
  const auto check = [&](const std::string& body, std::string_view words) {
    CAPTURE(body);
    const auto response = client.ask(body);
    CHECK(response.result_int() == 400);
    const Json error = json_of(response)["error"];
    CHECK(error["type"] == "invalid_request_error");
    CHECK(error["message"].get<std::string>().find(words) != std::string::npos);
  };
  check("", "could not parse");
  check("{\"model\":\"echo\"", "could not parse");
  check("{\"model\":\"echo\",\"messages\":[],\"x\":[1,]}", "could not parse");
  check("{\"model\":\"\xff\"}", "could not parse");
  check("[]", "could not parse");
  check("{}", "model");
  check(R"({"model":"echo"})", "'messages'");
  check(R"({"model":"echo","messages":[]})", "'messages'");
  check(R"({"model":"echo","messages":[{"content":"x"}]})", "messages[0] has no 'role'");
  check(question("echo", R"(,"max_tokens":0)"), "max_tokens");
  CHECK(server.stats().requests == 0);

  client.get("/v2/nothing");
  CHECK(client.read().result_int() == 404);
  client.get("/v1/chat/completions");
  CHECK(client.read().result_int() == 404);
}

TEST_CASE("a key is asked for where one is set, but not for the counts") {
  const ProviderServer server({.api_key = "secret"});
  Client client(server);
  CHECK(client.ask(question("echo")).result_int() == 401);
  CHECK(client.ask(question("echo"), "Authorization: Bearer wrong\r\n").result_int() == 401);
  CHECK(client.ask(question("echo"), "Authorization: Bearer secret\r\n").result_int() == 200);
  client.get("/stats");
  CHECK(client.read().result_int() == 200);
}

TEST_CASE("models and counts can be asked for") {
  const ProviderServer server({.engine = {.quota = {.requests_per_minute = 2}}});
  Client client(server);
  client.get("/v1/models");
  CHECK(json_of(client.read())["data"][0]["object"] == "model");
  for (int i = 0; i < 3; ++i) (void)client.ask(question("pingpong-1"));
  client.get("/stats");
  const Json stats = json_of(client.read());
  CHECK(stats["requests"] == 3);
  CHECK(stats["successes"] == 2);
  CHECK(stats["refused"]["requests"] == 1);
  CHECK(stats["input_tokens"] == 14);
  CHECK(stats["output_tokens"] == 10);
  CHECK(stats["in_flight"] == 0);
  CHECK(stats["connections"] == 1);
  CHECK(stats == server.stats_json());
}

TEST_CASE("a refusal over HTTP has status 429, the words and the headers") {
  const ProviderServer server({.engine = {.quota = {.requests_per_minute = 1}}});
  Client client(server);
  const auto first = client.ask(question("echo"));
  CHECK(first["x-ratelimit-limit-requests"] == "1");
  CHECK(first["x-ratelimit-remaining-requests"] == "0");
  const auto refused = client.ask(question("echo", R"(,"stream":true)"));
  CHECK(refused.result_int() == 429);
  CHECK(refused.reason() == "Too Many Requests");
  CHECK(refused["retry-after"] == "60");
  CHECK(json_of(refused)["error"]["code"] == "rate_limit_exceeded");
  CHECK(json_of(refused)["error"]["message"].get<std::string>().find(
            "Limit 1, Used 1, Requested 1. Please try again in 1m0s.") != std::string::npos);
}

TEST_CASE("faults are real on the wire: errors, resets, cut and damaged answers") {
  {
    const ProviderServer server({.engine = with_fault(FaultKind::overloaded)});
    const auto response = Client(server).ask(question("echo"));
    CHECK(response.result_int() == 503);
    CHECK(json_of(response)["error"]["code"] == "server_is_overloaded");
  }
  {
    const ProviderServer server({.engine = with_fault(FaultKind::reset)});
    Client client(server);
    client.post(question("echo"));
    CHECK(client.read_error() == asio::error::connection_reset);
  }
  for (const std::string_view more : {"", R"(,"stream":true)"}) {
    CAPTURE(more);
    const ProviderServer server({.engine = with_fault(FaultKind::truncated)});
    Client client(server);
    client.post(question("review", more));
    CHECK(client.read_error() == http::error::partial_message);
  }
  {
    const ProviderServer server({.engine = with_fault(FaultKind::malformed_stream)});
    CHECK(!Json::accept(Client(server).ask(question("review")).body()));
    bool damaged = false;
    for (const auto& event :
         events_of(Client(server).ask(question("review", R"(,"stream":true)")))) {
      damaged = damaged || (event != "[DONE]" && !Json::accept(event));
    }
    CHECK(damaged);
  }
}

TEST_CASE("a client that leaves a stalled or a slow answer frees its slot") {
  for (const FaultKind fault : {FaultKind::stall, FaultKind::none}) {
    const ProviderServer server({.engine = {.quota = {.max_in_flight = 1},
                                            .latency = {.first_token = 1h},
                                            .faults = {{.kind = fault, .every = 1}}}});
    Client client(server);
    client.post(question("echo"));
    while (server.stats().in_flight == 0) std::this_thread::yield();
    CHECK(Client(server).ask(question("echo")).result_int() == 429);
    client.close();
    while (server.stats().in_flight > 0) std::this_thread::yield();
    CHECK(server.stats().successes == 0);
  }
}

TEST_CASE("answers take the time of the latency law") {
  const ProviderServer server({.engine = {.latency = {.first_token = 20ms, .per_token = 2ms}}});
  for (const std::string_view more : {"", R"(,"stream":true)"}) {
    Client client(server);
    const auto start = std::chrono::steady_clock::now();
    CHECK(client.ask(question("tokens-8", more)).result_int() == 200);  // 10 tokens
    CHECK(std::chrono::steady_clock::now() - start >= 39ms);
  }
}

TEST_CASE("requests that come at once on one connection are answered in order") {
  const ProviderServer server;
  Client client(server);
  for (const char* model : {"pingpong-1", "tokens-2", "pingpong-9"}) client.post(question(model));
  for (const char* text : {"Reply 1. TERMINATE", "word word", "Reply 1."}) {
    CHECK(json_of(client.read())["choices"][0]["message"]["content"] == text);
  }
}

TEST_CASE("an answer larger than the socket's buffer arrives whole") {
  const ProviderServer server;
  Client client(server);
  const std::string text(8'000'000, 'x');
  const auto response =
      client.ask(R"({"model":"echo","messages":[{"role":"user","content":")" + text + "\"}]}");
  CHECK(json_of(response)["choices"][0]["message"]["content"] == text);
}

TEST_CASE("Connection: close is respected, and anything that is not HTTP ends the connection") {
  const ProviderServer server;
  std::string bytes;
  Client closing(server);
  closing.post(question("echo"), "Connection: close\r\n");
  CHECK(closing.read_to_end(bytes) == asio::error::eof);
  CHECK(bytes.find("Connection: close") != std::string::npos);
  Client confused(server);
  confused.send("what is this?\r\n\r\n");
  bytes.clear();
  CHECK(confused.read_to_end(bytes));
  CHECK(bytes.empty());
}

TEST_CASE("a hundred connections are served at once, and the counts know them") {
  const ProviderServer server({.engine = {.latency = {.first_token = 50ms}}});
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(std::make_unique<Client>(server));
  for (auto& client : clients) client->post(question("echo"));
  for (auto& client : clients) CHECK(client->read().result_int() == 200);
  const Json stats = server.stats_json();
  CHECK(stats["successes"] == 100);
  CHECK(stats["connections"] == 100);
  CHECK(stats["peak_in_flight"].get<int>() > 50);
}

TEST_CASE(
    "stop closes the port and every connection, whatever it waits for, and keeps the counts") {
  ProviderServer server({.engine = with_fault(FaultKind::stall)});
  Client idle(server);
  Client waiting(server);
  waiting.post(question("echo"));
  while (server.stats().requests == 0) std::this_thread::yield();
  server.stop();
  std::string bytes;
  CHECK(idle.read_to_end(bytes));
  CHECK(waiting.read_to_end(bytes));
  CHECK(bytes.empty());
  CHECK(server.stats_json()["requests"] == 1);
  CHECK(server.stats_json()["connections"] == 0);
  CHECK_THROWS(Client{server});
  server.stop();
}

TEST_CASE("a port that is taken is an error that names it") {
  const ProviderServer server;
  CHECK_THROWS_WITH_AS(ProviderServer({.port = server.port()}),
                       doctest::Contains(std::to_string(server.port()).c_str()),
                       std::runtime_error);
}

#include <doctest/doctest.h>

#include <cmath>

#include <moderato/llm/providers/openai_request.hpp>

using namespace moderato;

namespace {

struct Asked {
  ModelRequest request{};
  std::optional<std::int64_t> cap{};
  bool streamed = false;
};

Result<std::string> body_of(const Asked& asked,
                            OpenAIRequestWriter::Options options = {.model = "m"}) {
  OpenAIRequestWriter writer(std::move(options));
  ProviderRequest request{.request = asked.request, .max_output_tokens = asked.cap};
  if (asked.streamed) request.on_delta = [](std::string_view) {};
  return writer.body(request);
}

std::string wire(const Message& message, bool with_name = true) {
  std::string out;
  append_openai_message(out, message, with_name);
  return out;
}

}  // namespace

TEST_CASE("the smallest request has a model and messages, and nothing that nobody asked for") {
  CHECK(body_of({.request = {.messages = {store(Message::user("hi"))}}}) ==
        R"({"model":"m","messages":[{"role":"user","content":"hi"}]})");
}

TEST_CASE("every setting is sent under its name") {
  Sampling sampling{.temperature = 0.5,
                    .top_p = 1.0,
                    .stop = {"END", "\n"},
                    .seed = -7,
                    .response_format = Json{{"type", "json_object"}},
                    .parallel_tool_calls = false,
                    .reasoning_effort = "low",
                    .tool_choice = "required",
                    .extra = Json{{"user", "u1"}, {"logit_bias", {{"50256", -100}}}}};
  auto tools = std::make_shared<const std::vector<ToolDefinition>>(std::vector<ToolDefinition>{
      {.name = "get_weather",
       .description = "Weather",
       .parameters = Json{{"type", "object"}, {"properties", Json::object()}},
       .strict = true},
      {.name = "now"}});
  const auto body = body_of(
      {.request = {.messages = {store(Message::user("hi"))}, .tools = tools, .sampling = sampling},
       .cap = 99,
       .streamed = true});
  CHECK(
      body ==
      R"({"model":"m","messages":[{"role":"user","content":"hi"}],)"
      R"("tools":[{"type":"function","function":{"name":"get_weather","description":"Weather",)"
      R"("parameters":{"type":"object","properties":{}},"strict":true}},)"
      R"({"type":"function","function":{"name":"now","parameters":{"type":"object","properties":{}}}}],)"
      R"("tool_choice":"required","parallel_tool_calls":false,)"
      R"("temperature":0.5,"top_p":1,"stop":["END","\n"],"seed":-7,)"
      R"("response_format":{"type":"json_object"},"reasoning_effort":"low",)"
      R"("user":"u1","logit_bias":{"50256":-100},"max_completion_tokens":99,)"
      R"("stream":true,"stream_options":{"include_usage":true}})");
  CHECK(Json::accept(*body));
}

TEST_CASE("a tool choice that names a tool is sent as an object") {
  auto tools = std::make_shared<const std::vector<ToolDefinition>>(
      std::vector<ToolDefinition>{{.name = "now"}});
  const auto body = body_of({.request = {.tools = tools, .sampling = {.tool_choice = "now"}}});
  REQUIRE(body);
  CHECK(body->find(R"("tool_choice":{"type":"function","function":{"name":"now"}})") !=
        std::string::npos);
}

TEST_CASE("settings about tools are left out where there are no tools") {
  const auto body =
      body_of({.request = {.sampling = {.parallel_tool_calls = true, .tool_choice = "auto"}}});
  CHECK(body == R"({"model":"m","messages":[]})");
}

TEST_CASE(
    "servers that know only max_tokens, no usage chunk and no names get what they understand") {
  const auto body = body_of(
      {.request = {.messages = {store(Message::user("hi", "ann"))}}, .cap = 5, .streamed = true},
      {.model = "m", .max_completion_tokens = false, .stream_usage = false, .send_names = false});
  CHECK(
      body ==
      R"({"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true})");
}

TEST_CASE("the model's own settings complete those of the request") {
  const ModelRequest request{.sampling = {.temperature = 0.1}};
  const Sampling completed{.temperature = 0.1, .seed = 3};
  OpenAIRequestWriter writer({.model = "m"});
  CHECK(writer.body({.request = request, .completed_sampling = &completed}) ==
        R"({"model":"m","messages":[],"temperature":0.1,"seed":3})");
}

TEST_CASE("extra members cannot get round what the library sends itself") {
  for (const char* name : {"n", "max_tokens", "max_completion_tokens", "stream", "messages"}) {
    CAPTURE(name);
    const auto body = body_of({.request = {.sampling = {.extra = Json{{name, 5}}}}});
    REQUIRE(!body);
    CHECK(body.error().code == ErrorCode::invalid_request);
    CHECK(body.error().message.find(name) != std::string::npos);
  }
  CHECK(body_of({.request = {.sampling = {.extra = Json::array()}}}).error().code ==
        ErrorCode::invalid_request);
}

TEST_CASE("a number that JSON does not have is an invalid request") {
  CHECK(body_of({.request = {.sampling = {.temperature = std::nan("")}}}).error().code ==
        ErrorCode::invalid_request);
}

TEST_CASE("messages are written in the shape of their role") {
  CHECK(wire(Message::system("be brief")) == R"({"role":"system","content":"be brief"})");
  CHECK(wire({.role = Role::developer, .content = "be brief"}) ==
        R"({"role":"developer","content":"be brief"})");
  CHECK(wire(Message::user("hi", "user proxy!")) ==
        R"({"role":"user","content":"hi","name":"user_proxy_"})");
  CHECK(wire(Message::user("hi", "user proxy!"), false) == R"({"role":"user","content":"hi"})");
  CHECK(wire(Message::tool("c1", "4")) == R"({"role":"tool","content":"4","tool_call_id":"c1"})");
  CHECK(wire({.role = Role::function, .content = "4", .name = "add"}, false) ==
        R"({"role":"function","content":"4","name":"add"})");
  CHECK(wire({.role = Role::assistant, .content = nullptr, .refusal = "I cannot"}) ==
        R"({"role":"assistant","content":null,"refusal":"I cannot"})");
}

TEST_CASE("null content is null only for an assistant") {
  CHECK(wire({.role = Role::assistant}) == R"({"role":"assistant","content":null})");
  CHECK(wire({.role = Role::user}) == R"({"role":"user","content":""})");
}

TEST_CASE("parts are sent as parts, pictures by URL") {
  CHECK(wire({.role = Role::user,
              .content = std::vector<ContentPart>{TextPart{"what is this?"},
                                                  ImagePart{"https://x/y.png", "low"},
                                                  ImagePart{"https://x/z.png"}}}) ==
        R"({"role":"user","content":[{"type":"text","text":"what is this?"},)"
        R"({"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}},)"
        R"({"type":"image_url","image_url":{"url":"https://x/z.png"}}]})");
}

TEST_CASE("calls are sent with their ids, and get one by their place where they have none") {
  CHECK(
      wire({.role = Role::assistant,
            .tool_calls = {{.id = "c1", .name = "get weather", .arguments = R"({"a":1})"},
                           {.name = "now"}}}) ==
      R"({"role":"assistant","content":null,"tool_calls":[)"
      R"({"id":"c1","type":"function","function":{"name":"get_weather","arguments":"{\"a\":1}"}},)"
      R"({"id":"call_1","type":"function","function":{"name":"now","arguments":"{}"}}]})");
  CHECK(wire({.role = Role::assistant, .function_call = FunctionCall{"add", "{}"}}) ==
        R"({"role":"assistant","content":null,"function_call":{"name":"add","arguments":"{}"}})");
}

TEST_CASE("a message that answers several calls becomes one tool message for each") {
  const std::vector<ToolResponse> responses{{.tool_call_id = "c1", .content = "one"},
                                            {.content = "two"},
                                            {.role = Role::function, .content = "3", .name = "f"}};
  const std::string unrolled = R"({"role":"tool","tool_call_id":"c1","content":"one"},)"
                               R"({"role":"tool","tool_call_id":"call_1","content":"two"},)"
                               R"({"role":"function","name":"f","content":"3"})";
  CHECK(wire({.role = Role::tool, .content = "one\n\ntwo\n\n3", .tool_responses = responses}) ==
        unrolled);
  // With another role the message itself has something to say, too.
  CHECK(wire({.role = Role::user, .content = "and?", .tool_responses = responses}) ==
        unrolled + R"(,{"role":"user","content":"and?"})");
}

TEST_CASE("bytes that are not UTF-8 are replaced before they are sent") {
  CHECK(wire(Message::user("a\xFF"
                           "b")) ==
        "{\"role\":\"user\",\"content\":\"a\xEF\xBF\xBD"
        "b\"}");
}

TEST_CASE("a message is serialised once, and each later request splices the same bytes") {
  const auto message = store(Message::user("hi"));
  OpenAIRequestWriter writer({.model = "m"});
  const ModelRequest one{.messages = {message}};
  const ModelRequest two{.messages = {message, message}};
  REQUIRE(writer.body({.request = one}));
  CHECK(
      writer.body({.request = two}) ==
      R"({"model":"m","messages":[{"role":"user","content":"hi"},{"role":"user","content":"hi"}]})");
}

TEST_CASE("a body that is built upon the last one is the body that is made anew") {
  OpenAIRequestWriter writer({.model = "m"});
  PromptMemory memory;
  ModelRequest request{.messages = {store(Message::system("rules"))}, .memory = &memory};
  const auto check = [&] {
    const ProviderRequest attempt{.request = request, .max_output_tokens = 9};
    auto body = writer.body(attempt);
    CHECK(body == body_of({.request = {.messages = request.messages}, .cap = 9}));
    OpenAIRequestWriter::keep(attempt, std::move(*body));
  };
  check();
  for (const char* text : {"one", "two", "three"}) {
    request.messages.push_back(store(Message::user(text)));
    check();
    check();  // as a retry does
  }
  request.messages.erase(request.messages.begin() + 1);  // the rest moved: it is read anew
  check();
  request.messages.front() = store(Message::system("other rules"));
  check();
  request.messages.clear();
  check();
}

TEST_CASE("the memory of one model's body does not end up in another model's") {
  PromptMemory memory;
  const ModelRequest request{.messages = {store(Message::user("hi"))}, .memory = &memory};
  const ProviderRequest attempt{.request = request};
  OpenAIRequestWriter first({.model = "first"});
  OpenAIRequestWriter::keep(attempt, *first.body(attempt));
  OpenAIRequestWriter second({.model = "second"});
  CHECK(second.body(attempt) ==
        R"({"model":"second","messages":[{"role":"user","content":"hi"}]})");
}

TEST_CASE("names follow the API's rule") {
  CHECK(openai_name("planner") == "planner");
  CHECK(openai_name("Анна B") == "_________B");
  CHECK(openai_name(std::string(100, 'x')).size() == 64);
}

TEST_CASE("a base URL becomes the address of chat completions") {
  const auto url = [](const std::string& base) { return openai_endpoint(base).value().url; };
  CHECK(url("https://api.openai.com/v1") == "https://api.openai.com/v1/chat/completions");
  CHECK(url("http://localhost:8000/v1/") == "http://localhost:8000/v1/chat/completions");
  CHECK(url("http://[::1]:8000") == "http://[::1]:8000/chat/completions");
  CHECK(url("https://x.openai.azure.com/openai/deployments/d?api-version=2024-10-21") ==
        "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21");
  CHECK(openai_endpoint("HTTPS://API.OpenAI.com:443/v1").value().host == "api.openai.com");
}

TEST_CASE("a base URL that cannot be right is refused, and no secret in it is shown") {
  for (const char* base :
       {"", "api.openai.com/v1", "ftp://x/v1", "https://", "https:///v1", "https://x/v 1",
        "https://x/v1\n", "https://x/#a", "https://me:pw@x/v1"}) {
    CAPTURE(base);
    const auto endpoint = openai_endpoint(base);
    REQUIRE(!endpoint);
    CHECK(endpoint.error().code == ErrorCode::configuration);
    CHECK(endpoint.error().message.find("pw") == std::string::npos);
  }
}

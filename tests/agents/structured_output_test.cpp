#include <doctest/doctest.h>

#include <moderato/agents/structured_output.hpp>
#include <moderato/llm/providers/simulated.hpp>

#include "scene.hpp"

using namespace moderato;
using namespace moderato::scene;

namespace {

struct Verdict {
  bool approved = false;
  std::int64_t score = 0;
  std::vector<std::string> objections{};
};

}  // namespace

template <>
struct moderato::Describe<Verdict> {
  static constexpr auto fields =
      std::tuple{field("approved", &Verdict::approved),
                 field("score", &Verdict::score, "Of ten").between(0, 10),
                 field("objections", &Verdict::objections).may_be_absent()};
};

namespace {

const char* const good = R"({"approved": true, "score": 7, "objections": ["long"]})";

ModelRequest question() {
  return {.messages = {store(Message::user("Is it good?"))}};
}

// Answers with these texts in turn, and keeps the requests.
struct Asked {
  Asked(Runtime& runtime, std::vector<ScriptedReply> replies) : answers(std::move(replies)) {
    model = runtime.model(scripted([this](const ModelRequest& request) -> Result<ModelReply> {
                            formats.push_back(request.sampling.response_format);
                            prompts.push_back(shown(request.messages));
                            const ScriptedReply& next = answers.at(prompts.size() - 1);
                            if (const auto* error = std::get_if<Error>(&next)) return fail(*error);
                            return ModelReply{Message::assistant(std::get<std::string>(next))};
                          }),
                          {.limiter = unlimited(), .retry = {.max_attempts = 1}});
  }
  std::vector<ScriptedReply> answers;
  Model model;
  std::vector<Lines> prompts;
  std::vector<Json> formats;
};

}  // namespace

TEST_CASE("a C++ value is asked for by response_format, and returned") {
  Simulation world;
  Asked asked(world, {good});
  const auto verdict = ask_for<Verdict>(asked.model, question());
  REQUIRE(verdict.has_value());
  CHECK(verdict->approved);
  CHECK(verdict->score == 7);
  CHECK(verdict->objections == std::vector<std::string>{"long"});
  const Json& format = asked.formats.at(0);
  CHECK(format["type"] == "json_schema");
  CHECK(format["json_schema"]["strict"] == true);
  CHECK(format["json_schema"]["schema"]["additionalProperties"] == false);
  CHECK(asked.prompts[0].size() == 1);
}

TEST_CASE("an answer that does not fit goes back with what is wrong, and is asked for again") {
  Simulation world;
  Asked asked(world, {R"({"approved": "yes", "score": 70})", "Sorry!", good});
  const auto verdict = ask_for<Verdict>(asked.model, question());
  REQUIRE(verdict.has_value());
  REQUIRE(asked.prompts.size() == 3);
  const std::string& told = asked.prompts[1].back();
  CHECK(told.find("approved") != std::string::npos);
  CHECK(told.find("score") != std::string::npos);
  CHECK(asked.prompts[2].back().find("it holds no JSON object") != std::string::npos);
}

TEST_CASE("the tries are bounded, and the error says what was wrong with the last answer") {
  Simulation world;
  Asked asked(world, {"no", "no", "no"});
  const auto verdict = ask_for<Verdict>(asked.model, question(), {.max_tries = 2});
  REQUIRE_FALSE(verdict.has_value());
  CHECK(verdict.error().code == ErrorCode::protocol);
  CHECK(verdict.error().message ==
        "no answer of 2 tries can be used; the last: it holds no JSON object");
  CHECK(asked.prompts.size() == 2);
}

TEST_CASE("a provider that knows no response_format is asked in words") {
  Simulation world;
  Asked asked(world, {Error{.code = ErrorCode::invalid_request, .message = "response_format"},
                      std::string("Here it is:\n```json\n") + good + "\n```"});
  const auto verdict = ask_for<Verdict>(asked.model, question());
  REQUIRE(verdict.has_value());
  CHECK(asked.formats[1].is_null());
  CHECK(asked.prompts[1].back().find("JSON Schema") != std::string::npos);
}

TEST_CASE("another failure of the call is the result") {
  Simulation world;
  Asked asked(world, {Error{.code = ErrorCode::overloaded, .message = "later"}});
  const auto verdict = ask_for<Verdict>(asked.model, question());
  REQUIRE_FALSE(verdict.has_value());
  CHECK(verdict.error().code == ErrorCode::overloaded);
}

TEST_CASE("an agent is asked with its system message, on its session's account") {
  Simulation world;
  Asked asked(world, {good});
  AssistantAgent judge({.name = "judge", .system_message = "Be strict.", .model = asked.model});
  Session session(world);
  const auto verdict = ask_for<Verdict>(judge, "Is it good?", {}, &session);
  REQUIRE(verdict.has_value());
  CHECK(asked.prompts[0] == Lines{"system : Be strict.", "user : Is it good?"});
  CHECK(session.totals().snapshot().calls == 1);
}

TEST_CASE("tries draw on the token budget, which bounds them") {
  Simulation world;
  Asked asked(world, {"no", "no", "no"});
  Session session(world, {.budget = TokenBudget::make(400)});
  const auto verdict = ask_for<Verdict>(
      asked.model, question(), {.ask_by = ShapeRequest::response_format}, session.context("judge"));
  REQUIRE_FALSE(verdict.has_value());
  CHECK(session.options().budget->spent() <= 400);
}

TEST_CASE("a value is read from a text that holds it") {
  CHECK(read_as<Verdict>(std::string("I think ") + good + ".")->score == 7);
  CHECK(read_as<Verdict>(std::string("```json\n{\"example\": 1}\n```\nso:\n```json\n") + good +
                         "\n```")
            ->score == 7);  // the first object that fits, not the first
  CHECK_FALSE(read_as<Verdict>("nothing").has_value());
  CHECK_FALSE(read_as<Verdict>(R"({"approved": true, "score": 11})").has_value());
}

TEST_CASE("an answer that the budget cut off is not asked for again") {
  Simulation world;
  const SimulatedProvider provider;
  const Model model = world.model(provider.provider("tokens-5000"), {.limiter = unlimited()});
  CallContext context;
  context.budget = TokenBudget::make({.total = 1200});
  const auto verdict = ask_for<Verdict>(model, question(), {}, context);
  REQUIRE_FALSE(verdict.has_value());
  CHECK(verdict.error().code == ErrorCode::budget_exhausted);
  CHECK(verdict.error().message.starts_with("the budget cut the answer off after "));
  CHECK(provider.stats().successes == 1);
}

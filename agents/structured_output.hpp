#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <moderato/agents/conversable_agent.hpp>
#include <moderato/agents/describe.hpp>
#include <moderato/agents/tool_types.hpp>
#include <moderato/core/call_context.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

/// How a model is told which shape its answer must have.
enum class ShapeRequest : std::uint8_t {
  /// response_format; if the provider refuses it, in words.
  automatic,
  response_format,
  words,
};

struct StructuredOptions {
  /// Answers that are looked at; an answer that does not fit is sent back with what is wrong about
  /// it. ≥ 1.
  int max_tries = 3;
  ShapeRequest ask_by = ShapeRequest::automatic;
  std::string name = "answer";  ///< Of the shape: ^[a-zA-Z0-9_-]{1,64}$.
};

/// Asks for an answer that fits a JSON Schema of type object. Each try is a call like any other:
/// budget, quota, ledger and journal see it. Errors: those of the call; protocol if no answer fits
/// within the tries (the message says what was wrong with the last one); invalid_request for
/// max_tries < 1 or no messages.
[[nodiscard]] Result<Json> complete_json(const Model& model, ModelRequest request,
                                         const Json& schema, const StructuredOptions& options = {},
                                         const CallContext& context = {});

/// The JSON object in an answer: the whole text, or what a fence or the outermost braces hold.
/// Errors protocol: none; it does not fit (each problem is named).
[[nodiscard]] Result<Json> find_json(std::string_view text, const Json& schema);

/// Asks a model for a C++ value. T is an aggregate that Describe describes, as for tools:
///
///     struct Verdict { bool approved = false; std::vector<std::string> objections; };
///     template <> struct moderato::Describe<Verdict> { … };
///
///     Result<Verdict> verdict = ask_for<Verdict>(model, {.messages =
///     {store(Message::user(text))}});
template <DescribedAggregate T>
[[nodiscard]] Result<T> ask_for(const Model& model, ModelRequest request,
                                const StructuredOptions& options = {},
                                const CallContext& context = {});

/// The same from an agent: its model, with its system message and settings, is asked `question`.
/// Nothing is stored. With a session the call belongs to it.
template <DescribedAggregate T>
[[nodiscard]] Result<T> ask_for(const ConversableAgent& agent, std::string question,
                                const StructuredOptions& options = {}, Session* session = nullptr);

/// Reads a value from a text that holds it as JSON: a chat's summary, say.
template <DescribedAggregate T>
[[nodiscard]] Result<T> read_as(std::string_view text);

namespace detail {

/// The request and context that ask_for makes for an agent.
[[nodiscard]] std::pair<ModelRequest, CallContext> question_for(const ConversableAgent& agent,
                                                                std::string question,
                                                                Session* session);

template <class T>
[[nodiscard]] Result<T> value_of(Result<Json> json) {
  if (!json) return fail(std::move(json).error());
  try {
    return ToolType<T>::read(*json);
  } catch (const std::exception& error) {
    return fail(ErrorCode::protocol, error.what());
  }
}

}  // namespace detail

template <DescribedAggregate T>
Result<T> ask_for(const Model& model, ModelRequest request, const StructuredOptions& options,
                  const CallContext& context) {
  return detail::value_of<T>(
      complete_json(model, std::move(request), ToolType<T>::schema(), options, context));
}

template <DescribedAggregate T>
Result<T> ask_for(const ConversableAgent& agent, std::string question,
                  const StructuredOptions& options, Session* session) {
  auto [request, context] = detail::question_for(agent, std::move(question), session);
  return ask_for<T>(agent.model(), std::move(request), options, context);
}

template <DescribedAggregate T>
Result<T> read_as(std::string_view text) {
  return detail::value_of<T>(find_json(text, ToolType<T>::schema()));
}

}  // namespace moderato

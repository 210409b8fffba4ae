#include "recorder.hpp"

#include <fmt/core.h>

#include <stdexcept>

#include <moderato/agents/conversable_agent.hpp>

namespace moderato::conformance {
namespace {

std::int64_t words_in(std::string_view text) {
  std::int64_t words = 0;
  bool inside = false;
  for (const char byte : text) {
    const bool space = byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
    if (!space && !inside) ++words;
    inside = !space;
  }
  return words;
}

Error scripted_error(const Value& error) {
  if (error.value("timeout", false)) {
    return {.code = ErrorCode::timeout, .message = "scripted timeout"};
  }
  if (error.value("connection", false)) {
    return {.code = ErrorCode::connection, .message = "scripted connection error"};
  }
  const int status = error.value("status", 500);
  ErrorCode code = ErrorCode::server_error;
  if (status == 400 || status == 422) code = ErrorCode::invalid_request;
  if (status == 401 || status == 403) code = ErrorCode::authentication;
  if (status == 404) code = ErrorCode::not_found;
  if (error.value("code", Value()) == "content_filter") code = ErrorCode::content_filtered;
  if (status == 429) code = ErrorCode::rate_limited;
  return {.code = code, .message = error.value("message", "scripted error"), .http_status = status};
}

class ScriptedModel final : public Provider {
 public:
  /// `entry`: which of several models of the agent; -1: it has one.
  ScriptedModel(std::shared_ptr<Recorder> recorder, std::string agent, const Value& model,
                int entry)
      : recorder_(std::move(recorder)),
        agent_(std::move(agent)),
        entry_(entry),
        replies_(model.at("replies")),
        on_exhausted_(model.value("on_exhausted", "error")),
        name_(model.value(
            "model", entry < 0 ? agent_ + "-model" : fmt::format("{}-model-{}", agent_, entry))) {}

  ProviderOutcome send(const ProviderRequest& request, const CallContext& context) override {
    recorder_->trace.push_back({"model", agent_});
    Value call{{"agent", agent_}, {"messages", Value::array()}};
    for (const MessagePtr& message : request.request.messages) {
      call["messages"].push_back(as_value(**message));
    }
    if (request.request.tools) {
      for (const ToolDefinition& tool : *request.request.tools) call["tools"].push_back(tool.name);
    }
    if (entry_ >= 0) call["config"] = entry_;
    if (context.purpose == Purpose::summary) call["for"] = "summary";
    if (context.purpose == Purpose::speaker_selection) call["for"] = "select_speaker";
    if (const auto& temperature = request.request.sampling.temperature) {
      call["params"]["temperature"] = *temperature;
    }
    if (request.max_output_tokens) call["params"]["max_tokens"] = *request.max_output_tokens;
    const Value* reply = next();
    if (reply == nullptr) {
      call["exhausted"] = true;
      recorder_->model_script_ended = true;
    }
    recorder_->model_calls.push_back(std::move(call));
    return outcome(reply, request.request);
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "conformance"; }
  [[nodiscard]] std::string_view model() const noexcept override { return name_; }
  [[nodiscard]] std::string quota_key() const override { return "conformance/" + agent_; }

 private:
  const Value* next() {
    if (position_ == replies_.size()) {
      if (replies_.empty() || on_exhausted_ == "error") return nullptr;
      position_ = on_exhausted_ == "cycle" ? 0 : replies_.size() - 1;
    }
    return &replies_[position_++];
  }

  static ProviderOutcome outcome(const Value* reply, const ModelRequest& request) {
    ProviderOutcome outcome;
    outcome.reached = Reached::answered;
    outcome.http_status = 200;
    if (reply == nullptr) {
      outcome.reply = fail(ErrorCode::invalid_request, "the model script has ended");
      return outcome;
    }
    if (reply->is_object() && reply->contains("error")) {
      Error error = scripted_error((*reply)["error"]);
      outcome.http_status = error.http_status;
      outcome.reply = fail(std::move(error));
      return outcome;
    }
    if (reply->is_object() && reply->value("interrupt", false)) {
      outcome.reply = fail(ErrorCode::cancelled, "interrupted");
      return outcome;
    }
    Value message = reply->is_object() ? *reply : Value{{"content", *reply}};
    message["role"] = "assistant";
    if (!message.contains("content")) message["content"] = nullptr;
    auto parsed = message_from_json(as_json(message));
    if (!parsed) {
      outcome.reply = fail(parsed.error());
      return outcome;
    }
    ModelReply answer{.message = std::move(*parsed), .finish_reason = "stop"};
    const Value usage = reply->is_object() ? reply->value("usage", Value::object()) : Value();
    answer.usage = {.input = static_cast<std::int64_t>(request.messages.size()),
                    .output = words_in(answer.message.text()),
                    .source = UsageSource::measured};
    if (usage.is_object()) {
      answer.usage.input = usage.value("prompt_tokens", answer.usage.input);
      answer.usage.output = usage.value("completion_tokens", answer.usage.output);
    }
    outcome.reply = std::move(answer);
    return outcome;
  }

  std::shared_ptr<Recorder> recorder_;
  std::string agent_;
  int entry_;
  Value replies_;
  std::string on_exhausted_;
  std::string name_;
  std::size_t position_ = 0;
};

std::string autogen_prompt(const HumanPrompt& prompt) {
  switch (prompt.situation) {
    case HumanSituation::opening:
      return ">";
    case HumanSituation::before_answer:
      return fmt::format(
          "Replying as {}. Provide feedback to {}. Press enter to skip and use auto-reply, or type "
          "'exit' to end the conversation: ",
          prompt.agent, prompt.peer);
    case HumanSituation::on_termination:
      return fmt::format(
          "Please give feedback to {}. Press enter or type 'exit' to stop the conversation: ",
          prompt.peer);
    case HumanSituation::tool_approval:
      return prompt.text;
    case HumanSituation::at_cap:
      return fmt::format(
          "Please give feedback to {}. Press enter to skip and use auto-reply, or type 'exit' to "
          "stop "
          "the conversation: ",
          prompt.peer);
    case HumanSituation::choose_speaker:
      return "Enter the number of the next speaker (enter nothing or `q` to use auto selection): ";
  }
  return {};
}

// The rules that our own conditions have are tested as those; the rest is spelled out.
Condition rule_from(const Value& rule) {
  if (rule.is_null()) return default_termination_message();
  if (rule == "never") return predicate("never", [](const Message&) { return false; });
  if (rule == "always") return predicate("always", [](const Message&) { return true; });
  const auto only = rule.begin();
  const std::string& kind = only.key();
  const Value& value = only.value();
  if (kind == "contains") return contains(value.get<std::string>());
  if (kind == "equals") return equals(value.get<std::string>());
  if (kind == "ends_with") return ends_with(value.get<std::string>());
  if (kind == "regex") return regex(value.get<std::string>());
  if (kind == "name") {
    return predicate("name", [name = value.get<std::string>()](const Message& message) {
      return message.name == name;
    });
  }
  if (kind == "no_tool_calls") {
    return predicate("no_tool_calls",
                     [](const Message& message) { return message.tool_calls.empty(); });
  }
  throw std::runtime_error("unknown termination rule " + kind);
}

}  // namespace

Value as_value(const Json& json) {
  return Value::parse(dump_json(json));
}
Json as_json(const Value& value) {
  return Json::parse(value.dump());
}
Value as_value(const Message& message) {
  return as_value(to_json(message));
}

const std::shared_ptr<ReplyCache>& Recorder::cache(const std::string& name) {
  std::shared_ptr<ReplyCache>& kept = caches[name];
  if (!kept) kept = memory_cache();
  return kept;
}

Model scripted_model(Runtime& runtime, const std::shared_ptr<Recorder>& recorder,
                     const std::string& agent, const Value& model) {
  const bool has_one = !model.contains("configs");
  const Value entries = has_one ? Value::array({model}) : model["configs"];
  std::vector<Model> made;
  for (std::size_t i = entries.size(); i-- > 0;) {
    const int number = has_one ? -1 : static_cast<int>(i);
    ModelOptions options{.limiter = unlimited(), .retry = {.max_attempts = 1}};
    if (const Value price = entries[i].value("price", Value()); price.is_array()) {
      options.price = Price{.input_per_million = price[0].get<double>() * 1000,
                            .output_per_million = price[1].get<double>() * 1000};
    }
    if (const Value seed = model.value("cache_seed", Value()); !seed.is_null()) {
      options.cache = recorder->cache("seed " + seed.dump());
    }
    if (i == 0) {
      options.fallbacks = {made.rbegin(), made.rend()};
      if (model.contains("filter")) {
        const std::string wanted = model["filter"].at("contains");
        options.accept = [wanted](const ModelReply& reply) {
          return reply.message.text().find(wanted) != std::string::npos;
        };
      }
    }
    made.push_back(
        runtime.model(ModelProvider([recorder, agent, entry = entries[i], number](Runtime&) {
                        return std::unique_ptr<Provider>(
                            std::make_unique<ScriptedModel>(recorder, agent, entry, number));
                      }),
                      std::move(options)));
  }
  return made.back();
}

HumanInput scripted_human(std::shared_ptr<Recorder> recorder, const Value& inputs) {
  auto position = std::make_shared<std::size_t>(0);
  return HumanInput([=](const HumanPrompt& prompt) -> Result<std::string> {
    Value shown{{"agent", prompt.agent}, {"prompt", autogen_prompt(prompt)}, {"input", nullptr}};
    if (*position == inputs.size()) {
      recorder->human_script_ended = true;
      recorder->prompts.push_back(std::move(shown));
      recorder->trace.push_back({"human", prompt.agent, nullptr});
      return fail(ErrorCode::human_unavailable, "the human script has ended");
    }
    const Value& input = inputs[(*position)++];
    shown["input"] = input;
    recorder->prompts.push_back(std::move(shown));
    recorder->trace.push_back({"human", prompt.agent, input});
    if (!input.is_string()) return fail(ErrorCode::cancelled, "interrupted");
    return input.get<std::string>();
  });
}

Condition recorded_rule(std::shared_ptr<Recorder> recorder, std::string agent, const Value& rule) {
  return predicate("recorded", [=, condition = rule_from(rule)](const Message& message) {
    const bool matched = condition.matches(message);
    recorder->trace.push_back({"term", agent, matched});
    return matched;
  });
}

}  // namespace moderato::conformance

#include <moderato/llm/providers/simulated_script.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>

namespace moderato {
namespace {

/// The number after "prefix-" in a model's name.
std::optional<std::int64_t> number_after(std::string_view name, std::string_view prefix) {
  if (name.substr(0, prefix.size()) != prefix) return std::nullopt;
  name.remove_prefix(prefix.size());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 1) return std::nullopt;
  return number;
}

std::string pingpong(std::int64_t reply, std::int64_t last) {
  return reply >= last ? fmt::format("Reply {}. TERMINATE", reply)
                       : fmt::format("Reply {}.", reply);
}

std::string words(std::int64_t count) {
  std::string text;
  for (std::int64_t i = 1; i <= count; ++i) text += i == count ? "word" : "word ";
  return text;
}

ScriptAnswer review(std::int64_t reply) {
  static constexpr std::array<std::string_view, 3> replies{
      "Here is a first draft.\n\n"
      "1. The term of the contract is one year and renews by itself.\n"
      "2. Either side may leave with 30 days' notice.\n\n"
      "Point 1 worries me: a silent renewal is easy to overlook. Shall I change it?",
      "Done. The revised points:\n\n"
      "1. The term is one year; it is renewed only by written consent.\n"
      "2. Either side may leave with 30 days' notice.\n"
      "3. New: the fee may rise by 3 % a year at the most.\n\n"
      "Anything else, or shall I close the review?",
      "The review is complete: renewal needs consent, notice is 30 days, and the fee is capped.\n\n"
      "TERMINATE"};
  const auto index = std::min<std::int64_t>(reply, static_cast<std::int64_t>(replies.size())) - 1;
  return {.text = std::string(replies[static_cast<std::size_t>(index)])};
}

ScriptAnswer weather(const ScriptQuestion& question) {
  if (question.last_role == "tool" || question.last_role == "function") {
    return {.text =
                fmt::format("The forecast says: {}. Take a coat. TERMINATE", question.last_text)};
  }
  if (question.tool.empty()) return {.text = "I have no tool to look at the weather. TERMINATE"};
  return {.tool_calls = {{.id = fmt::format("call_{}", question.replies_so_far + 1),
                          .name = std::string(question.tool),
                          .arguments = R"({"city": "Oslo", "celsius": true})"}}};
}

ScriptAnswer built_in(const ScriptQuestion& question) {
  const std::int64_t reply = question.replies_so_far + 1;
  if (question.model == "echo") return {.text = std::string(question.last_text)};
  if (question.model == "weather") return weather(question);
  if (const auto last = number_after(question.model, "pingpong-")) {
    return {.text = pingpong(reply, *last)};
  }
  if (const auto count = number_after(question.model, "tokens-")) return {.text = words(*count)};
  return review(reply);
}

tl::unexpected<Error> wrong(std::string text) {
  return fail(ErrorCode::configuration, std::move(text));
}

Result<void> only_members(const Json& json, std::initializer_list<std::string_view> known,
                          const std::string& where) {
  if (!json.is_object()) return wrong(where + " must be an object");
  for (const auto& [member, value] : json.items()) {
    if (std::find(known.begin(), known.end(), member) != known.end()) continue;
    return wrong(fmt::format("{}: unknown member \"{}\"; known are {}", where, member,
                             fmt::join(known, ", ")));
  }
  return {};
}

Result<void> read_text(const Json& json, const char* member, std::optional<std::string>& into,
                       const std::string& where) {
  const auto found = json.find(member);
  if (found == json.end()) return {};
  if (!found->is_string()) return wrong(fmt::format("{}.{} must be a text", where, member));
  into = found->get<std::string>();
  return {};
}

Result<void> read_number(const Json& json, const char* member, std::optional<std::int64_t>& into,
                         const std::string& where) {
  const auto found = json.find(member);
  if (found == json.end()) return {};
  if (!found->is_number_integer() || found->get<std::int64_t>() < 0) {
    return wrong(fmt::format("{}.{} must be a whole number from 0", where, member));
  }
  into = found->get<std::int64_t>();
  return {};
}

Result<void> read_tool_calls(const Json& json, ScriptAnswer& answer, const std::string& where) {
  const auto found = json.find("tool_calls");
  if (found == json.end()) return {};
  if (!found->is_array()) return wrong(where + ".tool_calls must be an array");
  for (const Json& call : *found) {
    const std::string place = fmt::format("{}.tool_calls[{}]", where, answer.tool_calls.size());
    if (auto ok = only_members(call, {"name", "arguments"}, place); !ok) return ok;
    std::optional<std::string> name;
    if (auto ok = read_text(call, "name", name, place); !ok) return ok;
    if (!name) return wrong(place + " has no name");
    const auto arguments = call.find("arguments");
    std::string text = "{}";
    if (arguments != call.end()) {
      // A text is sent as it is, so that a script can also send arguments that are not JSON.
      text = arguments->is_string() ? arguments->get<std::string>() : dump_json(*arguments);
    }
    answer.tool_calls.push_back({.id = fmt::format("call_{}", answer.tool_calls.size() + 1),
                                 .name = *name,
                                 .arguments = std::move(text)});
  }
  return {};
}

Result<void> read_error(const Json& json, ScriptAnswer& answer, const std::string& where) {
  const auto found = json.find("error");
  if (found == json.end()) return {};
  const std::string place = where + ".error";
  std::optional<std::int64_t> status;
  std::optional<std::string> type;
  std::optional<std::string> code;
  std::optional<std::string> message;
  auto ok = only_members(*found, {"status", "type", "code", "message", "headers"}, place);
  if (ok) ok = read_number(*found, "status", status, place);
  if (ok) ok = read_text(*found, "type", type, place);
  if (ok) ok = read_text(*found, "code", code, place);
  if (ok) ok = read_text(*found, "message", message, place);
  if (!ok) return ok;
  if (!status || *status < 400 || *status > 599) {
    return wrong(place + ".status must lie between 400 and 599");
  }
  ScriptError error{.status = static_cast<int>(*status),
                    .type = type.value_or(*status < 500 ? "invalid_request_error" : "server_error"),
                    .code = code.value_or(""),
                    .message = message.value_or("This error is part of the script.")};
  if (const auto headers = found->find("headers"); headers != found->end()) {
    if (!headers->is_object()) return wrong(place + ".headers must be an object");
    for (const auto& [name, value] : headers->items()) {
      if (!value.is_string())
        return wrong(fmt::format("{}.headers.{} must be a text", place, name));
      error.headers.emplace_back(name, value.get<std::string>());
    }
  }
  answer.error = std::move(error);
  return {};
}

}  // namespace

bool SimulatedScript::Rule::matches(const ScriptQuestion& question) const {
  return (!model || *model == question.model) && (!role || *role == question.last_role) &&
         (!turn || *turn == question.replies_so_far + 1) &&
         (!contains || question.last_text.find(*contains) != std::string_view::npos);
}

Result<SimulatedScript::Rule> SimulatedScript::read_rule(const Json& json,
                                                         const std::string& where) {
  Rule rule;
  std::optional<std::string> reply;
  std::optional<std::int64_t> delay;
  auto ok = only_members(json, {"when", "reply", "tool_calls", "error", "delay_ms"}, where);
  if (!ok) return tl::unexpected<Error>(ok.error());
  if (const auto when = json.find("when"); when != json.end()) {
    const std::string place = where + ".when";
    ok = only_members(*when, {"model", "contains", "turn", "role"}, place);
    if (ok) ok = read_text(*when, "model", rule.model, place);
    if (ok) ok = read_text(*when, "contains", rule.contains, place);
    if (ok) ok = read_text(*when, "role", rule.role, place);
    if (ok) ok = read_number(*when, "turn", rule.turn, place);
  }
  if (ok) ok = read_text(json, "reply", reply, where);
  if (ok) ok = read_number(json, "delay_ms", delay, where);
  if (ok) ok = read_tool_calls(json, rule.answer, where);
  if (ok) ok = read_error(json, rule.answer, where);
  if (!ok) return tl::unexpected<Error>(ok.error());
  const int answers =
      (reply ? 1 : 0) + (rule.answer.tool_calls.empty() ? 0 : 1) + (rule.answer.error ? 1 : 0);
  if (answers != 1) return wrong(where + " must have one of reply, tool_calls and error");
  rule.answer.text = reply.value_or("");
  rule.answer.delay = std::chrono::milliseconds(delay.value_or(0));
  return rule;
}

Result<SimulatedScript> SimulatedScript::from_json(std::string_view text, std::string_view name) {
  auto json = parse_json(text, name);
  if (!json) return wrong(json.error().message);
  if (auto ok = only_members(*json, {"rules"}, std::string(name)); !ok) {
    return tl::unexpected<Error>(ok.error());
  }
  const auto rules = json->find("rules");
  if (rules == json->end() || !rules->is_array()) {
    return wrong(fmt::format("{}: \"rules\" must be an array", name));
  }
  SimulatedScript script;
  for (const Json& entry : *rules) {
    auto rule = read_rule(entry, fmt::format("{}: rules[{}]", name, script.rules_.size()));
    if (!rule) return tl::unexpected<Error>(rule.error());
    script.rules_.push_back(std::move(*rule));
  }
  return script;
}

ScriptAnswer SimulatedScript::answer(const ScriptQuestion& question) const {
  for (const Rule& rule : rules_) {
    if (rule.matches(question)) return rule.answer;
  }
  return built_in(question);
}

}  // namespace moderato

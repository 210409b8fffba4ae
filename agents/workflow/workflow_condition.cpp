#include <moderato/agents/workflow/workflow_build.hpp>

namespace moderato {
namespace {

Condition combined(const Json& list, Condition (*combine)(Condition, Condition)) {
  Condition all = workflow_condition(list.at(0));
  for (std::size_t i = 1; i < list.size(); ++i) {
    all = combine(std::move(all), workflow_condition(list.at(i)));
  }
  return all;
}

}  // namespace

Condition workflow_condition(const Json& json) {
  const std::string& kind = json.begin().key();
  const Json& value = json.begin().value();
  const auto text = [&] { return value.get<std::string>(); };
  const auto number = [&] { return value.get<std::int64_t>(); };
  if (kind == "contains") return contains(text());
  if (kind == "equals") return equals(text());
  if (kind == "ends_with") return ends_with(text());
  if (kind == "regex") return regex(text());
  if (kind == "said_by") return said_by(value.get<std::vector<std::string>>());
  if (kind == "tool_called") return tool_called(text());
  if (kind == "max_messages") return max_messages(number());
  if (kind == "max_turns") return max_turns(number());
  if (kind == "max_calls") return max_calls(number());
  if (kind == "token_budget") return token_budget(number());
  if (kind == "elapsed_seconds") {
    return elapsed(
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(value.get<double>())));
  }
  if (kind == "not") return !workflow_condition(value);
  return kind == "any"
             ? combined(value, [](Condition a, Condition b) { return std::move(a) | std::move(b); })
             : combined(value,
                        [](Condition a, Condition b) { return std::move(a) & std::move(b); });
}

}  // namespace moderato

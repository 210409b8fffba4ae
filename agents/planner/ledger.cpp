#include <moderato/agents/planner/ledger.hpp>

#include <fmt/core.h>

#include <algorithm>

namespace moderato {
namespace {

tl::unexpected<Error> wrong(const std::string& why) {
  return fail(ErrorCode::protocol, "That is no ledger: " + why);
}

// Older models wrap each answer with its reason: {"reason": …, "answer": …}.
const Json* member(const Json& ledger, const char* name) {
  const auto found = ledger.find(name);
  if (found == ledger.end()) return nullptr;
  if (!found->is_object()) return &*found;
  const auto answer = found->find("answer");
  return answer != found->end() ? &*answer : nullptr;
}

Result<bool> truth(const Json& ledger, const char* name) {
  const Json* value = member(ledger, name);
  if (value == nullptr || !value->is_boolean()) {
    return wrong(fmt::format("\"{}\" must be true or false.", name));
  }
  return value->get<bool>();
}

std::string text(const Json& ledger, const char* name) {
  const Json* value = member(ledger, name);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace

Result<PlannerLedger> read_ledger(std::string_view answer, const std::vector<std::string>& agents) {
  const std::size_t begin = answer.find('{');
  const std::size_t end = answer.rfind('}');
  if (begin == std::string_view::npos || end == std::string_view::npos || end < begin) {
    return wrong("it has no JSON object.");
  }
  auto json = parse_json(answer.substr(begin, end - begin + 1));
  if (!json) return wrong(json.error().message);
  if (!json->is_object()) return wrong("it is no JSON object.");
  const auto satisfied = truth(*json, "is_request_satisfied");
  const auto progress = truth(*json, "is_progress_being_made");
  const auto loop = truth(*json, "is_in_loop");
  for (const auto* one : {&satisfied, &progress, &loop}) {
    if (!*one) return fail(one->error());
  }
  PlannerLedger ledger{.is_request_satisfied = *satisfied,
                       .is_progress_being_made = *progress,
                       .is_in_loop = *loop,
                       .instruction = text(*json, "instruction_or_question"),
                       .next_speaker = text(*json, "next_speaker")};
  const bool known = std::find(agents.begin(), agents.end(), ledger.next_speaker) != agents.end();
  if (!known && !ledger.is_request_satisfied) {
    std::string names;
    for (const std::string& name : agents) names += (names.empty() ? "" : ", ") + name;
    return wrong(fmt::format("\"next_speaker\" must be one of: {}.", names));
  }
  return ledger;
}

Json ledger_format(const std::vector<std::string>& agents) {
  const Json yes_or_no{{"type", "boolean"}};
  Json properties;
  for (const char* name : {"is_request_satisfied", "is_progress_being_made", "is_in_loop"}) {
    properties[name] = yes_or_no;
  }
  properties["instruction_or_question"] = Json{{"type", "string"}};
  properties["next_speaker"] = Json{{"type", "string"}, {"enum", agents}};
  Json required = Json::array();
  for (const auto& [name, schema] : properties.items()) required.push_back(name);
  const Json schema{{"type", "object"},
                    {"properties", properties},
                    {"required", required},
                    {"additionalProperties", false}};
  return Json{{"type", "json_schema"},
              {"json_schema", {{"name", "ledger"}, {"strict", true}, {"schema", schema}}}};
}

}  // namespace moderato

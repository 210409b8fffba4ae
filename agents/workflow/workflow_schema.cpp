#include <algorithm>
#include <string>

#include <moderato/agents/workflow/workflow.hpp>
#include <moderato/agents/workflow/workflow_shape.hpp>

namespace moderato {
namespace {

Json schema_of(const WorkflowShape& shape, Json& definitions);

Json reference_to(const WorkflowShape& shape, Json& definitions) {
  const std::string name(shape.name);
  if (!definitions.contains(name)) {
    definitions[name] = nullptr;  // so that a shape may contain itself
    Json made = schema_of(shape, definitions);
    definitions[name] = std::move(made);
  }
  return {{"$ref", "#/$defs/" + name}};
}

void add_range(const WorkflowField& field, Json& schema) {
  const auto bound = [&](const char* name, double value) {
    if (!(value > -1e300 && value < 1e300)) return;
    schema[name] = static_cast<std::int64_t>(value);
  };
  bound("minimum", field.least);
  bound("maximum", field.most);
}

Json schema_of_one(const WorkflowField& field, Json& definitions) {
  switch (field.kind) {
    case WorkflowFieldKind::text:
      return {{"type", "string"}};
    case WorkflowFieldKind::words:
    case WorkflowFieldKind::agent:
    case WorkflowFieldKind::model:
    case WorkflowFieldKind::tool:
      return {{"type", "string"}, {"minLength", 1}};
    case WorkflowFieldKind::whole:
    case WorkflowFieldKind::number: {
      Json schema{{"type", field.kind == WorkflowFieldKind::whole ? "integer" : "number"}};
      add_range(field, schema);
      return schema;
    }
    case WorkflowFieldKind::boolean:
      return {{"type", "boolean"}};
    case WorkflowFieldKind::choice: {
      Json choices = Json::array();
      std::string_view rest = field.choices;
      while (!rest.empty()) {
        const std::size_t end = std::min(rest.find(' '), rest.size());
        choices.push_back(std::string(rest.substr(0, end)));
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
      return {{"enum", std::move(choices)}};
    }
    case WorkflowFieldKind::object:
      return reference_to(*field.shape, definitions);
    case WorkflowFieldKind::any_value:
      break;
  }
  return {{"type", "object"}};
}

Json schema_of_field(const WorkflowField& field, Json& definitions) {
  Json schema = schema_of_one(field, definitions);
  if (field.count == WorkflowFieldCount::list || field.count == WorkflowFieldCount::map_of_lists) {
    schema = {{"type", "array"}, {"items", std::move(schema)}};
    if (field.required) schema["minItems"] = 1;
  }
  if (field.count == WorkflowFieldCount::map || field.count == WorkflowFieldCount::map_of_lists) {
    schema = {{"type", "object"}, {"additionalProperties", std::move(schema)}};
  }
  if (!field.about.empty()) schema["description"] = std::string(field.about);
  return schema;
}

Json schema_of(const WorkflowShape& shape, Json& definitions) {
  Json schema{{"type", "object"}};
  Json required = Json::array();
  for (const WorkflowField& field : shape.fields) {
    Json& member = schema["properties"][std::string(field.name)];
    member = schema_of_field(field, definitions);
    if (shape.exactly_one && field.count == WorkflowFieldCount::list) member["minItems"] = 1;
    if (field.required) required.push_back(std::string(field.name));
  }
  schema["additionalProperties"] = false;
  if (!required.empty()) schema["required"] = std::move(required);
  if (shape.exactly_one) {
    schema["minProperties"] = 1;
    schema["maxProperties"] = 1;
  }
  return schema;
}

}  // namespace

Json workflow_schema() {
  Json definitions = Json::object();
  Json whole = schema_of(workflow_shape(), definitions);
  Json schema{{"$schema", "https://json-schema.org/draft/2020-12/schema"},
              {"title", "A workflow of moderato"}};
  schema.update(whole);
  schema["$defs"] = std::move(definitions);
  return schema;
}

}  // namespace moderato

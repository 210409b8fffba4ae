#include <moderato/agents/workflow/workflow_check.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include <moderato/agents/workflow/workflow_shape.hpp>

namespace moderato {
namespace {

/// Insertions, deletions and replacements between two words.
std::size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::vector<std::string> names_of(const Json& document, const char* section) {
  std::vector<std::string> names;
  const auto found = document.find(section);
  if (found == document.end()) return names;
  if (found->is_object()) {
    for (const auto& [name, value] : found->items()) {
      if (!name.empty()) names.push_back(name);
    }
  } else if (found->is_array()) {
    for (const Json& name : *found) {
      if (name.is_string()) names.push_back(name.get<std::string>());
    }
  }
  return names;
}

std::vector<std::string> words_in(std::string_view choices) {
  std::vector<std::string> words;
  while (!choices.empty()) {
    const std::size_t end = std::min(choices.find(' '), choices.size());
    words.emplace_back(choices.substr(0, end));
    choices.remove_prefix(std::min(end + 1, choices.size()));
  }
  return words;
}

const char* kind_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a text";
    case Json::value_t::boolean:
      return "true or false";
    default:
      return value.is_number_float() ? "a number that is not whole" : "a number";
  }
}

std::string known_or_near(std::string_view name, const std::vector<std::string>& known) {
  if (const std::string near = nearest(name, known); !near.empty()) {
    return fmt::format("; did you mean \"{}\"?", near);
  }
  if (known.empty()) return "; the file has none";
  return fmt::format("; there are {}", fmt::join(known, ", "));
}

class Checker {
 public:
  Checker(const Json& document, const JsonPositions& positions)
      : positions_(positions),
        agents_(names_of(document, "agents")),
        models_(names_of(document, "models")),
        tools_(names_of(document, "tools")) {}

  void object(const Json& value, const WorkflowShape& shape, const std::string& pointer) {
    if (!value.is_object()) return wrong_type(value, "an object", pointer);
    std::size_t known = 0;
    std::size_t strange = 0;
    for (const auto& [name, member] : value.items()) {
      const WorkflowField* field = find(shape, name);
      if (field == nullptr) {
        unknown(shape, name, member_of(pointer, name));
        ++strange;
        continue;
      }
      ++known;
      if (shape.exactly_one && member.is_array() && member.empty()) {
        problem(member_of(pointer, name), readable(member_of(pointer, name)) + " is empty");
      }
      several(member, *field, member_of(pointer, name));
    }
    if (shape.exactly_one && known != 1 && strange == 0) {
      problem(pointer, fmt::format("{} must have exactly one of {}, it has {}", readable(pointer),
                                   fmt::join(names(shape), ", "), known));
    }
    for (const WorkflowField& field : shape.fields) {
      if (field.required && !value.contains(field.name)) {
        problem(pointer, fmt::format("{}: \"{}\" is missing", readable(pointer), field.name));
      }
    }
  }

  [[nodiscard]] std::vector<WorkflowProblem> take() {
    for (const auto& [pointer, at] : positions_.repeated()) {
      problems_.push_back({at.line, at.column, readable(pointer) + " is given twice"});
    }
    std::stable_sort(problems_.begin(), problems_.end(), [](const auto& a, const auto& b) {
      return std::pair(a.line, a.column) < std::pair(b.line, b.column);
    });
    return std::move(problems_);
  }

 private:
  static const WorkflowField* find(const WorkflowShape& shape, std::string_view name) {
    const auto found = std::find_if(shape.fields.begin(), shape.fields.end(),
                                    [&](const WorkflowField& field) { return field.name == name; });
    return found == shape.fields.end() ? nullptr : &*found;
  }
  static std::vector<std::string> names(const WorkflowShape& shape) {
    std::vector<std::string> all;
    for (const WorkflowField& field : shape.fields) all.emplace_back(field.name);
    return all;
  }

  void problem(const std::string& pointer, std::string text) {
    const TextPlace at = positions_.value(pointer);
    problems_.push_back({at.line, at.column, std::move(text)});
  }

  void wrong_type(const Json& value, std::string_view wanted, const std::string& pointer) {
    problem(pointer,
            fmt::format("{} must be {}, it is {}", readable(pointer), wanted, kind_of(value)));
  }

  void unknown(const WorkflowShape& shape, const std::string& name, const std::string& pointer) {
    const TextPlace at = positions_.name(pointer);
    if (name == "api_key") {
      problems_.push_back({at.line, at.column,
                           readable(pointer) +
                               ": a key does not belong into a file; put it into an environment "
                               "variable, and the variable's name into \"api_key_env\""});
      return;
    }
    problems_.push_back(
        {at.line, at.column,
         fmt::format("{} is not known{}", readable(pointer), known_or_near(name, names(shape)))});
  }

  void several(const Json& value, const WorkflowField& field, const std::string& pointer) {
    switch (field.count) {
      case WorkflowFieldCount::one:
        return single(value, field, pointer);
      case WorkflowFieldCount::list:
        return list(value, field, pointer);
      case WorkflowFieldCount::map:
      case WorkflowFieldCount::map_of_lists:
        break;
    }
    if (!value.is_object()) return wrong_type(value, "an object", pointer);
    const bool of_agents =
        field.kind == WorkflowFieldKind::choice || field.kind == WorkflowFieldKind::agent;
    for (const auto& [name, member] : value.items()) {
      const std::string inner = member_of(pointer, name);
      if (name.empty()) problem(inner, readable(pointer) + ": a name must not be empty");
      if (of_agents) reference(name, "agent", agents_, inner);
      if (field.count == WorkflowFieldCount::map) {
        single(member, field, inner);
      } else {
        list(member, field, inner);
      }
    }
  }

  void list(const Json& value, const WorkflowField& field, const std::string& pointer) {
    if (!value.is_array()) return wrong_type(value, "a list", pointer);
    if (field.required && value.empty()) problem(pointer, readable(pointer) + " is empty");
    for (std::size_t i = 0; i < value.size(); ++i) {
      single(value[i], field, item_of(pointer, i));
      if (value[i].is_string() && std::find(value.begin(), value.begin() + static_cast<long>(i),
                                            value[i]) != value.begin() + static_cast<long>(i)) {
        problem(item_of(pointer, i), fmt::format("{}: \"{}\" is named twice", readable(pointer),
                                                 value[i].get_ref<const std::string&>()));
      }
    }
  }

  void single(const Json& value, const WorkflowField& field, const std::string& pointer) {
    switch (field.kind) {
      case WorkflowFieldKind::object:
        return object(value, *field.shape, pointer);
      case WorkflowFieldKind::any_value:
        if (!value.is_object()) wrong_type(value, "an object", pointer);
        return;
      case WorkflowFieldKind::boolean:
        if (!value.is_boolean()) wrong_type(value, "true or false", pointer);
        return;
      case WorkflowFieldKind::whole:
        if (!value.is_number_integer()) return wrong_type(value, "a whole number", pointer);
        return in_range(value, field, pointer);
      case WorkflowFieldKind::number:
        if (!value.is_number()) return wrong_type(value, "a number", pointer);
        return in_range(value, field, pointer);
      default:
        break;
    }
    if (!value.is_string()) return wrong_type(value, "a text", pointer);
    text(value.get_ref<const std::string&>(), field, pointer);
  }

  void in_range(const Json& value, const WorkflowField& field, const std::string& pointer) {
    const double number = value.get<double>();
    if (number < field.least) {
      problem(pointer, fmt::format("{} must be at least {}, it is {}", readable(pointer),
                                   field.least, dump_json(value)));
    } else if (number > field.most) {
      problem(pointer, fmt::format("{} must be at most {}, it is {}", readable(pointer), field.most,
                                   dump_json(value)));
    }
  }

  void text(const std::string& value, const WorkflowField& field, const std::string& pointer) {
    switch (field.kind) {
      case WorkflowFieldKind::words:
        if (value.empty()) problem(pointer, readable(pointer) + " must not be empty");
        return;
      case WorkflowFieldKind::choice: {
        const auto known = words_in(field.choices);
        if (std::find(known.begin(), known.end(), value) == known.end()) {
          problem(pointer, fmt::format("{}: \"{}\" is not known{}", readable(pointer), value,
                                       known_or_near(value, known)));
        }
        return;
      }
      case WorkflowFieldKind::agent:
        return reference(value, "agent", agents_, pointer);
      case WorkflowFieldKind::model:
        return reference(value, "model", models_, pointer);
      case WorkflowFieldKind::tool:
        return reference(value, "tool", tools_, pointer);
      default:
        return;
    }
  }

  void reference(const std::string& name, std::string_view what,
                 const std::vector<std::string>& known, const std::string& pointer) {
    if (std::find(known.begin(), known.end(), name) != known.end()) return;
    problem(pointer, fmt::format("{}: no {} is called \"{}\"{}", readable(pointer), what, name,
                                 known_or_near(name, known)));
  }

  const JsonPositions& positions_;
  const std::vector<std::string> agents_;
  const std::vector<std::string> models_;
  const std::vector<std::string> tools_;
  std::vector<WorkflowProblem> problems_;
};

}  // namespace

std::string nearest(std::string_view name, const std::vector<std::string>& known) {
  if (name.size() < 3) return {};
  std::size_t fewest = (name.size() < 5 ? 1 : std::max<std::size_t>(2, name.size() / 3)) + 1;
  std::string best;
  for (const std::string& candidate : known) {
    const std::size_t edits = edits_between(name, candidate);
    if (edits < fewest) {
      fewest = edits;
      best = candidate;
    }
  }
  return best;
}

std::vector<WorkflowProblem> check_workflow(const Json& document, const JsonPositions& positions) {
  Checker checker(document, positions);
  checker.object(document, workflow_shape(), "");
  return checker.take();
}

}  // namespace moderato

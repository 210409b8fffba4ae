#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include <moderato/core/json.hpp>

namespace moderato {

struct WorkflowShape;

/// What a member of a workflow file is.
enum class WorkflowFieldKind : std::uint8_t {
  text,
  words,   ///< A text that is not empty.
  whole,   ///< A whole number.
  number,  ///< Any number.
  boolean,
  choice,     ///< One of `choices`.
  agent,      ///< The name of one of the file's agents.
  model,      ///< The name of one of its models.
  tool,       ///< The name of one of its tools.
  object,     ///< What `shape` says.
  any_value,  ///< An object that is passed on as it is.
};

enum class WorkflowFieldCount : std::uint8_t { one, list, map, map_of_lists };

struct WorkflowField {
  std::string_view name{};
  WorkflowFieldKind kind = WorkflowFieldKind::text;
  std::string_view about{};  ///< For the schema.
  bool required = false;
  WorkflowFieldCount count = WorkflowFieldCount::one;
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  std::string_view choices{};  ///< Separated by spaces.
  const WorkflowShape* shape = nullptr;
};

/// The members that an object of a workflow file may have.
struct WorkflowShape {
  std::string_view name{};  ///< In the schema.
  std::span<const WorkflowField> fields{};
  bool exactly_one = false;  ///< It has one of them, not several.
};

/// The whole file. One table for the checker and for the published schema, so that they cannot
/// disagree.
[[nodiscard]] const WorkflowShape& workflow_shape() noexcept;

}  // namespace moderato

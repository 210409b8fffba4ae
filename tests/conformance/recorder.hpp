#pragma once

#include <map>
#include <memory>
#include <string>

#include <moderato/agents/human_input.hpp>
#include <moderato/llm/model.hpp>
#include <moderato/termination/condition.hpp>

#include "comparison.hpp"

namespace moderato::conformance {

/// What a scenario did, in the shape of a vector's `expect`. One conversation runs at a time, so
/// that what the worker pool writes is seen by the loop, and needs no lock.
struct Recorder {
  Value trace = Value::array();
  Value model_calls = Value::array();
  Value prompts = Value::array();
  bool model_script_ended = false;
  bool human_script_ended = false;
  bool async = false;  ///< A recording of AutoGen's async variant.
  /// By the name or the seed that the vector gives them.
  std::map<std::string, std::shared_ptr<ReplyCache>> caches{};

  [[nodiscard]] const std::shared_ptr<ReplyCache>& cache(const std::string& name);
};

/// A message as the recordings write it.
[[nodiscard]] Value as_value(const Message& message);
[[nodiscard]] Value as_value(const Json& json);
[[nodiscard]] Json as_json(const Value& value);

/// A model that answers the requests of one agent from the vector's script, and records them; with
/// `configs`, several that follow each other.
[[nodiscard]] Model scripted_model(Runtime& runtime, const std::shared_ptr<Recorder>& recorder,
                                   const std::string& agent, const Value& model);
/// A human who types what the vector says, and records the prompts (in AutoGen's words).
[[nodiscard]] HumanInput scripted_human(std::shared_ptr<Recorder> recorder, const Value& inputs);
/// A termination rule of a vector that records each time it is evaluated.
[[nodiscard]] Condition recorded_rule(std::shared_ptr<Recorder> recorder, std::string agent,
                                      const Value& rule);

}  // namespace moderato::conformance

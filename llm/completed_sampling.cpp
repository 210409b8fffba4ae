#include <moderato/llm/completed_sampling.hpp>

namespace moderato {

Sampling completed(Sampling sampling, const Sampling& defaults) {
  const auto complete = [](auto& value, const auto& fallback) {
    if (!value) value = fallback;
  };
  complete(sampling.temperature, defaults.temperature);
  complete(sampling.top_p, defaults.top_p);
  complete(sampling.seed, defaults.seed);
  complete(sampling.max_output_tokens, defaults.max_output_tokens);
  complete(sampling.parallel_tool_calls, defaults.parallel_tool_calls);
  if (sampling.stop.empty()) sampling.stop = defaults.stop;
  if (sampling.response_format.is_null()) sampling.response_format = defaults.response_format;
  if (sampling.reasoning_effort.empty()) sampling.reasoning_effort = defaults.reasoning_effort;
  if (sampling.tool_choice.empty()) sampling.tool_choice = defaults.tool_choice;
  if (sampling.extra.is_null()) {
    sampling.extra = defaults.extra;
  } else if (sampling.extra.is_object() && defaults.extra.is_object()) {
    for (const auto& [name, value] : defaults.extra.items()) {
      if (!sampling.extra.contains(name)) sampling.extra[name] = value;
    }
  }
  return sampling;
}

}  // namespace moderato

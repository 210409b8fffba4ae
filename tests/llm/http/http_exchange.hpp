#pragma once

#include <moderato/core/runtime.hpp>
#include <moderato/llm/http/http_client.hpp>

#include "support/scripted_server.hpp"

namespace moderato::test {

inline HttpOutcome exchange(Runtime& runtime, const HttpRequest& request) {
  return runtime.block_on([&] { return send_http(request); });
}

/// The error's code, or internal for a success (no test expects internal by this way).
inline ErrorCode code_of(const HttpOutcome& outcome) {
  return outcome.result ? ErrorCode::internal : outcome.result.error().code;
}

inline std::string text_of(const HttpOutcome& outcome) {
  return outcome.result ? "" : outcome.result.error().message;
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace moderato::test

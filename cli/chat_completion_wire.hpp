#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>

#include <moderato/core/result.hpp>
#include <moderato/llm/providers/simulated_engine.hpp>

namespace moderato {

/// What the server reads of a chat completions request. The views live as long as the parser's
/// document.
struct ChatCompletionRequest {
  SimulatedRequest request{};
  bool stream = false;
  bool stream_usage = false;
  std::string last_text{};  ///< Backs request.question.last_text where content has parts.
};

/// Reads requests; one for each connection, so that its buffers are used again.
class ChatCompletionReader {
 public:
  /// `body` needs simdjson::SIMDJSON_PADDING bytes of capacity behind its end. The error is the text
  /// for the client.
  [[nodiscard]] Result<ChatCompletionRequest> read(std::string& body);

 private:
  simdjson::dom::parser parser_;
};

/// The JSON of a whole answer.
[[nodiscard]] std::string chat_completion(const SimulatedAnswer& answer, std::string_view model);

/// The events of a streamed answer, in order, one text each ("data: …\n\n"); [DONE] is the last.
[[nodiscard]] std::vector<std::string> chat_completion_events(const SimulatedAnswer& answer,
                                                              std::string_view model, bool usage);

}  // namespace moderato

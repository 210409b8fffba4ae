#pragma once

#include <simdjson.h>

#include <string>
#include <string_view>

#include <moderato/core/result.hpp>
#include <moderato/llm/providers/simulated_engine.hpp>

namespace moderato {

/// What the server reads of a chat completions request.
struct ChatCompletionRequest {
  SimulatedRequest request{};  ///< Its texts live until the reader reads again.
  bool stream = false;
  bool stream_usage = false;
};

/// Reads requests, one at a time; its buffers are used again. The whole body is checked (hence
/// simdjson's DOM and not its on-demand reader, which skips what nobody asks for): a provider that
/// takes broken JSON would hide the faults of its clients.
class ChatCompletionReader {
 public:
  /// The error's message is the text for the client. The body is left as it is, with more capacity.
  [[nodiscard]] Result<ChatCompletionRequest> read(std::string& body);

 private:
  simdjson::dom::parser parser_;
  std::string last_text_;  // where the last message's content has parts
};

/// The JSON of a whole answer.
[[nodiscard]] std::string chat_completion(const SimulatedAnswer& answer, std::string_view model);

/// The events of a streamed answer, in order, one text each ("data: …\n\n"); [DONE] is the last.
[[nodiscard]] std::vector<std::string> chat_completion_events(const SimulatedAnswer& answer,
                                                              std::string_view model, bool usage);

}  // namespace moderato

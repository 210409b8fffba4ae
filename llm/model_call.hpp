#pragma once

// Private header of the library: not installed.

#include <string>

#include <moderato/llm/model_core.hpp>

namespace moderato {

/// One logical call: what is asked, on whose behalf, and what it has come to so far.
struct Model::Core::Call {
  const ModelRequest& request;
  CallContext context;
  Sampling sampling{};  ///< The request's, completed by the model's.
  PromptSize prompt{};
  std::uint64_t number = 0;
  bool outer_retry = false;  ///< The caller repeats what failed a moment ago.
  bool text_given = false;   ///< A piece of the reply has reached the caller.
  std::string listener_failure{};
  std::optional<Error> last_error{};
  CallTotals::Snapshot spent{};  ///< By all attempts so far.
};

template <class Make>
void Model::Core::notify(const Call& call, Make&& make) const {
  call.context.notify(runtime_.clock(), std::forward<Make>(make));
}

/// Names a reply in the ledger.
[[nodiscard]] std::string reply_digest(const Message& reply);

}  // namespace moderato

#pragma once

#include <functional>
#include <string>

#include <moderato/core/call_context.hpp>
#include <moderato/core/message.hpp>
#include <moderato/core/result.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

/// On whose behalf a transform works. Borrowed for the time of the call.
struct TransformContext {
  Session& session;
  const std::string& agent;  ///< Who is going to answer.
  /// For model calls that the transform makes: they are charged to the conversation.
  const CallContext& call;
};

/// Changes what an agent is shown of a conversation before it answers; the stored conversation
/// stays as it is. An immutable value: cheap to copy, used by many conversations at once.
///
/// An agent's `transforms` run in order, each on what the one before it gave. As in AutoGen every
/// reply function of the turn sees the result, the termination check included. A first message of
/// role system is set aside and put back. When a transform has left a tool call or its answer
/// alone, the other half is left out, too, because no provider accepts one without the other. If
/// anything was left out or shortened, observers are told (context_trimmed).
///
/// The function gets a list that is not empty. It must not return an empty one, nor one with a null
/// message: that ends the chat with callback_error, as does what it throws. An error of its own
/// ends the chat with the stop of that error.
class Transform {
 public:
  using Function = std::function<Result<MessageList>(MessageList, const TransformContext&)>;
  /// `description` names it in events: "history_limiter(10)".
  Transform(std::string description, Function change)
      : description_(std::move(description)), change_(std::move(change)) {}

  [[nodiscard]] const std::string& describe() const noexcept { return description_; }
  [[nodiscard]] Result<MessageList> operator()(MessageList messages,
                                               const TransformContext& context) const {
    return change_(std::move(messages), context);
  }

 private:
  std::string description_;
  Function change_;
};

}  // namespace moderato

#include <moderato/core/redacted_observer.hpp>

#include <memory>
#include <utility>

namespace moderato {
namespace {

/// Rewrites the content of events in place; of those that have none nothing.
class Redactor {
 public:
  explicit Redactor(const Redact& redact) : redact_(redact) {}

  void operator()(MessageAdded& event) const {
    Message copy = **event.entry.message;
    message(copy);
    event.entry.message = store(std::move(copy));
  }
  void operator()(ToolStarted& event) const { text(event.arguments); }
  void operator()(ToolProgress& event) const { text(event.text); }
  void operator()(ToolFinished& event) const { text(event.result); }
  void operator()(HumanAsked& event) const { text(event.prompt); }
  void operator()(HumanAnswered& event) const { text(event.input); }
  void operator()(LoopSuspected& event) const { text(event.evidence); }
  void operator()(CallRejected& event) const { text(event.error.message); }
  void operator()(CallRetried& event) const { text(event.why); }
  void operator()(Warning& event) const { text(event.text); }
  void operator()(Stopped& event) const {
    text(event.stop.detail);
    if (event.stop.error) text(event.stop.error->message);
  }
  template <class Other>
  void operator()(Other&) const {}

 private:
  void text(std::string& shown) const {
    if (shown.empty()) return;
    try {
      shown = redact_(shown);
    } catch (...) {
      shown = "[redacted]";
    }
  }
  void content(Content& shown) const {
    if (shown.is_null()) return;
    std::string words = shown.text();
    text(words);
    shown = Content(std::move(words));
  }
  void message(Message& shown) const {
    content(shown.content);
    text(shown.refusal);
    shown.context = nullptr;
    for (ToolCall& call : shown.tool_calls) text(call.arguments);
    if (shown.function_call) text(shown.function_call->arguments);
    for (ToolResponse& response : shown.tool_responses) text(response.content);
  }

  const Redact& redact_;
};

}  // namespace

Observer redacted(Observer observer, Redact redact) {
  return [observer = std::move(observer), redact = std::move(redact)](const Event& event) {
    if (std::holds_alternative<TokenDelta>(event.data)) return;
    Event shown = event;
    std::visit(Redactor(redact), shown.data);
    observer(shown);
  };
}

}  // namespace moderato

#pragma once

#include <concepts>
#include <functional>
#include <string>
#include <utility>

#include <moderato/agents/tool_context.hpp>
#include <moderato/core/message.hpp>

namespace moderato {

/// Whether a tool may run when a model asks for it. A value: no approval is needed (the default), a
/// person's (by_human()), or a rule's: any callable `bool(const ToolCall&, const ToolContext&)`. A
/// call that is not approved is answered with an error that says so, for the model to read.
class Approval {
 public:
  using Rule = std::function<bool(const ToolCall&, const ToolContext&)>;

  Approval() = default;
  /// Asked where the tool would run, so it may block; one that throws does not approve.
  template <class F>
  requires(std::predicate<F&, const ToolCall&, const ToolContext&>)
      Approval(F rule)  // NOLINT: a lambda is the natural rule
      : rule_(std::move(rule)) {}

  /// The human of the agent that runs the tool is asked: `yes` (or `y`) approves, anything else is
  /// the reason why not, and the model is told it.
  [[nodiscard]] static Approval by_human() {
    Approval approval;
    approval.by_human_ = true;
    return approval;
  }

  [[nodiscard]] bool asks_human() const noexcept { return by_human_; }
  [[nodiscard]] const Rule& rule() const noexcept { return rule_; }  ///< Null: none.

 private:
  bool by_human_ = false;
  Rule rule_{};
};

}  // namespace moderato

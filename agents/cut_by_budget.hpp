#pragma once

// Private header of the library: not installed.

#include <fmt/format.h>

#include <moderato/llm/model.hpp>

namespace moderato {

/// Whether a reply ends where it does because the budget lowered its output cap. A text that has to
/// be read by a program is then lost, and asking again would only use up the rest.
inline bool cut_by_budget(const Model& model, const ModelRequest& request, const ModelReply& reply,
                          const CallContext& context) {
  return context.budget && reply.finish_reason == "length" &&
         reply.usage.output < model.output_cap(request);
}

/// `what`: "the ledger", "the answer".
inline tl::unexpected<Error> budget_cut(const char* what, const ModelReply& reply,
                                        const CallContext& context) {
  return fail(ErrorCode::budget_exhausted,
              fmt::format("the budget cut {} off after {} tokens; {} are left", what,
                          reply.usage.output, context.budget->left()));
}

}  // namespace moderato

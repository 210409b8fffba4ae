#pragma once

// Private header of the library: not installed.

#include <moderato/core/call_totals.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/result.hpp>
#include <moderato/llm/request.hpp>

namespace moderato {

/// What a journal keeps of a logical call: how it ended, and what all of its attempts together
/// used.
struct ModelEffect {
  Result<ModelReply> reply = fail(ErrorCode::internal, "not performed");
  CallTotals::Snapshot spent{};
  bool text_given = false;  ///< A piece of it has reached the caller, even if it then failed.
};

[[nodiscard]] Json encode_reply(const ModelReply& reply);
/// Error: storage, if it is not what encode_reply writes.
[[nodiscard]] Result<ModelReply> decode_reply(const Json& json);

[[nodiscard]] Json encode_model_effect(const ModelEffect& effect);
/// Errors: storage, if it is not what encode_model_effect writes.
[[nodiscard]] Result<ModelEffect> decode_model_effect(const Json& json);

}  // namespace moderato

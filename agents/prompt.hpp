#pragma once

// Private header of the library: not installed.

#include <span>
#include <string>

#include <moderato/agents/party_state.hpp>
#include <moderato/core/message.hpp>

namespace moderato {

/// `message` as one side keeps it: without what only travels, with the role of that side, and named
/// after the speaker unless it is a call. `side` is assistant for who speaks, user for who hears.
[[nodiscard]] Message as_kept(Message message, const std::string& speaker, Role side);
/// What the other side keeps of `said`, a message that as_kept made for who said it.
[[nodiscard]] MessagePtr as_heard(const MessagePtr& said);

/// Some servers give calls no id. One call and its answer belong together anyhow; of several calls
/// those without an id get "call_<number>_<place>".
void give_call_ids(Message& message, std::size_t number);

/// Appends what a model sees of a kept message: the answers to several tool calls one by one,
/// nothing that is not for a model. With `fill_templates` a text is filled from the message's own
/// `context`, or else from `values` (null: none).
void append_unrolled(MessageList& prompt, const MessagePtr& kept, bool fill_templates,
                     const Json* values = nullptr);

/// Brings dialogue.prompt up to date with the history; costs what was added since the last time.
void update_prompt(const PartyState& party, Dialogue& dialogue);

/// A prompt made afresh: the system message (if not null), and `messages`. With `fill_templates`
/// the `context` of the last message fills all texts that have none of their own.
[[nodiscard]] MessageList make_prompt(const MessagePtr& system,
                                      std::span<const MessagePtr> messages, bool fill_templates);

/// `{name}` replaced by the member of `values`, `{{` and `}}` by braces; an unknown name stays.
[[nodiscard]] std::string fill_in(std::string_view text, const Json& values);

/// A function name as models may say it: what is not a letter, digit, `_` or `-` becomes `_` (once
/// a character), at most 64 long.
[[nodiscard]] std::string normalized_name(std::string_view name);

}  // namespace moderato

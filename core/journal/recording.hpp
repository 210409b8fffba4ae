#pragma once

#include <string>

#include <moderato/core/result.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

struct RecordingOptions {
  /// Record anew though the file is there: whatever your tests go by, an environment variable say.
  bool again = false;
  /// Id of the session: the run's name in the file.
  std::string run = "recorded";
};

/// For tests: a conversation is recorded once against a real endpoint, into a text file that is
/// kept beside the test, and replayed from it ever after, without network, key, tools or people.
///
///     auto options = recorded_session("tests/data/refund.jsonl");
///     Session session(runtime, std::move(*options));
///     const ChatResult chat = user.initiate_chat(agent, "…", {.session = &session});
///     assert(chat.summary == "refunded");   // the same every time
///
/// If the file is there, a session with the options replays it, and a program that differs from
/// the recorded one stops with replay_mismatch, which shows both sides; then run it once with
/// `again`. If it is not there, the session records: each effect is a line of JSON in the
/// file as soon as it happened. Keys are in none of them.
///
/// Errors: storage (the file cannot be read, or a line of it is no effect: which), configuration
/// (it cannot be made).
[[nodiscard]] Result<SessionOptions> recorded_session(const std::string& path,
                                                      RecordingOptions options = {});

}  // namespace moderato

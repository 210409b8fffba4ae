#pragma once

// Private header of the library: not installed.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <moderato/agents/chat_options.hpp>
#include <moderato/agents/party_state.hpp>
#include <moderato/agents/reply_function.hpp>
#include <moderato/core/session.hpp>

namespace moderato {

/// A stop token that is triggered when either of two is.
class EitherStop {
 public:
  EitherStop(const std::stop_token& first, const std::stop_token& second);
  [[nodiscard]] const std::stop_token& token() const noexcept { return token_; }

 private:
  struct Both;
  std::shared_ptr<Both> both_;
  std::stop_token token_;
};

/// Who is to answer what.
struct Turn {
  PartyState& self;
  const ConversableAgent* sender;  ///< Null: nobody.
  Dialogue& dialogue;              ///< Of `self` with `sender`.
  std::span<const MessagePtr> messages;
  bool is_history;  ///< `messages` is dialogue.history, unchanged.

  [[nodiscard]] const std::string& name() const noexcept { return self.agent.name(); }
  [[nodiscard]] const Message& last() const noexcept { return **messages.back(); }
};

/// One chat while it runs: delivers messages, asks for replies, and sees to it that it ends. Every
/// failure is a Stop; nothing is thrown.
class Conversation {
 public:
  /// All are borrowed. `options.session` is not looked at. A chat inside another (in its session,
  /// or in a child of that) keeps to the bounds of that, too, and tells its observers.
  Conversation(Session& session, const ChatOptions& options, Conversation* parent = nullptr);
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  /// Marks the beginning in the effect log, so that a replay counts time from the same moment. The
  /// stop is empty unless the log fails.
  Stop begin(const ConversableAgent& first, const ConversableAgent& second);

  /// `first` says `opening` to `second`; then each answers the other until something ends it. With
  /// max_turns the talk ends after so many messages of `first`; without, each side answers as long
  /// as its reply_at_receive says so (`request_reply` overrides it for the opening).
  /// `opening` nullopt: `first` has spoken already, and `second` answers.
  Stop exchange(const ConversableAgent& first, const ConversableAgent& second,
                std::optional<Message> opening, MessageKind kind,
                std::optional<bool> request_reply = std::nullopt);

  /// Stores a message on both sides and announces it. The stop is empty unless the chat is to end.
  Stop deliver(const ConversableAgent& from, const ConversableAgent& to, Message&& message,
               MessageKind kind);

  /// Announces a message that no party stores. The stop is empty unless the chat is to end.
  Stop announce(const ConversableAgent& from, const ConversableAgent& to, MessagePtr said,
                MessageKind kind);
  /// Stores a message on both sides without announcing it: nobody says it now. The stop is empty
  /// unless a hook fails.
  Stop pass_on(const ConversableAgent& from, const ConversableAgent& to, Message message);

  /// What `self` answers to the last of `messages` (nullptr: its history with `sender`).
  Reply generate_reply(PartyState& self, const ConversableAgent* sender,
                       const MessageList* messages = nullptr,
                       std::span<const BuiltInReply> exclude = {});

  /// Why the chat has to end now, if it has to: the stop token, the deadline, a condition.
  /// What bounds the chats around this one bounds it, too: before a model call they are asked.
  Stop check(const std::string& agent, bool before_model_call);

  /// Why the chat has to end now for a reason from outside: the stop token, the deadline.
  Stop external_stop(const std::string& agent);

  /// The human of `self`, through the effect log.
  /// `question` empty: our words for the situation.
  Result<std::string> ask_human(PartyState& self, HumanSituation situation, const std::string& peer,
                                std::string question = {});
  /// The same for any prompt and anybody who answers it; nothing is noted with a party.
  Result<std::string> ask_person(const HumanInput& person, HumanPrompt prompt);

  /// A context for a call made by `agent`.
  [[nodiscard]] CallContext context(const std::string& agent, Purpose purpose);
  template <class Make>
  void notify(Make&& make) {
    base_.notify(session_.runtime().clock(), std::forward<Make>(make));
  }

  [[nodiscard]] Session& session() noexcept { return session_; }
  [[nodiscard]] PartyState& party(const ConversableAgent& agent) { return parties_[agent]; }
  [[nodiscard]] const ChatOptions& options() const noexcept { return options_; }
  /// This chat's messages.
  [[nodiscard]] Transcript& transcript() noexcept { return transcript_; }
  [[nodiscard]] CallTotals::Snapshot used();
  /// Messages that were answered, counted in pairs; in a group every message after the first.
  [[nodiscard]] std::int64_t completed_turns() const noexcept {
    const auto said = static_cast<std::int64_t>(transcript_.size());
    return in_group_ ? said - 1 : said / 2;
  }
  /// Notes what was said elsewhere on behalf of this chat.
  void add_to_transcript(const TranscriptEntry& entry);
  void count_turns_of_a_group() noexcept { in_group_ = true; }
  /// How many chats this one runs in.
  [[nodiscard]] int depth() const noexcept { return depth_; }
  /// What bounds and observes this chat, for chats that run inside it.
  [[nodiscard]] const CallContext& bounds() const noexcept { return base_; }
  /// The observers of this chat and of those that it runs in, the runtime's left out.
  [[nodiscard]] const Observer& observers() const noexcept { return observers_; }

 private:
  /// Stores a message on both sides and announces it.
  void keep(const ConversableAgent& from, const ConversableAgent& to, Message&& message,
            MessageKind kind);
  Reply first_final_reply(Turn& turn, std::span<const BuiltInReply> exclude);
  Reply built_in_reply(BuiltInReply built_in, Turn& turn);
  Reply registered_reply(const ReplySlot& slot, Turn& turn);
  Reply default_reply(const Turn& turn);
  Stop apply_reply_hooks(const Turn& turn, MessageList& changed);
  MessagePtr keep_on_both_sides(const ConversableAgent& from, const ConversableAgent& to,
                                Message&& message);
  void tell(const ConversableAgent& from, const ConversableAgent& to, MessagePtr said,
            MessageKind kind);
  [[gnu::noinline]] void answer_instead(Reply& reply, const ConversableAgent& agent,
                                        const ConversableAgent& peer);
  [[nodiscard]] Stop turns_used_up(const ConversableAgent& first) const;
  [[nodiscard]] Stop messages_used_up(const ConversableAgent& speaker, std::int64_t said) const;
  Stop refuse_or_change(const ConversableAgent& from, const ConversableAgent& to, Message& message);
  // stop_check.cpp
  [[nodiscard]] Duration elapsed() const;
  ConversationView view(bool before_model_call, bool& outside_seen);
  Stop check_chats_around(const std::string& agent);
  Stop recorded(Stop stop, const std::string& agent);
  // context.cpp
  Stop apply_transforms(const Turn& turn, MessageList& changed);
  Result<ModelReply> complete_within_window(PartyState& self, ModelRequest& request,
                                            const CallContext& call);
  void leave_out(const PartyState& self, ModelRequest& request, std::int64_t room,
                 std::optional<MessageList>& all);

  // termination_check.cpp
  Reply check_termination_and_human_reply(Turn& turn);
  // tool_reply.cpp
  Reply function_call_reply(Turn& turn);
  Reply tool_calls_reply(Turn& turn);
  tl::expected<std::string, Stop> one_answer(Turn& turn, const ToolCall& call);
  tl::expected<std::string, Stop> tool_answer(Turn& turn, Result<std::string> result);
  std::optional<Result<std::string>> refused(Turn& turn, const ToolCall& call);
  Result<std::string> run_tool(Turn& turn, const ToolCall& call,
                               std::optional<std::uint64_t> step = std::nullopt);
  using ToolResults = std::vector<std::optional<Result<std::string>>>;
  void run_tools_together(Turn& turn, const std::vector<ToolCall>& calls, ToolResults& results);
  // code_reply.cpp
  Reply code_execution_reply(Turn& turn);
  Result<CodeResult> run_code(Turn& turn, const std::vector<CodeBlock>& blocks);
  // model_reply.cpp
  Reply model_reply(Turn& turn);
  Reply reply_of(Turn& turn, const MessageList& prompt, Result<ModelReply>&& answer);
  Reply closing_reply(Turn& turn, const MessageList& prompt, const Error& why);

  Session& session_;
  const ChatOptions& options_;
  Parties& parties_;
  EitherStop stop_;
  const Observer observers_;
  CallContext base_;
  const CallTotals::Snapshot used_before_;
  const Instant started_;   // on the clock
  Duration session_began_;  // the same moment in session time
  Transcript transcript_;
  RepetitionOptions repetition_;  // with the tools that say that they are repeatable
  bool closing_call_made_ = false;
  bool in_group_ = false;
  Conversation* const parent_;
  const int depth_;
};

/// The stop that a failure makes.
[[nodiscard]] Stop stop_from(Error error, const std::string& agent,
                             StopReason otherwise = StopReason::model_error);

/// Runs a user's function. What it throws becomes a Stop with callback_error.
template <class F>
auto guarded(std::string_view what, const std::string& agent, F&& f)
    -> tl::expected<std::invoke_result_t<F&>, Stop>;

[[nodiscard]] Stop callback_stop(std::string_view what, const std::string& agent,
                                 std::string_view thrown);

template <class F>
auto guarded(std::string_view what, const std::string& agent, F&& f)
    -> tl::expected<std::invoke_result_t<F&>, Stop> {
  try {
    return f();
  } catch (const std::exception& error) {
    return tl::unexpected<Stop>(callback_stop(what, agent, error.what()));
  } catch (...) {
    return tl::unexpected<Stop>(callback_stop(what, agent, "something that is no std::exception"));
  }
}

}  // namespace moderato

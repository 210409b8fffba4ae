#include <moderato/agents/reply_function.hpp>

#include <algorithm>

#include <moderato/agents/conversable_agent.hpp>

namespace moderato {

Trigger::Trigger(std::string name)
    : matches_([name = std::move(name)](const ConversableAgent* sender) -> Result<bool> {
        if (sender != nullptr) return sender->name() == name;
        return fail(ErrorCode::invalid_request, "a reply function for messages of \"" + name +
                                                    "\" cannot be asked without a sender");
      }) {}

Trigger::Trigger(const ConversableAgent& peer)
    : matches_([peer](const ConversableAgent* sender) -> Result<bool> {
        return sender != nullptr && *sender == peer;
      }) {}

Trigger::Trigger(std::function<bool(const ConversableAgent&)> matches)
    : matches_([matches = std::move(matches)](const ConversableAgent* sender) -> Result<bool> {
        return sender != nullptr && matches(*sender);
      }) {}

Trigger::Trigger(std::vector<Trigger> any_of)
    : matches_([any_of = std::move(any_of)](const ConversableAgent* sender) -> Result<bool> {
        for (const Trigger& trigger : any_of) {
          auto matched = trigger.matches(sender);
          if (!matched || *matched) return matched;
        }
        return false;
      }) {}

Trigger Trigger::any_sender() {
  return Trigger([](const ConversableAgent&) { return true; });
}

Trigger Trigger::no_sender() {
  Trigger trigger;
  trigger.matches_ = [](const ConversableAgent* sender) -> Result<bool> {
    return sender == nullptr;
  };
  return trigger;
}

Result<bool> Trigger::matches(const ConversableAgent* sender) const {
  if (!matches_) return true;
  return matches_(sender);
}

// AutoGen keeps each built-in function beside its asynchronous twin, and programs name positions in
// that list. There are no twins here; an empty slot stands for each, so that positions keep their
// meaning.
// Code execution has no twin there either, and takes one place.
std::vector<ReplySlot> built_in_replies(bool with_code_execution) {
  std::vector<ReplySlot> slots;
  for (const BuiltInReply built_in : {BuiltInReply::check_termination, BuiltInReply::function_call,
                                      BuiltInReply::tool_calls, BuiltInReply::model}) {
    if (built_in == BuiltInReply::model && with_code_execution) {
      slots.push_back({.built_in = BuiltInReply::code_execution});
    }
    slots.emplace_back();
    slots.push_back({.built_in = built_in});
  }
  return slots;
}

void insert_reply(std::vector<ReplySlot>& slots, ReplyRegistration registration) {
  if (registration.remove_other_reply_funcs) slots.clear();
  const std::size_t position = std::min(registration.position, slots.size());
  slots.insert(slots.begin() + static_cast<std::ptrdiff_t>(position),
               ReplySlot{.reply = std::move(registration.reply),
                         .trigger = std::move(registration.trigger)});
}

}  // namespace moderato

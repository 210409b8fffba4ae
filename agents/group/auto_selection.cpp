// The model's choice. It is shown who there is, the conversation, and the question; it answers with
// a name. An answer that names nobody or several is followed by a reminder, a bounded number of
// times; then the next candidate in order speaks, so that a model that cannot choose costs calls
// but never the conversation.
//
// With a provider that enforces schemas the answer is {"speaker": one of the names}: some ten
// tokens, and never a name too many. A provider that refuses the schema (an older server behind the
// same dialect) is asked for text from then on.
//
// Every request goes through the one door, for the purpose `speaker_selection`: it is charged to
// the budget of the conversation and recorded like any other effect.
#include <fmt/core.h>

#include <algorithm>

#include <moderato/agents/group/speaker_selection.hpp>
#include <moderato/agents/prompt.hpp>
#include <moderato/agents/transforms/apply.hpp>

namespace moderato {
namespace {

constexpr const char* asking = "checking_agent";
constexpr const char* answering = "speaker_selection_agent";

std::vector<std::string> names_of(const Agents& agents) {
  std::vector<std::string> names;
  for (const ConversableAgent& agent : agents) names.push_back(agent.name());
  return names;
}

MessagePtr prompted(const SelectionScene& scene, const std::string& words, const Agents& agents) {
  return store(Message{.role = scene.group.chat.role_for_select_speaker_messages,
                       .content = fill_selection_template(words, agents),
                       .name = asking});
}

// What was said, with the calls of the last message left out: they have no answers yet.
MessageList shown(const SelectionScene& scene, const Agents& candidates) {
  const GroupChat& chat = scene.group.chat;
  MessageList messages = scene.state.messages;
  if (!messages.empty() && (*messages.back())->has_calls()) {
    Message without = **messages.back();
    without.tool_calls.clear();
    without.function_call.reset();
    messages.back() = store(std::move(without));
  }
  if (chat.select_speaker_prompt_template && !chat.select_speaker_prompt_template->empty()) {
    messages.push_back(prompted(scene, *chat.select_speaker_prompt_template, candidates));
  } else if (!messages.empty()) {
    messages.push_back(store(as_kept(**messages.back(), asking, Role::user)));
  }
  return messages;
}

Json choice_format(const Agents& candidates) {
  Json names = Json::array();
  for (const ConversableAgent& agent : candidates) names.push_back(agent.name());
  const Json properties{{"speaker", {{"type", "string"}, {"enum", names}}}};
  const Json schema{{"type", "object"},
                    {"properties", properties},
                    {"required", Json::array({"speaker"})},
                    {"additionalProperties", false}};
  return Json{{"type", "json_schema"},
              {"json_schema", {{"name", "next_speaker"}, {"strict", true}, {"schema", schema}}}};
}

// The name in {"speaker": …}, or the text as it is.
std::string named_in(const std::string& answer) {
  auto parsed = parse_json(answer);
  if (!parsed || !parsed->is_object()) return answer;
  const auto speaker = parsed->find("speaker");
  return speaker != parsed->end() && speaker->is_string() ? speaker->get<std::string>() : answer;
}

// One selection: the questions and the answers so far.
class ModelChoice {
 public:
  ModelChoice(const SelectionScene& scene, const Agents& candidates)
      : scene_(scene),
        candidates_(candidates),
        model_(scene.group.chat.select_speaker_model ? scene.group.chat.select_speaker_model
                                                     : scene.manager.model()),
        messages_(shown(scene, candidates)) {}

  Chosen choose() {
    if (!model_) return in_order("round_robin");
    const std::int64_t tries = 1 + scene_.group.chat.max_retries_for_selecting_speaker;
    for (std::int64_t left = tries; left > 0; --left) {
      auto answer = ask();
      if (!answer) return failed_choice(std::move(answer).error());
      const auto mentions = mentioned_agents(names_of(candidates_), named_in(*answer));
      if (mentions.size() == 1) {
        return {.speaker = *scene_.group.participant(mentions.begin()->first)};
      }
      messages_.push_back(
          store(Message{.role = Role::assistant, .content = *answer, .name = answering}));
      messages_.push_back(prompted(scene_,
                                   mentions.empty()
                                       ? scene_.group.chat.select_speaker_auto_none_template
                                       : scene_.group.chat.select_speaker_auto_multiple_template,
                                   candidates_));
    }
    scene_.chat.notify([&] {
      return Warning{
          fmt::format("{}: the model named no single speaker in {} answers; the next "
                      "in order speaks",
                      scene_.manager.name(), tries)};
    });
    return in_order("auto, undecided");
  }

 private:
  Chosen in_order(std::string method) const {
    return {.speaker = scene_.group.next_after(scene_.last_speaker, candidates_),
            .method = std::move(method)};
  }

  bool by_choice() const {
    const SelectionAnswer wanted = scene_.group.chat.selection_answer;
    if (scene_.state.choice_refused || wanted == SelectionAnswer::text) return false;
    return wanted == SelectionAnswer::choice || model_.provider() == "openai";
  }

  // What the model is shown of it all, as the transforms leave it.
  tl::expected<MessageList, Stop> transformed() {
    const auto& transforms = scene_.group.chat.select_speaker_transforms;
    const std::string& name = scene_.manager.name();
    if (transforms.empty()) return messages_;
    const CallContext call = scene_.chat.context(name, Purpose::speaker_selection);
    auto changed = guarded("select_speaker_transforms", name, [&] {
      return apply_transforms(
          transforms, messages_, {.session = scene_.chat.session(), .agent = name, .call = call},
          [&](ContextTrimmed event) { scene_.chat.notify([&] { return std::move(event); }); });
    });
    if (!changed) return tl::unexpected<Stop>(std::move(changed).error());
    if (!*changed) return tl::unexpected<Stop>(stop_from(std::move(*changed).error(), name));
    return std::move(**changed);
  }

  tl::expected<ModelRequest, Stop> request() {
    auto messages = transformed();
    if (!messages) return tl::unexpected<Stop>(std::move(messages).error());
    const bool own_model = static_cast<bool>(scene_.group.chat.select_speaker_model);
    ModelRequest made{
        .messages = make_prompt(system_, *messages, false),
        .sampling = own_model ? scene_.group.chat.select_speaker_sampling : scene_.group.sampling};
    if (by_choice()) made.sampling.response_format = choice_format(candidates_);
    return made;
  }

  tl::expected<std::string, Stop> ask() {
    const std::string& name = scene_.manager.name();
    if (Stop stop = scene_.chat.check(name, true)) return tl::unexpected<Stop>(std::move(stop));
    auto made = request();
    if (!made) return tl::unexpected<Stop>(std::move(made).error());
    const CallContext context = scene_.chat.context(name, Purpose::speaker_selection);
    auto answer = model_.complete(*made, context);
    const bool refused = !answer && answer.error().code == ErrorCode::invalid_request &&
                         !made->sampling.response_format.is_null();
    if (refused) {
      scene_.state.choice_refused = true;
      made->sampling.response_format = nullptr;
      answer = model_.complete(*made, context);
    }
    if (!answer) return tl::unexpected<Stop>(stop_from(std::move(answer).error(), name));
    return answer->message.text();
  }

  const SelectionScene& scene_;
  const Agents& candidates_;
  const Model model_;
  MessageList messages_;
  const MessagePtr system_ = store(Message::system(
      fill_selection_template(scene_.group.chat.select_speaker_message_template, candidates_)));
};

}  // namespace

Chosen select_by_model(const SelectionScene& scene, const Agents& candidates) {
  return ModelChoice(scene, candidates).choose();
}

}  // namespace moderato

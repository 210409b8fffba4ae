#include "chat_flags.hpp"

#include <fmt/format.h>

#include "number_flags.hpp"

namespace moderato {
namespace {

void add_agent_flags(CLI::App& app, ChatFlags& flags) {
  app.add_option("task", flags.task, "What they talk about; left out: standard input");
  app.add_option("--system", flags.system_message, "System message of the assistant");
  app.add_option("--partner-system", flags.partner_system,
                 "System message of a second agent with the model, which talks to the assistant; "
                 "left out: the other side says --reply");
  app.add_option("--reply", flags.reply, "What the other side says by itself")
      ->capture_default_str();
  app.add_option("--human", flags.human, "When you are asked to answer for the other side")
      ->check(CLI::IsMember({"never", "terminate", "always"}))
      ->capture_default_str();
}

void add_endpoint_flags(CLI::App& app, ChatFlags& flags) {
  app.add_option("--model", flags.model, "Model; else $OPENAI_MODEL, else gpt-4o-mini");
  app.add_option("--base-url", flags.base_url,
                 "Endpoint, with its /v1; else $OPENAI_BASE_URL, else OpenAI's");
  app.add_option("--ca-file", flags.ca_file, "Certificates to trust, a PEM file")
      ->check(CLI::ExistingFile);
  app.add_flag("--simulate", flags.simulate,
               "Talk to the built-in simulated provider, offline; --model chooses its script")
      ->excludes("--base-url");
  app.add_option("--price-in", flags.price_in, "Price of a million input tokens")
      ->check(not_negative());
  app.add_option("--price-out", flags.price_out, "Price of a million output tokens")
      ->check(not_negative());
}

void add_bound_flags(CLI::App& app, ChatFlags& flags) {
  const auto add = [&app](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)->check(not_negative());
  };
  app.add_option("--stop-word", flags.stop_word,
                 "A message that ends with it ends the chat; empty: none")
      ->capture_default_str();
  add("--max-turns", flags.max_turns, "Most messages of the other side; 0: no such bound");
  add("--max-replies", flags.max_replies, "Most automatic replies of the other side in a row")
      ->capture_default_str();
  add("--token-budget", flags.token_budget,
      "Tokens of the whole chat, never exceeded; 0: no such bound");
  add("--max-output-tokens", flags.max_output_tokens, "Most tokens of one reply");
  app.add_option("--timeout", flags.timeout_s, "Seconds for the whole chat; 0: no such bound")
      ->check(CLI::Range(0.0, 1e9));
  add("--rpm", flags.rpm, "Your quota: requests per minute; 0: learnt from the provider");
  add("--tpm", flags.tpm, "Your quota: tokens per minute; 0: learnt from the provider");
  add("--max-in-flight", flags.max_in_flight, "Your quota: calls at once");
}

void add_journal_flags(CLI::App& app, ChatFlags& flags) {
  auto* journal =
      app.add_option("--journal", flags.journal,
                     "File that keeps the run, so that `moderato resume` can go on with "
                     "it; made if it is not there");
  app.add_option("--run", flags.run, "Name of the run in the journal; left out: it gets one")
      ->needs(journal);
}

void add_output_flags(CLI::App& app, ChatFlags& flags) {
  app.add_flag("--stream,!--no-stream", flags.stream, "Show replies as they are written (default)");
  app.add_flag("--json", flags.json, "Print events as JSON lines, and the summary on stderr");
  app.add_option("--colour", flags.colour, "Colours")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

/// Calls visit(name, member) for everything that is kept.
template <class Flags, class Visit>
void visit_members(Flags& flags, Visit&& visit) {
  visit("task", flags.task);
  visit("system", flags.system_message);
  visit("partner_system", flags.partner_system);
  visit("reply", flags.reply);
  visit("human", flags.human);
  visit("stop_word", flags.stop_word);
  visit("model", flags.model);
  visit("base_url", flags.base_url);
  visit("ca_file", flags.ca_file);
  visit("simulate", flags.simulate);
  visit("price_in", flags.price_in);
  visit("price_out", flags.price_out);
  visit("max_turns", flags.max_turns);
  visit("max_replies", flags.max_replies);
  visit("token_budget", flags.token_budget);
  visit("max_output_tokens", flags.max_output_tokens);
  visit("timeout_s", flags.timeout_s);
  visit("rpm", flags.rpm);
  visit("tpm", flags.tpm);
  visit("max_in_flight", flags.max_in_flight);
  visit("stream", flags.stream);
}

/// "http://user:password@host/v1" without the user: no key belongs in a journal.
std::string without_user(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t at = url.substr(0, url.find('/', begin)).rfind('@');
  if (at == std::string::npos || at < begin) return url;
  return url.substr(0, begin) + url.substr(at + 1);
}

}  // namespace

void add_chat_flags(CLI::App& app, ChatFlags& flags) {
  add_agent_flags(app, flags);
  add_endpoint_flags(app, flags);
  add_bound_flags(app, flags);
  add_journal_flags(app, flags);
  add_output_flags(app, flags);
}

Json program_of(const ChatFlags& flags) {
  Json program{{"command", "chat"}};
  visit_members(flags, [&](const char* name, const auto& value) { program[name] = value; });
  program["base_url"] = without_user(flags.base_url);
  return program;
}

Result<ChatFlags> flags_from_program(const Json& program) try {
  if (!program.is_object() || program.value("command", "") != "chat") {
    return fail(ErrorCode::configuration,
                "the run was not made by `moderato chat`: resume it with the program that made it");
  }
  ChatFlags flags;
  visit_members(flags, [&]<class T>(const char* name, T& value) {
    if (program.contains(name)) value = program.at(name).template get<T>();
  });
  return flags;
} catch (const Json::exception& wrong) {
  return fail(ErrorCode::storage,
              fmt::format("the run's program cannot be read: {}", wrong.what()));
}

}  // namespace moderato

#include "chat_command.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <iterator>
#include <memory>
#include <moderato/moderato.hpp>
#include <stdexcept>
#include <string>

#include "interrupts.hpp"
#include "provider_server.hpp"

namespace moderato {
namespace {

struct ChatFlags {
  std::string task;
  std::string system_message;
  std::string partner_system;
  std::string reply = "Please go on.";
  std::string human = "never";
  std::string stop_word = "TERMINATE";

  std::string model;
  std::string base_url;
  std::string ca_file;
  bool simulate = false;
  double price_in = 0;
  double price_out = 0;

  std::int64_t max_turns = 0;
  std::int64_t max_replies = 10;
  std::int64_t token_budget = 0;
  std::int64_t max_output_tokens = 0;
  double timeout_s = 0;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::int64_t max_in_flight = 0;

  bool stream = true;
  bool json = false;
  std::string colour = "auto";

  [[nodiscard]] bool priced() const { return price_in > 0 || price_out > 0; }
};

/// Flags that contradict each other; the program ends with exit code 2.
struct WrongFlags : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string read_task(const ChatFlags& flags) {
  if (!flags.task.empty()) return flags.task;
  if (::isatty(STDIN_FILENO) == 1) {
    throw WrongFlags("there is no task: moderato chat \"Review this contract …\", or pipe it in");
  }
  if (flags.human != "never") {
    throw WrongFlags("--human reads standard input, so give the task as an argument");
  }
  std::string task{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  if (task.empty()) throw WrongFlags("the task, read from standard input, is empty");
  return task;
}

/// Where the model is: the endpoint of the flags and the environment, or the simulated provider.
OpenAIOptions endpoint_of(const ChatFlags& flags, const ProviderServer* simulated) {
  OpenAIOptions options{.model = flags.model, .ca_file = flags.ca_file};
  if (simulated != nullptr) {
    options.base_url = simulated->base_url();
    if (options.model.empty()) options.model = "review";
    return options;
  }
  options.api_key = environment("OPENAI_API_KEY");
  const std::string url = flags.base_url.empty() ? environment("OPENAI_BASE_URL") : flags.base_url;
  if (!url.empty()) options.base_url = url;
  if (options.model.empty()) options.model = environment("OPENAI_MODEL");
  if (options.model.empty()) options.model = "gpt-4o-mini";
  return options;
}

ModelOptions model_options(const ChatFlags& flags) {
  ModelOptions options;
  if (flags.rpm > 0 || flags.tpm > 0 || flags.max_in_flight > 0) {
    options.limiter = quota({.requests_per_minute = flags.rpm,
                             .tokens_per_minute = flags.tpm,
                             .max_in_flight = flags.max_in_flight});
  }
  if (flags.max_output_tokens > 0) options.sampling.max_output_tokens = flags.max_output_tokens;
  if (flags.priced()) {
    options.price =
        Price{.input_per_million = flags.price_in, .output_per_million = flags.price_out};
  }
  return options;
}

Condition termination_message(const ChatFlags& flags) {
  return flags.stop_word.empty() ? never() : ends_with(flags.stop_word);
}

AssistantAgent make_assistant(const ChatFlags& flags, const Model& model) {
  AssistantOptions options{
      .name = "assistant", .model = model, .is_termination_msg = termination_message(flags)};
  if (!flags.system_message.empty()) options.system_message = flags.system_message;
  return AssistantAgent(std::move(options));
}

/// The other side: a second agent with the model, or one that says the same words again and again.
UserProxyAgent make_partner(const ChatFlags& flags, const Model& model) {
  UserProxyOptions options{.name = "user",
                           .max_consecutive_auto_reply = flags.max_replies,
                           .is_termination_msg = termination_message(flags),
                           .default_auto_reply = flags.reply};
  options.human_input_mode = flags.human == "always"      ? HumanInputMode::always
                             : flags.human == "terminate" ? HumanInputMode::terminate
                                                          : HumanInputMode::never;
  if (!flags.partner_system.empty()) {
    options.model = model;
    options.system_message = flags.partner_system;
  }
  return UserProxyAgent(std::move(options));
}

/// Shows the conversation. Its end is left out: print_summary says more about it.
Observer printer(const ChatFlags& flags) {
  if (flags.json) return json_lines(std::cout);
  const Colour colour = flags.colour == "always"  ? Colour::always
                        : flags.colour == "never" ? Colour::never
                                                  : Colour::automatic;
  return [show = console_printer(stdout, {.colour = colour})](const Event& event) {
    if (!std::holds_alternative<Stopped>(event.data)) show(event);
  };
}

ChatOptions chat_options(const ChatFlags& flags, const Runtime& runtime,
                         const Interrupts& interrupts) {
  ChatOptions options{
      .observer = printer(flags), .stop = interrupts.token(), .stream = flags.stream};
  if (flags.max_turns > 0) options.max_turns = flags.max_turns;
  if (flags.token_budget > 0) options.token_budget = flags.token_budget;
  if (flags.timeout_s > 0) {
    const std::chrono::duration<double> timeout(flags.timeout_s);
    options.deadline =
        saturating_add(runtime.clock().now(), std::chrono::duration_cast<Duration>(timeout));
  }
  return options;
}

void print_summary(const ChatFlags& flags, const ChatResult& chat) {
  const std::string cost = flags.priced() ? fmt::format("cost {:.6f}", chat.cost) : "cost unknown";
  std::fflush(stdout);
  fmt::print(flags.json ? stderr : stdout,
             "stopped: {}\n{} calls, {} tokens ({} in, {} out), {}, waited {:.2f} s\n", chat.stop,
             chat.calls, chat.usage.total(), chat.usage.input, chat.usage.output, cost,
             std::chrono::duration<double>(chat.queue_wait).count());
}

/// A failure ended the chat: not a bound, a rule or a person.
bool failed(const Stop& stop) {
  switch (stop.reason) {
    case StopReason::model_error:
    case StopReason::tool_error:
    case StopReason::human_error:
    case StopReason::callback_error:
    case StopReason::invalid_message:
    case StopReason::replay_mismatch:
    case StopReason::storage_error:
      return true;
    default:
      return false;
  }
}

int run_chat(const ChatFlags& flags) try {
  const std::string task = read_task(flags);
  const Interrupts interrupts;
  const auto simulated = flags.simulate ? std::make_unique<ProviderServer>() : nullptr;
  Runtime runtime;
  const Model model =
      runtime.model(openai(endpoint_of(flags, simulated.get())), model_options(flags));
  const ChatResult chat = make_partner(flags, model)
                              .initiate_chat(make_assistant(flags, model), task,
                                             chat_options(flags, runtime, interrupts));
  print_summary(flags, chat);
  if (interrupts.happened()) return 130;
  return failed(chat.stop) ? 1 : 0;
} catch (const WrongFlags& error) {
  fmt::print(stderr, "moderato chat: {}\n", error.what());
  return 2;
}

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
      ->check(CLI::NonNegativeNumber);
  app.add_option("--price-out", flags.price_out, "Price of a million output tokens")
      ->check(CLI::NonNegativeNumber);
}

void add_bound_flags(CLI::App& app, ChatFlags& flags) {
  const auto add = [&app](const char* name, auto& value, const char* what) {
    return app.add_option(name, value, what)->check(CLI::NonNegativeNumber);
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
  add("--rpm", flags.rpm, "Your quota: requests per minute");
  add("--tpm", flags.tpm, "Your quota: tokens per minute");
  add("--max-in-flight", flags.max_in_flight, "Your quota: calls at once");
}

void add_output_flags(CLI::App& app, ChatFlags& flags) {
  app.add_flag("--stream,!--no-stream", flags.stream, "Show replies as they are written (default)");
  app.add_flag("--json", flags.json, "Print events as JSON lines, and the summary on stderr");
  app.add_option("--colour", flags.colour, "Colours")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
}

}  // namespace

std::function<int()> add_chat_command(CLI::App& program) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* app = program.add_subcommand("chat", "Lets two agents talk about a task");
  add_agent_flags(*app, *flags);
  add_endpoint_flags(*app, *flags);
  add_bound_flags(*app, *flags);
  add_output_flags(*app, *flags);
  app->footer(
      "The key is $OPENAI_API_KEY; it cannot be given as a flag, where others could see it.\n"
      "Without --rpm, --tpm and --max-in-flight the limits are learnt from the provider.\n"
      "Exit codes: 0 the chat ended as planned, 1 a failure ended it, 2 wrong flags,\n"
      "130 interrupted (ctrl-C: the chat so far is kept and summed up).");
  return [flags] { return run_chat(*flags); };
}

}  // namespace moderato

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

#include "chat_flags.hpp"
#include "interrupts.hpp"
#include "provider_server.hpp"
#include "run_journal.hpp"

namespace moderato {
namespace {

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
  options.proxy = "environment";
  options.api_key = environment("OPENAI_API_KEY");
  const std::string url = flags.base_url.empty() ? environment("OPENAI_BASE_URL") : flags.base_url;
  if (!url.empty()) options.base_url = url;
  // It would be kept with the run.
  const std::string key = environment("OPENAI_API_KEY");
  if (!key.empty() && url.find(key) != std::string::npos) {
    throw WrongFlags("the base URL has the key in it; leave it out there, it is sent in a header");
  }
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

/// How a chat meets its journal.
struct Run {
  std::shared_ptr<SqliteJournal> journal{};  ///< Null: none.
  std::string id{};
  JournalMode mode = JournalMode::record;
  InterruptedTools interrupted_tools = InterruptedTools::stop;
};

/// Says what a resumed run begins with.
void announce(const Run& run, const EffectLog& effects) {
  if (run.mode == JournalMode::record) {
    fmt::print(stderr, "run {}; if it is interrupted: moderato resume {}\n", run.id, run.id);
  }
  if (run.mode == JournalMode::resume) print_interrupted(effects, *run.journal, run.id);
}

ChatResult chat_in_session(const ChatFlags& flags, const Run& run, Runtime& runtime,
                           const Model& model, ChatOptions options) {
  const auto talk = [&] {
    return make_partner(flags, model)
        .initiate_chat(make_assistant(flags, model), flags.task, options);
  };
  if (!run.journal) return talk();
  const bool recorded = run.mode != JournalMode::replay;
  Session session(runtime, {.id = run.id,
                            .observer = recorded ? run.journal->observer() : Observer(),
                            .journal = run.journal,
                            .journal_mode = run.mode,
                            .interrupted_tools = run.interrupted_tools});
  announce(run, session.effects());
  if (run.mode == JournalMode::record) {
    if (auto kept = run.journal->describe(run.id, program_of(flags)); !kept) {
      throw std::runtime_error(kept.error().message);
    }
  }
  if (options.deadline != no_deadline) options.deadline -= session.effects().recorded_until();
  options.session = &session;
  const ChatResult chat = talk();
  if (auto kept = run.journal->flush(); !kept) {
    fmt::print(stderr, "moderato: {}\n", kept.error().message);
  }
  return chat;
}

int chat_with(const ChatFlags& flags, const Run& run) {
  const Interrupts interrupts;
  const auto simulated = flags.simulate && run.mode != JournalMode::replay
                             ? std::make_unique<ProviderServer>()
                             : nullptr;
  Runtime runtime({.ledger = run.journal ? run.journal->ledger() : nullptr});
  const OpenAIOptions endpoint = endpoint_of(flags, simulated.get());
  const Model model = runtime.model(openai(endpoint), model_options(flags));
  ChatFlags said = flags;
  said.model = endpoint.model;  // where it came from the environment
  if (!flags.simulate) said.base_url = endpoint.base_url;
  const ChatResult chat =
      chat_in_session(said, run, runtime, model, chat_options(flags, runtime, interrupts));
  print_summary(flags, chat);
  if (endpoint.api_key.empty() && chat.stop.error &&
      chat.stop.error->code == ErrorCode::authentication) {
    fmt::print(stderr,
               "moderato chat: there is no key in $OPENAI_API_KEY. Set it, name a server that "
               "needs none with --base-url, or try --simulate.\n");
  }
  if (interrupts.happened()) return 130;
  return failed(chat.stop) ? 1 : 0;
}

/// A name that nobody else has: the time and the process.
std::string new_run_id() {
  const auto now = SteadyClock().wall_now().time_since_epoch();
  return fmt::format("{}-{}", std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
                     ::getpid());
}

int run_chat(ChatFlags flags) try {
  flags.task = read_task(flags);
  Run run{.id = flags.run.empty() ? new_run_id() : flags.run};
  if (!flags.journal.empty()) run.journal = open_journal(flags.journal, true);
  return chat_with(flags, run);
} catch (const WrongFlags& error) {
  fmt::print(stderr, "moderato chat: {}\n", error.what());
  return 2;
}

}  // namespace

int continue_chat(const ContinueFlags& how, const RecordedRun& run) {
  auto flags = flags_from_program(run.program);
  if (!flags) throw std::runtime_error(flags.error().message);
  flags->json = how.json;
  flags->colour = how.colour;
  if (!how.base_url.empty()) flags->base_url = how.base_url;
  return chat_with(*flags, {.journal = run.journal,
                            .id = run.id,
                            .mode = how.mode,
                            .interrupted_tools = how.interrupted_tools});
}

std::function<int()> add_chat_command(CLI::App& program) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* app = program.add_subcommand("chat", "Lets two agents talk about a task");
  add_chat_flags(*app, *flags);
  app->footer(
      "The key is $OPENAI_API_KEY; it cannot be given as a flag, where others could see it.\n"
      "Without --rpm, --tpm and --max-in-flight the limits are learnt from the provider.\n"
      "Exit codes: 0 the chat ended as planned, 1 a failure ended it, 2 wrong flags,\n"
      "130 interrupted (ctrl-C: the chat so far is kept and summed up).");
  return [flags] { return run_chat(*flags); };
}

}  // namespace moderato

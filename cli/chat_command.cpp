#include "chat_command.hpp"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <moderato/moderato.hpp>
#include <stop_token>
#include <thread>

#include "provider_server.hpp"

namespace moderato {
namespace {

struct ChatFlags {
  std::string task;
  std::string model;
  std::string base_url;
  std::string ca_file;
  std::string system_message;
  std::string reply = "Please go on.";
  std::string human = "never";
  std::string stop_word = "TERMINATE";
  std::int64_t max_turns = 0;
  std::int64_t max_replies = 10;
  std::int64_t token_budget = 0;
  std::int64_t max_output_tokens = 0;
  double timeout_s = 0;
  std::int64_t rpm = 0;
  std::int64_t tpm = 0;
  std::int64_t max_in_flight = 0;
  double price_in = 0;
  double price_out = 0;
  bool simulate = false;
  bool no_stream = false;
  bool json = false;
  std::string colour = "auto";
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// Turns SIGINT and SIGTERM into a stop token while it lives. A second signal ends the program.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    sigaddset(&signals_, SIGUSR1);  // ends the waiting thread
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::thread([this] {
      for (;;) {
        int signal = 0;
        sigwait(&signals_, &signal);
        if (signal == SIGUSR1) return;
        if (source_.stop_requested()) std::_Exit(130);
        source_.request_stop();
      }
    });
  }
  ~Interrupts() {
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }
  [[nodiscard]] bool happened() const { return source_.stop_requested(); }

 private:
  sigset_t signals_{};
  std::stop_source source_;
  std::thread thread_;
};

std::string read_task(const ChatFlags& flags) {
  if (!flags.task.empty()) return flags.task;
  if (::isatty(STDIN_FILENO) == 1) return {};
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

Limiter limiter_of(const ChatFlags& flags) {
  if (flags.rpm == 0 && flags.tpm == 0 && flags.max_in_flight == 0) return adaptive();
  return quota({.requests_per_minute = flags.rpm,
                .tokens_per_minute = flags.tpm,
                .max_in_flight = flags.max_in_flight});
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

void print_summary(const ChatResult& chat) {
  fmt::print("stopped: {}\n{} calls, {} tokens ({} in, {} out), cost {:.6f}, waited {:.2f} s\n",
             chat.stop, chat.calls, chat.usage.total(), chat.usage.input, chat.usage.output, chat.cost,
             std::chrono::duration<double>(chat.queue_wait).count());
}

int exit_code(const ChatResult& chat, bool interrupted) {
  if (interrupted) return 130;
  return chat.stop.error ? 1 : 0;
}

HumanInputMode human_mode(const std::string& name) {
  if (name == "always") return HumanInputMode::always;
  return name == "terminate" ? HumanInputMode::terminate : HumanInputMode::never;
}

/// Everything but the limiter's and the budget's answer to Ctrl-C: that is what the stop token is for.
ChatOptions chat_options(const ChatFlags& flags, const Runtime& runtime, const Interrupts& interrupts) {
  ChatOptions options{.stop = interrupts.token(), .stream = !flags.no_stream};
  if (flags.max_turns > 0) options.max_turns = flags.max_turns;
  if (flags.token_budget > 0) options.token_budget = flags.token_budget;
  if (flags.timeout_s > 0) {
    options.deadline = saturating_add(
        runtime.clock().now(),
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(flags.timeout_s)));
  }
  options.observer =
      flags.json ? json_lines(std::cout)
                 : console_printer(stdout, {.colour = flags.colour == "always"  ? Colour::always
                                                      : flags.colour == "never" ? Colour::never
                                                                                : Colour::automatic});
  return options;
}

int run_chat(const ChatFlags& flags) {
  const std::string task = read_task(flags);
  if (task.empty()) {
    fmt::print(stderr, "moderato chat: give a task: moderato chat \"Review this contract …\"\n");
    return 2;
  }
  const Interrupts interrupts;
  std::unique_ptr<ProviderServer> simulated;
  if (flags.simulate) simulated = std::make_unique<ProviderServer>();
  Runtime runtime;
  ModelOptions how{.limiter = limiter_of(flags)};
  if (flags.max_output_tokens > 0) how.sampling.max_output_tokens = flags.max_output_tokens;
  if (flags.price_in > 0 || flags.price_out > 0) {
    how.price = Price{.input_per_million = flags.price_in, .output_per_million = flags.price_out};
  }
  const Model model = runtime.model(openai(endpoint_of(flags, simulated.get())), how);
  AssistantOptions assistant_options{.name = "assistant", .model = model};
  if (!flags.system_message.empty()) assistant_options.system_message = flags.system_message;
  const AssistantAgent assistant(assistant_options);
  const UserProxyAgent user({.name = "user_proxy",
                             .human_input_mode = human_mode(flags.human),
                             .max_consecutive_auto_reply = flags.max_replies,
                             .is_termination_msg = ends_with(flags.stop_word),
                             .default_auto_reply = flags.reply});
  const ChatResult chat =
      user.initiate_chat(assistant, task, chat_options(flags, runtime, interrupts));
  if (!flags.json) print_summary(chat);
  if (chat.stop.error) fmt::print(stderr, "moderato chat: {}\n", to_string(*chat.stop.error));
  return exit_code(chat, interrupts.happened());
}

void add_limit_flags(CLI::App& app, ChatFlags& flags) {
  app.add_option("--max-turns", flags.max_turns, "Most turns; 0: no such bound")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-replies", flags.max_replies, "Most automatic replies of the user's side")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--token-budget", flags.token_budget, "Tokens that are never exceeded; 0: none")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-output-tokens", flags.max_output_tokens, "Longest reply")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--timeout", flags.timeout_s, "Seconds for the whole chat")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--rpm", flags.rpm, "Requests per minute of your quota")->check(CLI::NonNegativeNumber);
  app.add_option("--tpm", flags.tpm, "Tokens per minute of your quota")->check(CLI::NonNegativeNumber);
  app.add_option("--max-in-flight", flags.max_in_flight, "Calls at once")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace

std::function<int()> add_chat_command(CLI::App& program) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* app = program.add_subcommand(
      "chat", "Lets two agents talk about a task. Exit code 0: ended as planned, 1: a failure ended it, "
              "2: wrong flags, 130: interrupted");
  app->add_option("task", flags->task, "What they talk about; left out: standard input");
  app->add_option("--model", flags->model, "Model; else $OPENAI_MODEL, else gpt-4o-mini");
  app->add_option("--base-url", flags->base_url,
                  "Endpoint, with /v1; else $OPENAI_BASE_URL, else OpenAI. The key is $OPENAI_API_KEY");
  app->add_option("--ca-file", flags->ca_file, "Certificates to trust, a PEM file")
      ->check(CLI::ExistingFile);
  app->add_option("--system", flags->system_message, "System message of the assistant");
  app->add_option("--reply", flags->reply, "What the user's side says by itself")
      ->capture_default_str();
  app->add_option("--human", flags->human, "When you are asked")
      ->check(CLI::IsMember({"never", "terminate", "always"}))
      ->capture_default_str();
  app->add_option("--stop-word", flags->stop_word, "A reply that ends with it ends the chat")
      ->capture_default_str();
  add_limit_flags(*app, *flags);
  app->add_option("--price-in", flags->price_in, "Price of a million input tokens");
  app->add_option("--price-out", flags->price_out, "Price of a million output tokens");
  app->add_flag("--simulate", flags->simulate, "Talk to the built-in simulated provider, offline");
  app->add_flag("--no-stream", flags->no_stream, "Show replies when they are complete");
  app->add_flag("--json", flags->json, "Print events as JSON lines");
  app->add_option("--colour", flags->colour, "Colours")
      ->check(CLI::IsMember({"auto", "always", "never"}))
      ->capture_default_str();
  return [flags] { return run_chat(*flags); };
}

}  // namespace moderato

// Group chats at once: five agents take turns, for so many rounds, all groups on one loop. With
// --raw a bare libcurl loop sends the same bytes and does nothing else with the answers.

#include <curl/curl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <benchmarks/process_figures.hpp>
#include <benchmarks/raw_curl.hpp>
#include <moderato/agents/assistant_agent.hpp>
#include <moderato/agents/group/group_chat_manager.hpp>
#include <moderato/agents/user_proxy_agent.hpp>
#include <moderato/core/json.hpp>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/providers/openai.hpp>
#include <moderato/llm/providers/openai_request.hpp>
#include <string>
#include <vector>

namespace {

using namespace moderato;

constexpr std::size_t members = 5;

struct Options {
  std::string base_url = "http://127.0.0.1:8080/v1";
  std::string model = "echo";
  std::size_t groups = 1000;
  std::size_t rounds = 20;
  bool raw = false;
};

struct Tally {
  std::int64_t calls = 0;
  std::int64_t failed = 0;
};

std::string name_of(std::size_t member) {
  return fmt::format("member_{}", member);
}
std::string instructions_of(std::size_t member) {
  return fmt::format("You are member {} of a group. Speak briefly.", member);
}

Tally in_groups(const Options& options) {
  Runtime runtime;
  const Model model = runtime.model(
      openai({.model = options.model, .base_url = options.base_url, .api_key = "none"}),
      {.limiter = unlimited()});
  GroupChat group{.max_round = static_cast<std::int64_t>(options.rounds) + 1,
                  .speaker_selection_method = SpeakerSelectionMethod::round_robin};
  for (std::size_t member = 0; member < members; ++member) {
    group.agents.push_back(AssistantAgent({.name = name_of(member),
                                           .system_message = instructions_of(member),
                                           .model = model,
                                           .max_consecutive_auto_reply = 1000}));
  }
  const GroupChatManager manager({.group_chat = std::move(group), .name = "group"});
  const UserProxyAgent user({.name = "user", .human_input_mode = HumanInputMode::never});

  std::atomic<std::int64_t> calls{0};
  std::atomic<std::int64_t> failed{0};
  std::vector<std::size_t> numbers(options.groups);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  runtime.parallel(numbers, {.max_in_flight = options.groups}, [&](std::size_t number) {
    const ChatResult chat =
        user.initiate_chat(manager, fmt::format("Task {}: begin.", number),
                           {.max_turns = 1,
                            .max_messages = 1000,
                            .silent = true,
                            .repetition = {.report_after = 0, .stop_after = 0}});
    calls += chat.calls;
    if (chat.calls != static_cast<std::int64_t>(options.rounds)) ++failed;
    return true;
  });
  return {.calls = calls, .failed = failed};
}

/// The bodies of one group, in order, as moderato writes them.
std::vector<std::string> bodies_of_group(const Options& options, std::size_t number) {
  OpenAIRequestWriter writer({.model = options.model, .max_completion_tokens = false});
  struct Said {
    std::string name;
    std::string text;
  };
  std::vector<Said> said{{"user", fmt::format("Task {}: begin.", number)}};
  std::vector<std::string> bodies;
  for (std::size_t round = 0; round < options.rounds; ++round) {
    const std::string speaker = name_of(round % members);
    ModelRequest request;
    request.messages.push_back(store(Message::system(instructions_of(round % members))));
    for (const Said& message : said) {
      request.messages.push_back(store(message.name == speaker
                                           ? Message::assistant(message.text, message.name)
                                           : Message::user(message.text, message.name)));
    }
    bodies.push_back(*writer.body({.request = request, .max_output_tokens = std::nullopt}));
    said.push_back({speaker, said.front().text});
  }
  return bodies;
}

Tally bare(const Options& options, const std::vector<std::string>& bodies) {
  const bench::RawCurlResult result = bench::run_raw_curl(
      {.url = options.base_url + "/chat/completions",
       .headers = {"Content-Type: application/json", "Authorization: Bearer none"},
       .concurrency = options.groups,
       .per_multi = 64},
      bodies, bodies.size());
  return {.calls = static_cast<std::int64_t>(result.ok),
          .failed = static_cast<std::int64_t>(result.failed)};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("group chats of five agents, all at once; one JSON line");
  app.add_option("--base-url", options.base_url);
  app.add_option("--model", options.model);
  app.add_option("--groups", options.groups)->check(CLI::PositiveNumber);
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber);
  app.add_flag("--raw", options.raw);
  CLI11_PARSE(app, argc, argv);

  curl_global_init(CURL_GLOBAL_ALL);
  bench::raise_descriptor_limit();
  std::vector<std::string> bodies;  // made before the clock starts: the floor only sends
  if (options.raw) {
    std::vector<std::vector<std::string>> groups;
    for (std::size_t i = 0; i < options.groups; ++i) groups.push_back(bodies_of_group(options, i));
    for (std::size_t round = 0; round < options.rounds; ++round) {
      for (auto& group : groups) bodies.push_back(std::move(group[round]));
    }
  }
  const double cpu = bench::cpu_seconds();
  const double wall = bench::wall_seconds();
  const Tally tally = options.raw ? bare(options, bodies) : in_groups(options);
  const Json line{{"contender", options.raw ? "raw libcurl" : "moderato"},
                  {"wall_s", bench::wall_seconds() - wall},
                  {"cpu_s", bench::cpu_seconds() - cpu},
                  {"calls", tally.calls},
                  {"chats_failed", tally.failed},
                  {"errors", Json::object()}};
  fmt::print("{}\n", dump_json(line));
  return tally.failed == 0 ? 0 : 1;
}

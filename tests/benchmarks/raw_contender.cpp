// The floor of the common benchmark: the same chats as contender.cpp, held by a bare libcurl multi
// loop that sends the same bytes, reads the answers into a text and does nothing else with them.

#include <curl/curl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <benchmarks/process_figures.hpp>
#include <benchmarks/raw_curl.hpp>
#include <moderato/core/json.hpp>
#include <moderato/llm/providers/openai_request.hpp>
#include <string>
#include <vector>

namespace {

using namespace moderato;

struct Options {
  std::string workload = "w1";
  std::string base_url = "http://127.0.0.1:8080/v1";
  std::string model = "pingpong-10";
  std::size_t chats = 10;
  int turns = 10;
};

/// The bodies of one chat, in order, as moderato writes them.
std::vector<std::string> bodies_of_chat(const Options& options, std::size_t chat, bool stream) {
  OpenAIRequestWriter writer({.model = options.model, .max_completion_tokens = false});
  ModelRequest request{.stream = stream};
  request.messages.push_back(store(Message::system("You are a helpful assistant.")));
  request.messages.push_back(
      store(Message::user(fmt::format("Task {}: begin.", chat), "user_proxy")));
  std::vector<std::string> bodies;
  for (int turn = 1; turn <= options.turns; ++turn) {
    ProviderRequest attempt{.request = request, .max_output_tokens = std::nullopt};
    if (stream) attempt.on_delta = [](std::string_view) {};
    bodies.push_back(*writer.body(attempt));
    request.messages.push_back(
        store(Message::assistant(fmt::format("Reply {}.", turn), "assistant")));
    request.messages.push_back(store(Message::user("Go on.", "user_proxy")));
  }
  return bodies;
}

class RawClient {
 public:
  explicit RawClient(const std::string& url) {
    curl_easy_setopt(easy_, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy_, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &RawClient::take);
    curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  }
  ~RawClient() {
    curl_easy_cleanup(easy_);
    curl_multi_cleanup(multi_);
    curl_slist_free_all(headers_);
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  /// One request; true for HTTP 200.
  bool post(const std::string& body) {
    answer_.clear();
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_multi_add_handle(multi_, easy_);
    int running = 1;
    while (running > 0) {
      curl_multi_perform(multi_, &running);
      if (running > 0) curl_multi_poll(multi_, nullptr, 0, 1000, nullptr);
    }
    curl_multi_remove_handle(multi_, easy_);
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
  }
  [[nodiscard]] const std::string& answer() const noexcept { return answer_; }

 private:
  static std::size_t take(char* data, std::size_t size, std::size_t count, void* self) {
    static_cast<RawClient*>(self)->answer_.append(data, size * count);
    return size * count;
  }

  CURLM* multi_ = curl_multi_init();
  CURL* easy_ = curl_easy_init();
  curl_slist* headers_ = curl_slist_append(
      curl_slist_append(nullptr, "Content-Type: application/json"), "Authorization: Bearer none");
  std::string answer_;
};

std::int64_t events_in(const std::string& stream) {
  std::int64_t events = 0;
  for (std::size_t at = stream.find("\n\n"); at != std::string::npos;
       at = stream.find("\n\n", at + 2)) {
    ++events;
  }
  return events;
}

/// What came of all chats.
struct Tally {
  std::int64_t calls = 0;
  std::int64_t failed = 0;
  std::int64_t chunks = 0;
  std::vector<double> chat_cpu{};
  std::vector<double> chat_wall{};
};

/// Chats one after another on one connection.
Tally one_by_one(const Options& options, const std::vector<std::vector<std::string>>& chats) {
  RawClient client(options.base_url + "/chat/completions");
  Tally tally;
  for (const auto& bodies : chats) {
    const double cpu_before = bench::cpu_seconds();
    const double wall_before = bench::wall_seconds();
    bool ok = true;
    for (const std::string& body : bodies) {
      ok = client.post(body) && ok;
      ++tally.calls;
      if (options.workload == "w6") tally.chunks += events_in(client.answer());
    }
    if (!ok) ++tally.failed;
    tally.chat_cpu.push_back(bench::cpu_seconds() - cpu_before);
    tally.chat_wall.push_back(bench::wall_seconds() - wall_before);
  }
  return tally;
}

/// As many connections as chats, 64 to a multi handle; each asks anew as soon as it has its answer.
Tally all_at_once(const Options& options, const std::vector<std::vector<std::string>>& chats) {
  std::vector<std::string> bodies;  // first all first ones, then all second ones, …
  for (std::size_t turn = 0; turn < chats.front().size(); ++turn) {
    for (const auto& chat : chats) bodies.push_back(chat[turn]);
  }
  const bench::RawCurlResult result = bench::run_raw_curl(
      {.url = options.base_url + "/chat/completions",
       .headers = {"Content-Type: application/json", "Authorization: Bearer none"},
       .concurrency = chats.size(),
       .per_multi = 64},
      bodies, bodies.size());
  return {.calls = static_cast<std::int64_t>(result.ok),
          .failed = static_cast<std::int64_t>(result.failed)};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("a bare libcurl multi loop as a contender: one workload, one JSON line");
  app.add_option("--workload", options.workload)->check(CLI::IsMember({"w1", "w2", "w6", "w7"}));
  app.add_option("--base-url", options.base_url);
  app.add_option("--model", options.model);
  app.add_option("--chats", options.chats)->check(CLI::PositiveNumber);
  app.add_option("--turns", options.turns)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);

  curl_global_init(CURL_GLOBAL_ALL);
  bench::raise_descriptor_limit();
  // What has to be sent is made before the clock starts: the floor only sends.
  std::vector<std::vector<std::string>> chats;
  for (std::size_t chat = 0; chat < options.chats; ++chat) {
    chats.push_back(bodies_of_chat(options, chat, options.workload == "w6"));
  }
  const double startup_cpu = bench::cpu_seconds();
  const double rss_start = bench::status_mb("VmRSS");
  const double wall = bench::wall_seconds();
  const Tally tally =
      options.workload == "w2" ? all_at_once(options, chats) : one_by_one(options, chats);
  const Json line{{"contender", "raw libcurl"},
                  {"workload", options.workload},
                  {"wall_s", bench::wall_seconds() - wall},
                  {"cpu_s", bench::cpu_seconds() - startup_cpu},
                  {"startup_cpu_s", startup_cpu},
                  {"rss_mb", bench::status_mb("VmHWM")},
                  {"rss_start_mb", rss_start},
                  {"calls", tally.calls},
                  {"r429", 0},
                  {"chats_ok", static_cast<std::int64_t>(chats.size()) - tally.failed},
                  {"chats_failed", tally.failed},
                  {"chat_cpu_s", tally.chat_cpu},
                  {"chat_wall_s", tally.chat_wall},
                  {"chunks", tally.chunks},
                  {"errors", Json::object()}};
  fmt::print("{}\n", dump_json(line));
}

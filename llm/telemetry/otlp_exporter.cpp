#include <moderato/llm/telemetry/otlp_exporter.hpp>

#include <fmt/format.h>

#include <iterator>
#include <mutex>

#include <moderato/core/wait.hpp>
#include <moderato/llm/http/http_client.hpp>
#include <moderato/llm/telemetry/otlp_batch.hpp>

namespace moderato {

class OtlpExporter::State {
 public:
  explicit State(OtlpOptions options) : options_(std::move(options)) {}

  void take(const Event& event) {
    const std::scoped_lock lock(mutex_);
    std::visit([&](const auto& data) { note(event, data); }, event.data);
  }

  Result<void> flush(Runtime& runtime) {
    std::vector<OtlpSpan> spans;
    Json metrics;
    Json traces;
    {
      const std::scoped_lock lock(mutex_);
      if (seed_ == 0) {
        seed_ = runtime.random() | 1U;
        began_ = runtime.clock().wall_now();
      }
      const OtlpFrame frame{runtime.clock(), seed_, began_, options_.service_name};
      spans.swap(spans_);
      if (!spans.empty()) traces = otlp_traces(spans, frame);
      if (!tokens_.empty() || !durations_.empty()) {
        metrics = otlp_metrics(tokens_, durations_, frame);
      }
    }
    auto sent = send(runtime, "/v1/traces", traces);
    if (!sent) put_back(std::move(spans));
    auto sent_metrics = send(runtime, "/v1/metrics", metrics);
    return sent ? sent_metrics : sent;
  }

  [[nodiscard]] std::uint64_t dropped() const {
    const std::scoped_lock lock(mutex_);
    return dropped_;
  }
  [[nodiscard]] Duration interval() const { return options_.interval; }

 private:
  struct OpenSpan {
    std::uint64_t number = 0;
    std::string agent{};
    Instant began{};
  };

  Result<void> send(Runtime& runtime, const char* path, const Json& body) const {
    if (body.is_null()) return {};
    HttpRequest request{.url = options_.endpoint + path,
                        .headers = {{"Content-Type", "application/json"}},
                        .body = dump_json(body),
                        .limits = {.total = options_.timeout}};
    for (const auto& [name, value] : options_.headers) {
      request.headers.push_back({name, value.reveal()});
    }
    HttpOutcome outcome = runtime.block_on([&] { return send_http(request); });
    if (!outcome.result) return fail(std::move(outcome.result).error());
    if (outcome.response.status < 200 || outcome.response.status > 299) {
      return fail(ErrorCode::protocol, fmt::format("the collector at {} answered with status {}",
                                                   options_.endpoint, outcome.response.status));
    }
    return {};
  }

  /// What could not be sent comes before what has ended since.
  void put_back(std::vector<OtlpSpan> spans) {
    const std::scoped_lock lock(mutex_);
    spans.insert(spans.end(), std::make_move_iterator(spans_.begin()),
                 std::make_move_iterator(spans_.end()));
    if (spans.size() > options_.max_spans) {
      dropped_ += spans.size() - options_.max_spans;
      spans.resize(options_.max_spans);
    }
    spans_ = std::move(spans);
  }

  void add(OtlpSpan span) {
    if (spans_.size() >= options_.max_spans) {
      ++dropped_;
      return;
    }
    if (span.number == 0) span.number = ++numbers_;
    spans_.push_back(std::move(span));
  }

  /// The chat that is under way in this session, or in the one that opened it.
  [[nodiscard]] std::uint64_t chat_of(std::string_view session) const {
    for (;;) {
      const auto found = chats_.find(session);
      if (found != chats_.end() && !found->second.empty()) return found->second.back().number;
      const std::size_t slash = session.rfind('/');
      if (slash == std::string_view::npos) return 0;
      session = session.substr(0, slash);
    }
  }

  void note(const Event& event, const ChatStarted& chat) {
    auto& open = chats_[event.session];
    // The parent is found at the end, when the stack is as it is now.
    open.push_back({.number = ++numbers_, .agent = chat.recipient, .began = event.at});
  }

  void note(const Event& event, const Stopped& stopped) {
    const auto found = chats_.find(event.session);
    if (found == chats_.end() || found->second.empty()) return;
    const OpenSpan chat = std::move(found->second.back());
    found->second.pop_back();
    if (found->second.empty()) chats_.erase(found);
    add({.number = chat.number,
         .parent = chat_of(event.session),
         .session = event.session,
         .name = "invoke_agent " + chat.agent,
         .began = chat.began,
         .took = event.at - chat.began,
         .attributes = {{"gen_ai.operation.name", "invoke_agent"},
                        {"gen_ai.agent.name", chat.agent},
                        {"gen_ai.conversation.id", event.session},
                        {"gen_ai.usage.input_tokens", stopped.usage.input},
                        {"gen_ai.usage.output_tokens", stopped.usage.output},
                        {"moderato.stop.reason", std::string(to_string(stopped.stop.reason))}},
         .error = stopped.stop.error ? std::string(to_string(stopped.stop.error->code)) : ""});
  }

  void note(const Event& event, const CallFinished& call) { note_call(event, call.record); }
  void note(const Event& event, const CallRejected& call) { note_call(event, call.record); }
  void note_call(const Event& event, const CallRecord& record) {
    if (record.attempt == 0) return;  // nothing was sent
    const std::string error = record.error ? std::string(to_string(*record.error)) : "";
    const OtlpAttributes common{{"gen_ai.operation.name", "chat"},
                                {"gen_ai.provider.name", record.provider},
                                {"gen_ai.request.model", record.model}};
    OtlpSpan span{.parent = chat_of(event.session),
                  .session = event.session,
                  .name = "chat " + record.model,
                  .client = true,
                  .began = record.sent_at,
                  .took = record.latency,
                  .attributes = common,
                  .error = error};
    span.attributes.insert(span.attributes.end(),
                           {{"gen_ai.agent.name", record.agent},
                            {"gen_ai.conversation.id", record.session},
                            {"gen_ai.usage.input_tokens", record.usage.input},
                            {"gen_ai.usage.output_tokens", record.usage.output},
                            {"gen_ai.response.id", record.request_id},
                            {"moderato.purpose", std::string(to_string(record.purpose))},
                            {"moderato.attempt", record.attempt},
                            {"moderato.queue_wait_s", in_seconds(record.queue_wait)}});
    if (!record.finish_reason.empty()) {
      span.attributes.emplace_back("gen_ai.response.finish_reasons",
                                   Json::array({record.finish_reason}));
    }
    if (record.http_status != 0) {
      span.attributes.emplace_back("http.response.status_code", record.http_status);
    }
    add(std::move(span));

    OtlpAttributes timed = common;
    if (!error.empty()) timed.emplace_back("error.type", error);
    durations_[key(timed)].add(in_seconds(record.latency), otlp_duration_boundaries);
    count_tokens(common, "input", record.usage.input);
    count_tokens(common, "output", record.usage.output);
  }
  void count_tokens(OtlpAttributes attributes, const char* type, std::int64_t tokens) {
    if (tokens == 0) return;
    attributes.emplace_back("gen_ai.token.type", type);
    tokens_[key(attributes)].add(static_cast<double>(tokens), otlp_token_boundaries);
  }

  void note(const Event& event, const ToolStarted& tool) {
    if (options_.content) arguments_[event.session + '\n' + tool.call_id] = tool.arguments;
  }
  void note(const Event& event, const ToolFinished& tool) {
    OtlpSpan span{.parent = chat_of(event.session),
                  .session = event.session,
                  .name = "execute_tool " + tool.tool,
                  .began = event.at - tool.took,
                  .took = tool.took,
                  .attributes = {{"gen_ai.operation.name", "execute_tool"},
                                 {"gen_ai.tool.name", tool.tool},
                                 {"gen_ai.tool.call.id", tool.call_id},
                                 {"gen_ai.agent.name", tool.agent}},
                  .error = tool.ok ? "" : "tool_error"};
    if (options_.content) {
      if (auto given = arguments_.extract(event.session + '\n' + tool.call_id)) {
        span.attributes.emplace_back("gen_ai.tool.call.arguments", given.mapped());
      }
      span.attributes.emplace_back("gen_ai.tool.call.result", tool.result);
    }
    add(std::move(span));
  }
  template <class Other>
  void note(const Event&, const Other&) {}

  static std::string key(const OtlpAttributes& attributes) {
    return dump_json(otlp_attributes(attributes));
  }
  static double in_seconds(Duration duration) {
    return std::chrono::duration<double>(duration).count();
  }

  const OtlpOptions options_;
  mutable std::mutex mutex_;
  std::uint64_t seed_ = 0;
  WallTime began_{};
  std::uint64_t numbers_ = 0;
  std::uint64_t dropped_ = 0;
  std::map<std::string, std::vector<OpenSpan>, std::less<>> chats_;
  std::map<std::string, std::string> arguments_;  // of tools that run, with `content`
  std::vector<OtlpSpan> spans_;
  OtlpSeries tokens_;
  OtlpSeries durations_;
};

OtlpExporter::OtlpExporter(OtlpOptions options)
    : state_(std::make_shared<State>(std::move(options))) {}

OtlpExporter::~OtlpExporter() {
  // A runtime that is gone has ended its fibers, and cannot be asked any more.
  if (!sender_.valid() || sender_.done()) return;
  sender_.cancel();
  sender_.join();
}

Observer OtlpExporter::observer() {
  return [state = state_](const Event& event) { state->take(event); };
}

void OtlpExporter::start(Runtime& runtime) {
  if (sender_.valid()) return;
  sender_ = runtime.spawn(
      [state = state_, &runtime] {
        while (sleep_for(state->interval()) != Wake::cancelled) (void)state->flush(runtime);
      },
      {.name = "otlp"});
}

Result<void> OtlpExporter::flush(Runtime& runtime) {
  return state_->flush(runtime);
}

std::uint64_t OtlpExporter::dropped() const {
  return state_->dropped();
}

}  // namespace moderato

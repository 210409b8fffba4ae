#include <moderato/llm/providers/openai.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include <moderato/llm/http/http_client.hpp>
#include <moderato/llm/http/sse_parser.hpp>
#include <moderato/llm/providers/openai_error.hpp>
#include <moderato/llm/providers/openai_request.hpp>
#include <moderato/llm/providers/openai_response.hpp>
#include <moderato/llm/providers/openai_stream.hpp>
#include <moderato/llm/providers/quota_signals.hpp>
#include <moderato/llm/tokens/fingerprint.hpp>

namespace moderato {
namespace {

constexpr std::string_view openai_host = "api.openai.com";

OpenAIRequestWriter::Options writer_options(const OpenAIOptions& options, std::string_view host) {
  return {.model = options.model,
          .max_completion_tokens =
              options.output_cap_field == OutputCapField::max_completion_tokens ||
              (options.output_cap_field == OutputCapField::automatic && host == openai_host),
          .stream_usage = options.stream_usage,
          .send_names = options.send_names};
}

std::optional<Error> find_fault(const OpenAIOptions& options,
                                const Result<OpenAIEndpoint>& endpoint) {
  const auto wrong = [](ErrorCode code, std::string text) {
    return Error{.code = code, .message = std::move(text)};
  };
  if (!endpoint) return endpoint.error();
  if (options.model.empty()) {
    return wrong(ErrorCode::configuration, "openai({.model = …}) names no model");
  }
  const std::string& key = options.api_key.reveal();
  if (key.empty() && endpoint->host == openai_host) {
    return wrong(
        ErrorCode::authentication,
        "api.openai.com needs a key: set openai({.api_key = …}); the library does not read "
        "the environment");
  }
  if (std::any_of(key.begin(), key.end(), [](unsigned char c) { return c <= ' ' || c >= 0x7F; })) {
    return wrong(
        ErrorCode::configuration,
        "the api_key contains a blank, a line end or a character that is not ASCII (was it "
        "read from a file with its last line end?)");
  }
  return std::nullopt;
}

HttpRequest request_template(const OpenAIOptions& options, const std::string& url) {
  HttpRequest request{.url = url,
                      .headers = {{"Content-Type", "application/json"}},
                      .limits = {.connect = options.connect_timeout,
                                 .first_byte = options.first_byte_timeout,
                                 .silence = options.silence_timeout,
                                 .total = options.total_timeout,
                                 .max_response_bytes = options.max_response_bytes},
                      .ca_file = options.ca_file,
                      .proxy = options.proxy};
  const auto add = [&](std::string name, std::string value) {
    if (!value.empty()) request.headers.push_back({std::move(name), std::move(value)});
  };
  if (!options.api_key.empty()) add("Authorization", "Bearer " + options.api_key.reveal());
  add("OpenAI-Organization", options.organization);
  add("OpenAI-Project", options.project);
  for (const auto& [name, value] : options.headers) add(name, value);
  return request;
}

std::string request_id(const HttpHeaders& headers) {
  for (const std::string_view name : {"x-request-id", "request-id", "apim-request-id"}) {
    if (const auto id = headers.find(name)) return excerpt(*id, 100);
  }
  return {};
}

/// What takes a streamed answer piece by piece. Some servers do not stream although they were asked
/// to: their whole answer is then taken as one piece.
class StreamedAnswer {
 public:
  StreamedAnswer(const ProviderRequest& request, const Clock& clock, OpenAIStream::Redact redact)
      : on_text_(request.on_delta),
        clock_(clock),
        sent_(clock.now()),
        redact_(std::move(redact)),
        stream_(on_text_, redact_) {}

  void headers(const HttpResponse& response) {
    const auto type = response.headers.find("content-type").value_or("");
    whole_ = type.find("application/json") != std::string_view::npos;
  }
  [[nodiscard]] Result<void> data(std::string_view piece) {
    if (whole_) {
      body_ += piece;
      return {};
    }
    auto taken = events_.feed(piece, [this](const SseEvent& event) { return stream_.take(event); });
    if (!first_token_ && stream_.started()) first_token_ = clock_.now() - sent_;
    return taken;
  }
  void finish(Result<void> transport, ProviderOutcome& outcome) {
    outcome.time_to_first_token = first_token_;
    if (!whole_) return stream_.finish(std::move(transport), outcome);
    if (!transport) {
      outcome.reply = tl::unexpected<Error>(std::move(transport).error());
      return;
    }
    read_openai_reply(body_, outcome);
    if (!outcome.reply) read_openai_reply(redact_(body_), outcome);
    if (outcome.reply && on_text_) on_text_(outcome.reply->message.text());
  }

 private:
  const std::function<void(std::string_view)>& on_text_;
  const Clock& clock_;
  const Instant sent_;
  const OpenAIStream::Redact redact_;
  std::optional<Duration> first_token_;
  bool whole_ = false;
  std::string body_;
  SseParser events_;
  OpenAIStream stream_;
};

class OpenAIProvider final : public Provider {
 public:
  OpenAIProvider(OpenAIOptions options, const Clock& clock)
      : options_(std::move(options)),
        clock_(clock),
        endpoint_(openai_endpoint(options_.base_url)),
        fault_(find_fault(options_, endpoint_)),
        template_(request_template(options_, endpoint_ ? endpoint_->url : "")),
        writer_(writer_options(options_, endpoint_ ? endpoint_->host : "")) {}

  ProviderOutcome send(const ProviderRequest& request, const CallContext& context) override {
    ProviderOutcome outcome;
    if (fault_) {
      outcome.reply = fail(*fault_);
      return outcome;
    }
    auto body = writer_.body(request);
    if (!body) {
      outcome.reply = tl::unexpected<Error>(std::move(body).error());
      return outcome;
    }
    HttpRequest http = template_;
    http.body = std::move(*body);
    http.deadline = context.deadline;
    http.stop = context.stop;
    if (request.on_delta) {
      receive_streamed(request, http, outcome);
    } else {
      const HttpOutcome sent = send_http(http);
      read_head(sent, outcome);
      read_whole(sent, outcome);
    }
    OpenAIRequestWriter::keep(request, std::move(http.body));
    finish(outcome);
    return outcome;
  }

  [[nodiscard]] std::string_view name() const noexcept override { return "openai"; }
  [[nodiscard]] std::string_view model() const noexcept override { return options_.model; }
  [[nodiscard]] std::string quota_key() const override {
    return fmt::format("{}/{:016x}/{}", endpoint_ ? endpoint_->host : "",
                       Fingerprint().add(options_.api_key.reveal()).value(), options_.model);
  }

 private:
  static bool is_good(const HttpOutcome& sent) {
    return sent.response.status >= 200 && sent.response.status < 300;
  }

  // Not inlined: a call that is not streamed would wait with a larger frame.
  [[gnu::noinline]] void receive_streamed(const ProviderRequest& request, HttpRequest& http,
                                          ProviderOutcome& outcome) const {
    StreamedAnswer answer(request, clock_,
                          [this](std::string text) { return redacted(std::move(text)); });
    http.on_headers = [&](const HttpResponse& response) { answer.headers(response); };
    http.on_data = [&](std::string_view piece) { return answer.data(piece); };
    HttpOutcome sent = send_http(http);
    read_head(sent, outcome);
    if (is_good(sent)) {
      answer.finish(std::move(sent.result), outcome);
    } else {
      read_whole(sent, outcome);
    }
  }

  void read_head(const HttpOutcome& sent, ProviderOutcome& outcome) const {
    outcome.reached = sent.reached;
    outcome.http_status = sent.response.status;
    outcome.request_id = request_id(sent.response.headers);
    outcome.quota = quota_signal(sent.response.headers, clock_.wall_now());
  }

  void read_whole(const HttpOutcome& sent, ProviderOutcome& outcome) const {
    if (!sent.result) {
      outcome.reply = fail(sent.result.error());
    } else if (is_good(sent)) {
      read_openai_reply(sent.response.body, outcome);
      if (!outcome.reply) read_openai_reply(redacted(sent.response.body), outcome);
    } else {
      outcome.reply = fail(
          read_openai_error(sent.response.status, redacted(sent.response.body), outcome.quota));
    }
  }

  void finish(ProviderOutcome& outcome) const {
    if (outcome.reply) {
      outcome.reply->request_id = outcome.request_id;
      return;
    }
    Error& error = outcome.reply.error();
    error.http_status = outcome.http_status;
    error.request_id = outcome.request_id;
    if (!error.retry_after) error.retry_after = outcome.quota.retry_after;
    error.message = redacted(std::move(error.message));
  }

  /// Servers like to quote the key that they refuse. A text is redacted before it is cut: half a
  /// key would not be known any more.
  [[nodiscard]] std::string redacted(std::string text) const {
    text = options_.api_key.redact(std::move(text));
    for (const auto& [name, value] : options_.headers) {
      if (value.size() >= 8) text = Secret(value).redact(std::move(text));
    }
    return text;
  }

  const OpenAIOptions options_;
  const Clock& clock_;
  const Result<OpenAIEndpoint> endpoint_;
  const std::optional<Error> fault_;
  const HttpRequest template_;
  OpenAIRequestWriter writer_;
};

}  // namespace

ModelProvider openai(OpenAIOptions options) {
  return ModelProvider::Make([options = std::move(options)](Runtime& runtime) {
    return std::make_unique<OpenAIProvider>(options, runtime.clock());
  });
}

}  // namespace moderato

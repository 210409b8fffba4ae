#include <moderato/llm/model_effect.hpp>

#include <fmt/format.h>

namespace moderato {
namespace {

Json encode(const Usage& usage) {
  return {{"input", usage.input},
          {"output", usage.output},
          {"cached_input", usage.cached_input},
          {"reasoning", usage.reasoning},
          {"source", static_cast<int>(usage.source)}};
}

Usage decode_usage(const Json& json) {
  return {.input = whole_number(json.at("input")),
          .output = whole_number(json.at("output")),
          .cached_input = whole_number(json.at("cached_input")),
          .reasoning = whole_number(json.at("reasoning")),
          .source = static_cast<UsageSource>(whole_number(json.at("source")))};
}

Json encode(const std::optional<Duration>& duration) {
  return duration ? Json(duration->count()) : Json(nullptr);
}

std::optional<Duration> decode_optional_duration(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return Duration(whole_number(json));
}

Duration decode_duration(const Json& json) {
  return Duration(whole_number(json));
}

}  // namespace

Json encode_reply(const ModelReply& reply) {
  return {{"message", to_json(reply.message)},
          {"finish_reason", reply.finish_reason},
          {"usage", encode(reply.usage)},
          {"cost", reply.cost},
          {"model", reply.model},
          {"request_id", reply.request_id},
          {"attempts", reply.attempts},
          {"cached", reply.cached},
          {"queue_wait_ns", reply.queue_wait.count()},
          {"latency_ns", reply.latency.count()},
          {"time_to_first_token_ns", encode(reply.time_to_first_token)}};
}

Result<ModelReply> decode_reply(const Json& json) try {
  auto message = message_from_json(json.at("message"));
  if (!message) return tl::unexpected<Error>(std::move(message).error());
  return ModelReply{
      .message = std::move(*message),
      .finish_reason = json.at("finish_reason"),
      .usage = decode_usage(json.at("usage")),
      .cost = json.at("cost"),
      .model = json.at("model"),
      .request_id = json.at("request_id"),
      .attempts = static_cast<int>(whole_number(json.at("attempts"))),
      .cached = json.value("cached", false),
      .queue_wait = decode_duration(json.at("queue_wait_ns")),
      .latency = decode_duration(json.at("latency_ns")),
      .time_to_first_token = decode_optional_duration(json.at("time_to_first_token_ns"))};
} catch (const Json::exception& wrong) {
  return fail(ErrorCode::storage, fmt::format("a recorded reply cannot be read: {}", wrong.what()));
}

namespace {

Json encode(const Error& error) {
  return {{"code", std::string(to_string(error.code))},  {"message", error.message},
          {"retry_after_ns", encode(error.retry_after)}, {"http_status", error.http_status},
          {"provider_code", error.provider_code},        {"request_id", error.request_id}};
}

Error decode_error(const Json& json) {
  return {
      .code =
          error_code_from_string(json.at("code").get<std::string>()).value_or(ErrorCode::internal),
      .message = json.at("message"),
      .retry_after = decode_optional_duration(json.at("retry_after_ns")),
      .http_status = static_cast<int>(whole_number(json.at("http_status"))),
      .provider_code = json.at("provider_code"),
      .request_id = json.at("request_id")};
}

}  // namespace

Json encode_model_effect(const ModelEffect& effect) {
  Json json{{"spent",
             {{"calls", effect.spent.calls},
              {"attempts", effect.spent.attempts},
              {"usage", encode(effect.spent.usage)},
              {"cost", effect.spent.cost},
              {"queue_wait_ns", effect.spent.queue_wait.count()}}}};
  if (effect.reply) {
    json["reply"] = encode_reply(*effect.reply);
  } else {
    json["error"] = encode(effect.reply.error());
  }
  if (effect.text_given) json["text_given"] = true;
  return json;
}

Result<ModelEffect> decode_model_effect(const Json& json) {
  try {
    ModelEffect effect;
    const Json& spent = json.at("spent");
    effect.spent = {.calls = whole_number(spent.at("calls")),
                    .attempts = whole_number(spent.at("attempts")),
                    .usage = decode_usage(spent.at("usage")),
                    .cost = spent.at("cost"),
                    .queue_wait = decode_duration(spent.at("queue_wait_ns"))};
    effect.text_given = json.value("text_given", false);
    if (json.contains("error")) {
      effect.reply = fail(decode_error(json.at("error")));
    } else {
      effect.reply = decode_reply(json.at("reply"));
    }
    return effect;
  } catch (const Json::exception& wrong) {
    return fail(ErrorCode::storage,
                fmt::format("a recorded model call cannot be read: {}", wrong.what()));
  }
}

}  // namespace moderato

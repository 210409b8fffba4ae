#include <moderato/llm/model_call.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include <moderato/core/effect.hpp>
#include <moderato/core/json.hpp>
#include <moderato/llm/cache/request_text.hpp>
#include <moderato/llm/completed_sampling.hpp>
#include <moderato/llm/model_effect.hpp>
#include <moderato/llm/tokens/fingerprint.hpp>

// Around the one door
//
//   fallbacks   a call that failed for good is made again with the next model, which has a quota, a
//               cache and retries of its own;
//   journal     each of these calls is one effect of the session: a replay gives back what was
//               recorded, and asks neither cache nor provider. So the cache lies inside: what it
//               answered is recorded like any reply;
//   cache       before the budget, since a reply that is there costs nothing;
//   ask         the one door: model_core.cpp.

namespace moderato {
namespace {

/// "gpt-4o-mini, 3 messages, the last from user: What is …".
std::string in_words(const ModelRequest& request, std::string_view model) {
  constexpr std::size_t most_bytes = 120;
  if (request.messages.empty()) return fmt::format("{}, no messages", model);
  const Message& last = **request.messages.back();
  std::string text = last.text();
  for (const ToolCall& call : last.tool_calls) text += " " + call.name + "(" + call.arguments + ")";
  if (text.size() > most_bytes) text = valid_utf8(text.substr(0, most_bytes)) + "…";
  return fmt::format("{}, {} message{}, the last from {}: {}", model, request.messages.size(),
                     request.messages.size() == 1 ? "" : "s",
                     last.name.empty() ? to_string(last.role) : last.name, text);
}

/// A cache of the user's that throws has failed like any other.
template <class F>
auto guarded(F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& thrown) {
    return fail(ErrorCode::storage, fmt::format("it threw: {}", thrown.what()));
  } catch (...) {
    return fail(ErrorCode::storage, "it threw something that is no exception");
  }
}

}  // namespace

Model::Core::Core(Runtime& runtime, std::unique_ptr<Provider> provider, ModelOptions options)
    : runtime_(runtime), provider_(std::move(provider)), options_(std::move(options)) {
  if (!provider_) throw std::invalid_argument("runtime.model: the provider is null");
  quota_key_ = provider_->quota_key();
  context_window_ =
      options_.context_window ? options_.context_window : known_context_window(provider_->model());
  if (options_.retry.max_attempts < 1) {
    throw std::invalid_argument("runtime.model: retry.max_attempts must be at least 1");
  }
  if (options_.default_max_output_tokens < 1) {
    throw std::invalid_argument("runtime.model: default_max_output_tokens must be at least 1");
  }
  for (const Model& fallback : options_.fallbacks) {
    if (!fallback || &fallback.runtime() != &runtime_) {
      throw std::invalid_argument("runtime.model: a fallback is empty or lives on another runtime");
    }
  }
}

Model::Core::Call Model::Core::begin(const ModelRequest& request, const CallContext& context) {
  Call call{.request = request, .context = context};
  if (context.session.empty()) call.context.observer = runtime_.observer() | context.observer;
  if (options_.call_timeout > Duration::zero()) {
    call.context.deadline =
        std::min(context.deadline, saturating_add(runtime_.clock().now(), options_.call_timeout));
  }
  call.sampling = completed(request.sampling, options_.sampling);
  call.prompt = estimator_.measure(request, call.sampling);
  call.number = calls_.fetch_add(1) + 1;
  return call;
}

Result<ModelReply> Model::Core::complete(const ModelRequest& request, const CallContext& context,
                                         bool* text_given) {
  Call call = begin(request, context);
  auto reply = complete(call);
  if (!options_.fallbacks.empty()) ask_fallbacks(call, context, reply);
  if (text_given != nullptr && call.text_given) *text_given = true;
  return reply;
}

void Model::Core::ask_fallbacks(Call& call, const CallContext& context, Result<ModelReply>& reply) {
  // What the prompt took was measured by this model, and another counts otherwise.
  ModelRequest request = call.request;
  request.memory = nullptr;
  for (const Model& next : options_.fallbacks) {
    const std::string why = insufficient(call, reply);
    if (why.empty()) break;
    notify(call, [&] {
      return Warning{.text = fmt::format("model \"{}\" {}; \"{}\" is asked instead",
                                         provider_->model(), why, next.name())};
    });
    reply = next.core().complete(request, context, &call.text_given);
  }
}

std::string Model::Core::insufficient(const Call& call, const Result<ModelReply>& reply) const {
  if (call.text_given && !call.request.retry_after_first_token) return {};
  if (!reply) {
    switch (reply.error().code) {
      case ErrorCode::cancelled:
      case ErrorCode::deadline_exceeded:
      case ErrorCode::budget_exhausted:
      case ErrorCode::content_filtered:
      case ErrorCode::replay_mismatch:
      case ErrorCode::storage:
      case ErrorCode::interrupted:
        return {};
      default:
        return "failed: " + to_string(reply.error());
    }
  }
  try {
    return !options_.accept || options_.accept(*reply) ? "" : "gave a reply that is not accepted";
  } catch (const std::exception& thrown) {
    notify(call, [&] {
      return Warning{.text = fmt::format("accept threw, the reply is taken: {}", thrown.what())};
    });
  }
  return {};
}

Result<ModelReply> Model::Core::complete(Call& call) {
  if (const auto cap = call.sampling.max_output_tokens; cap && *cap < 1) {
    return refuse(call,
                  {.code = ErrorCode::invalid_request,
                   .message = fmt::format("max_output_tokens is {}; it must be at least 1", *cap)});
  }
  EffectLog* effects = call.context.effects;
  if (effects == nullptr) return answer(call);
  if (!effects->recording()) return effects->unrecorded_effect([&] { return answer(call); });
  return recorded(call, *effects);
}

Result<ModelReply> Model::Core::recorded(Call& call, EffectLog& effects) {
  bool performed = false;
  const std::uint64_t step = effects.steps();
  auto effect = effects.effect<ModelEffect>(
      EffectKind::model_reply, call.context.agent, [&] { return digest(call); },
      [&] {
        performed = true;
        charge_broken_off(call, effects, step);
        auto reply = answer(call);
        return ModelEffect{
            .reply = std::move(reply), .spent = call.spent, .text_given = call.text_given};
      },
      encode_model_effect, decode_model_effect);
  if (!effect) return fail(std::move(effect).error());
  if (!performed) replay(call, *effect);
  return std::move(effect->reply);
}

/// The call had been sent before the run was stopped: what that cost counts, too.
void Model::Core::charge_broken_off(Call& call, EffectLog& effects, std::uint64_t step) {
  const auto payload = effects.take_broken_off(step);
  const auto json = payload ? parse_json(*payload) : Result<Json>(Json());
  if (!payload || !json) return;
  auto lost = decode_model_effect(*json);
  if (!lost) return;
  lost->spent.calls = 0;  // it is the same call
  if (const auto& budget = call.context.budget) budget->charge(lost->spent.usage.total());
  charge(call, lost->spent);
}

Result<ModelReply> Model::Core::answer(Call& call) {
  const auto& cache = call.context.cache ? call.context.cache : options_.cache;
  return cache ? answer_from(*cache, call) : ask(call);
}

Result<ModelReply> Model::Core::answer_from(ReplyCache& cache, Call& call) {
  const auto report = [&](const Error& error) {
    notify(call, [&] { return Warning{.text = "the cache failed: " + to_string(error)}; });
  };
  const std::string request = request_text(provider_->model(), call.request, call.sampling);
  auto found = guarded([&] { return cache.find(request); });
  if (!found) report(found.error());
  if (found && *found) {
    ModelReply reply = std::move(**found);
    reply.cached = true;
    reply.cost = 0.0;
    reply.attempts = 0;
    reply.queue_wait = reply.latency = {};
    reply.time_to_first_token = std::nullopt;
    if (call.request.streamed()) give_text(call, reply.message.text());
    CallRecord record = record_of(call);
    record.cached = true;
    record.sent_at = runtime_.clock().wall_now();
    record.reply = reply_digest(reply.message);
    record.finish_reason = reply.finish_reason;
    write(call, std::move(record), nullptr);
    return reply;
  }
  auto reply = ask(call);
  // A reply that was cut short under a budget may be whole without it.
  const bool cut = call.context.budget && reply && reply->finish_reason == "length";
  if (reply && !cut) {
    auto kept = guarded([&] { return cache.keep(request, *reply); });
    if (!kept) report(kept.error());
  }
  return reply;
}

/// Does for the budget, the totals and the listeners what the recorded call did; nothing is sent.
void Model::Core::replay(Call& call, const ModelEffect& effect) {
  call.text_given = call.text_given || effect.text_given;
  const std::int64_t tokens = effect.spent.usage.total();
  if (const auto& budget = call.context.budget) {
    // A final answer takes over what was set aside for it; if it cost nothing, that is set aside
    // again.
    auto room =
        call.context.final_answer ? budget->reserve_final(0, 0, 0) : budget->reserve(0, 0, 0);
    if (room) {
      room->settle(tokens);
    } else {
      budget->charge(tokens);
    }
  }
  charge(call, effect.spent);
  if (!effect.reply) return;
  if (effect.reply->usage.source == UsageSource::measured) {
    estimator_.learn(call.prompt, effect.reply->usage.input);
  }
  if (call.request.streamed()) give_text(call, effect.reply->message.text());
}

/// Names the request: what a replay must find unchanged. Behind the fingerprint stand words for
/// whoever reads that it has changed.
std::string Model::Core::digest(const Call& call) const {
  const Sampling& sampling = call.sampling;
  Fingerprint all(call.prompt.identity);
  all.add(provider_->model());
  const auto number = [&](const auto& value) { all.add(value ? fmt::format("{}", *value) : ""); };
  number(sampling.temperature);
  number(sampling.top_p);
  number(sampling.seed);
  number(sampling.max_output_tokens);
  number(sampling.parallel_tool_calls);
  for (const std::string& stop : sampling.stop) all.add(stop);
  all.add(sampling.reasoning_effort);
  return fmt::format("{:016x} {}", all.value(), in_words(call.request, provider_->model()));
}

std::int64_t Model::Core::prompt_upper_bound(const ModelRequest& request) const {
  return estimator_.measure(request, completed(request.sampling, options_.sampling)).upper_bound;
}

std::int64_t Model::Core::rough_prompt_tokens(const ModelRequest& request) const {
  static const TokenEstimator untaught;
  return untaught.measure(request, completed(request.sampling, options_.sampling)).expected;
}

std::string reply_digest(const Message& reply) {
  Fingerprint all;
  all.add(reply.text());
  for (const ToolCall& call : reply.tool_calls) all.add(call.name).add(call.arguments);
  return fmt::format("{:016x}", all.value());
}

}  // namespace moderato

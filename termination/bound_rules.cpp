#include <fmt/core.h>

#include <chrono>
#include <stdexcept>

#include <moderato/termination/rule.hpp>

namespace moderato {
namespace {

// A rule over the conversation as a whole: no opinion about a single message.
template <class Find>
Condition view_rule(std::string text, Find find) {
  return make_rule(std::move(text), [find = std::move(find)](const Moment& moment) -> Finding {
    if (moment.view() == nullptr) return {.truth = Truth::no_opinion};
    return find(moment);
  });
}

void require_bound(std::int64_t bound, std::string_view rule) {
  if (bound < 0) {
    throw std::invalid_argument(fmt::format("{}({}): the bound must not be negative", rule, bound));
  }
}

Finding reached(std::int64_t count, std::int64_t bound, StopReason reason, std::string_view what) {
  return found_if(count >= bound, reason,
                  [&] { return fmt::format("{} of {} {}", count, bound, what); });
}

// A call of tools is answered without a model. To stop between the two would leave a history that a
// provider refuses when the session goes on. (What a tool itself is about is another matter: it
// then answers with what it has.)
bool awaits_tools(const Moment& moment) {
  if (moment.view()->inside) return false;
  return !moment.said().empty() && moment.said().back().kind == MessageKind::tool_call;
}

std::string in_seconds(Duration duration) {
  return fmt::format("{:.6g} s", std::chrono::duration<double>(duration).count());
}

std::string describe(const TokenCaps& caps) {
  std::string text;
  const auto add = [&](std::string_view name, const std::optional<std::int64_t>& cap) {
    if (!cap) return;
    require_bound(*cap, "token_budget");
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", name, *cap);
  };
  add("", caps.total);
  add("input ", caps.input);
  add("output ", caps.output);
  if (text.empty()) throw std::invalid_argument("token_budget(): no bound is set");
  return fmt::format("token_budget({})", text);
}

}  // namespace

Condition max_messages(std::int64_t count) {
  require_bound(count, "max_messages");
  return view_rule(fmt::format("max_messages({})", count), [count](const Moment& moment) {
    return reached(std::ssize(moment.view()->transcript), count, StopReason::max_messages,
                   "messages");
  });
}

Condition max_turns(std::int64_t count) {
  require_bound(count, "max_turns");
  return view_rule(fmt::format("max_turns({})", count), [count](const Moment& moment) {
    return reached(moment.view()->turns, count, StopReason::max_turns, "turns");
  });
}

Condition max_calls(std::int64_t count) {
  require_bound(count, "max_calls");
  return view_rule(fmt::format("max_calls({})", count), [count](const Moment& moment) {
    if (awaits_tools(moment)) return Finding{};
    return reached(moment.view()->calls, count, StopReason::max_calls, "model calls");
  });
}

Condition token_budget(TokenCaps caps) {
  return view_rule(describe(caps), [caps](const Moment& moment) {
    if (awaits_tools(moment)) return Finding{};
    const Usage& used = moment.view()->usage;
    const auto ask = [](std::int64_t count, const std::optional<std::int64_t>& cap,
                        std::string_view what) {
      return cap ? reached(count, *cap, StopReason::token_budget, what) : Finding{};
    };
    if (Finding found = ask(used.total(), caps.total, "tokens"); found.truth == Truth::yes) {
      return found;
    }
    if (Finding found = ask(used.input, caps.input, "input tokens"); found.truth == Truth::yes) {
      return found;
    }
    return ask(used.output, caps.output, "output tokens");
  });
}

Condition token_budget(std::int64_t total) {
  return token_budget(TokenCaps{.total = total});
}

Condition elapsed(Duration limit) {
  require_bound(limit.count(), "elapsed");
  return view_rule(fmt::format("elapsed({})", in_seconds(limit)), [limit](const Moment& moment) {
    return found_if(moment.view()->elapsed >= limit, StopReason::deadline, [&] {
      return fmt::format("{} of {}", in_seconds(moment.view()->elapsed), in_seconds(limit));
    });
  });
}

Condition deadline(Instant at) {
  const std::string due = in_seconds(at.time_since_epoch());
  return view_rule(fmt::format("deadline({})", due), [at, due](const Moment& moment) {
    return found_if(moment.view()->now >= at, StopReason::deadline, [&] {
      return fmt::format("at {}, due at {}", in_seconds(moment.view()->now.time_since_epoch()),
                         due);
    });
  });
}

Condition external_stop() {
  return view_rule("external_stop", [](const Moment& moment) {
    return found_if(moment.view()->stop_requested, StopReason::cancelled,
                    [] { return "a stop was requested"; });
  });
}

Condition external_stop(std::stop_token token) {
  return view_rule("external_stop", [token = std::move(token)](const Moment& moment) {
    const bool seen = !moment.view()->replaying && token.stop_requested();
    if (seen && moment.view()->outside_seen != nullptr) *moment.view()->outside_seen = true;
    return found_if(seen, StopReason::cancelled, [] { return "a stop was requested"; });
  });
}

Condition repetition(RepetitionOptions options) {
  std::string text = fmt::format("repetition({})", options.stop_after);
  return view_rule(std::move(text),
                   [options = std::move(options)](const Moment& moment) -> Finding {
                     const auto found = find_repetition(moment.said(), options);
                     const auto stop = found ? repetition_stop(*found, options) : std::nullopt;
                     if (!stop) return {};
                     return {.truth = Truth::yes, .reason = stop->reason, .detail = stop->detail};
                   });
}

}  // namespace moderato

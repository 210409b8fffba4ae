#include <doctest/doctest.h>

#include <moderato/moderato.hpp>
#include <set>

using namespace moderato;
using namespace std::chrono_literals;

// Runs that are ill with one known cause each, in virtual time; the doctor has to name it first.

namespace {

/// A world whose ledger and events become a case history.
struct Patient {
  std::shared_ptr<MemoryLedger> ledger = std::make_shared<MemoryLedger>();
  CaseHistory history{};
  Simulation world{{.keep_event_log = false,
                    .observer = Observer([this](const Event& event) { note(event); }),
                    .ledger = ledger}};
  int talks = 0;

  void note(const Event& event) {
    if (const auto* tool = std::get_if<ToolFinished>(&event.data)) {
      history.tools.push_back({event.session, tool->tool, tool->took});
    } else if (const auto* stopped = std::get_if<Stopped>(&event.data)) {
      history.ends.push_back({event.session, stopped->stop.reason, stopped->calls});
    }
  }

  Model model(ModelProvider provider, int attempts = 1, std::int64_t most_output = 64) {
    return world.model(std::move(provider), {.limiter = unlimited(),
                                             .retry = {.max_attempts = attempts},
                                             .sampling = {.max_output_tokens = most_output}});
  }
  /// One question of a chat of its own, or of `session`.
  Result<ModelReply> ask(const Model& model, const std::string& text, std::string session = {},
                         Purpose purpose = Purpose::reply) {
    if (session.empty()) session = fmt::format("talk {}", ++talks);
    return model.complete({.messages = {store(Message::user(text))}},
                          {.session = std::move(session), .agent = "a", .purpose = purpose});
  }
  /// `count` different questions, one each `pause`, whether or not the ones before were answered.
  void ask_steadily(const Model& model, int count, Duration pause) {
    for (int i = 0; i < count; ++i) {
      world.spawn([this, &model, i] { (void)ask(model, fmt::format("question {}", i)); });
      pass(pause);
    }
    world.run();
  }
  /// Lets time pass, also when nobody has anything to do.
  void pass(Duration time) {
    world.block_on([time] { sleep_for(time); });
  }
  ChatResult chat(const Model& model, ChatOptions options = {}, std::vector<Tool> tools = {},
                  std::string task = {}) {
    const AssistantAgent assistant(
        {.name = "assistant", .model = model, .tools = std::move(tools)});
    const UserProxyAgent user({.name = "user",
                               .human_input_mode = HumanInputMode::never,
                               .max_consecutive_auto_reply = 100,
                               .is_termination_msg = contains("TERMINATE"),
                               .default_auto_reply = "Go on."});
    options.repetition = {.report_after = 0, .stop_after = 0};
    // Each chat has a task of its own: the same one would be a cache miss.
    if (task.empty()) task = fmt::format("Begin task {}.", ++talks);
    return user.initiate_chat(assistant, task, options);
  }

  Diagnosis diagnosis() {
    history.calls = ledger->records();
    return diagnose(history);
  }
};

void check_first(Patient& patient, Cause cause) {
  const Diagnosis diagnosis = patient.diagnosis();
  INFO(to_string(diagnosis));
  REQUIRE_FALSE(diagnosis.findings.empty());
  CHECK(to_string(diagnosis.findings.front().cause) == to_string(cause));
  CHECK_FALSE(diagnosis.findings.front().fix.empty());
}

SimulatedProvider provider(SimulatedQuotaOptions quota, const char* model = "tokens-20") {
  return SimulatedProvider({.model = model, .quota = quota, .latency = {.first_token = 500ms}});
}

/// A model that answers after a second, with its own words for each question.
ModelProvider scripted_words(std::function<std::string(std::size_t messages)> words) {
  return scripted([words = std::move(words)](const ModelRequest& request) -> Result<ModelReply> {
    sleep_for(1s);
    return ModelReply{.message = Message::assistant(words(request.messages.size()))};
  });
}

Tool slow_weather() {
  return tool(
      "weather", "tells the weather",
      [](const std::string&, bool) { return sleep_for(30s), std::string("Rain."); }, arg("city"),
      arg("celsius"), ToolOptions{.runs_inline = true});
}

std::string long_text(std::size_t number, int words) {
  std::string text = fmt::format("part {}", number);
  for (int i = 0; i < words; ++i) text += fmt::format(" word{}", i);
  return text;
}

}  // namespace

TEST_CASE("a healthy run has no findings") {
  Patient patient;
  const SimulatedProvider reviews = provider({.requests_per_minute = 600}, "review");
  const Model model = patient.model(reviews.provider(), 4);
  for (int i = 0; i < 5; ++i) CHECK(patient.chat(model).calls == 3);
  const Diagnosis diagnosis = patient.diagnosis();
  INFO(to_string(diagnosis));
  CHECK(diagnosis.healthy());
  CHECK(diagnosis.calls == 15);
  CHECK(to_string(diagnosis).find("healthy") != std::string::npos);
}

TEST_CASE("chats that nothing but a cap ends are chatter") {
  Patient patient;
  const Model model = patient.model(provider({}, "pingpong-1000").provider());
  for (int i = 0; i < 5; ++i) patient.chat(model, {.max_turns = 20});
  check_first(patient, Cause::chatter);
}

TEST_CASE("a cap far above what most chats need is found, with the cap that would do") {
  Patient patient;
  const Model model = patient.model(provider({}, "review").provider());
  const Model endless = patient.model(provider({}, "pingpong-1000").provider());
  for (int i = 0; i < 12; ++i) patient.chat(model);
  for (int i = 0; i < 3; ++i) patient.chat(endless, {.max_turns = 30});
  check_first(patient, Cause::high_cap);
  CHECK(patient.diagnosis().findings.front().value == 5);  // half more than the 3 that are needed
}

TEST_CASE("bursts of parallel calls, in a run that would fit, are found") {
  Patient patient;
  const SimulatedProvider busy =
      provider({.requests_per_minute = 600, .evaluator = QuotaEvaluator::one_second_window});
  const Model model = patient.model(busy.provider());
  for (int burst = 0; burst < 4; ++burst) {
    for (int i = 0; i < 60; ++i) {
      patient.world.spawn(
          [&, burst, i] { (void)patient.ask(model, fmt::format("{}-{}", burst, i)); });
    }
    patient.pass(60s);
  }
  check_first(patient, Cause::parallel_bursts);
}

TEST_CASE("retries around the model's own are found") {
  Patient patient;
  const SimulatedProvider busy =
      provider({.requests_per_minute = 60, .evaluator = QuotaEvaluator::one_second_window});
  for (int i = 0; i < 20; ++i) {
    for (int worker = 0; worker < 2; ++worker) {
      patient.world.spawn([&, i, worker] {
        for (int attempt = 0; attempt < 6; ++attempt) {
          // A model of its own each time, as a process that is started again has: within one, the
          // repetition would be recognised and charged to the retry budget.
          const Model model = patient.model(busy.provider());
          if (patient.ask(model, fmt::format("{} of {}", i, worker))) return;
          sleep_for(100ms);
        }
      });
    }
    patient.pass(3s);
  }
  check_first(patient, Cause::stacked_retries);
}

TEST_CASE("somebody else on the same key is found, with the share that is left") {
  Patient patient;
  const SimulatedProvider shared =
      provider({.requests_per_minute = 50, .evaluator = QuotaEvaluator::minute_counter});
  const Model ours = patient.model(shared.provider());
  const Model theirs = patient.model(shared.provider());
  for (int i = 0; i < 60; ++i) {
    patient.world.spawn([&, i] { (void)patient.ask(ours, fmt::format("q {}", i)); });
    for (int k = 0; k < 5; ++k) {
      patient.world.spawn(
          [&, i, k] { (void)patient.ask(theirs, fmt::format("other {} {}", i, k), "stranger"); });
    }
    patient.pass(5s);
  }
  patient.history.calls = patient.ledger->records();
  std::erase_if(patient.history.calls,
                [](const CallRecord& call) { return call.session == "stranger"; });
  const Diagnosis diagnosis = diagnose(patient.history);
  INFO(to_string(diagnosis));
  REQUIRE_FALSE(diagnosis.findings.empty());
  CHECK(to_string(diagnosis.findings.front().cause) == "foreign_consumption");
  CHECK(diagnosis.findings.front().value < 25);
}

TEST_CASE("a quota that the load itself does not fit is found, with the one that would do") {
  Patient patient;
  const SimulatedProvider small =
      provider({.requests_per_minute = 15, .evaluator = QuotaEvaluator::ten_second_bucket});
  const Model model = patient.model(small.provider());
  patient.ask_steadily(model, 90, 2s);
  check_first(patient, Cause::quota_too_small);
  CHECK(patient.diagnosis().findings.front().value >= 30);
}

TEST_CASE("output that is reserved and not used is found, with the cap that would do") {
  Patient patient;
  const SimulatedProvider tokens = provider({.tokens_per_minute = 20'000});
  const Model model = patient.model(tokens.provider(), 1, 4096);
  patient.ask_steadily(model, 60, 6s);
  check_first(patient, Cause::long_outputs);
  CHECK(patient.diagnosis().findings.front().value < 100);
}

TEST_CASE("choosing speakers for more than the speaking costs is found") {
  Patient patient;
  const Model model = patient.model(
      scripted_words([n = 0](std::size_t) mutable { return fmt::format("words {}", ++n); }));
  for (int i = 0; i < 6; ++i) {
    const std::string session = fmt::format("group {}", i);
    for (int turn = 0; turn < 5; ++turn) {
      (void)patient.ask(model, "Who? " + long_text(static_cast<std::size_t>(i * 5 + turn), 80),
                        session, Purpose::speaker_selection);
      (void)patient.ask(model, fmt::format("Speak {}.", i * 5 + turn), session);
    }
  }
  check_first(patient, Cause::speaker_selection);
}

TEST_CASE("prompts that grow with each turn are found, with the size to keep") {
  Patient patient;
  const Model model = patient.model(scripted_words([](std::size_t messages) {
    return long_text(messages, 300) + (messages > 14 ? " TERMINATE" : "");
  }));
  for (int i = 0; i < 3; ++i) patient.chat(model);
  check_first(patient, Cause::context_growth);
  CHECK(patient.diagnosis().findings.front().value > 500);
}

TEST_CASE("the same words again and again are a loop") {
  Patient patient;
  const Model model = patient.model(scripted_words([](std::size_t) { return "I will do it."; }));
  for (int i = 0; i < 4; ++i) patient.chat(model, {.max_turns = 12});
  check_first(patient, Cause::loop);
}

TEST_CASE("identical requests that were paid for again are cache misses") {
  Patient patient;
  const Model model = patient.model(provider({}).provider());
  for (int i = 0; i < 10; ++i) (void)patient.ask(model, "What is the capital of France?");
  check_first(patient, Cause::cache_misses);
}

TEST_CASE("a slow tool that looks like a slow model is found") {
  Patient patient;
  const Model model = patient.model(provider({}, "weather").provider());
  const Tool slow = slow_weather();
  for (int i = 0; i < 3; ++i) patient.chat(model, {.max_turns = 2}, {slow});
  check_first(patient, Cause::slow_tool);
  CHECK(patient.diagnosis().findings.front().value == 45);
}

TEST_CASE("a bill that was not paid is no matter of waiting") {
  Patient patient;
  const SimulatedProvider unpaid({.faults = {{.kind = FaultKind::insufficient_quota, .every = 1}}});
  const Model model = patient.model(unpaid.provider());
  for (int i = 0; i < 5; ++i) (void)patient.ask(model, fmt::format("q {}", i));
  check_first(patient, Cause::billing);
}

TEST_CASE("two causes at once stand in the first two places") {
  Patient patient;
  std::set<Cause> causes;
  SUBCASE("cache misses and a slow tool") {
    causes = {Cause::cache_misses, Cause::slow_tool};
    const Model model = patient.model(provider({}, "weather").provider());
    const Tool slow = slow_weather();
    for (int i = 0; i < 6; ++i) patient.chat(model, {.max_turns = 2}, {slow}, "The weather?");
  }
  SUBCASE("chatter and growing prompts") {
    causes = {Cause::chatter, Cause::context_growth};
    const Model model = patient.model(
        scripted_words([](std::size_t messages) { return long_text(messages, 300); }));
    for (int i = 0; i < 3; ++i) patient.chat(model, {.max_turns = 20});
  }
  const Diagnosis diagnosis = patient.diagnosis();
  INFO(to_string(diagnosis));
  REQUIRE(diagnosis.findings.size() >= 2);
  const std::set<Cause> first{diagnosis.findings[0].cause, diagnosis.findings[1].cause};
  CHECK(first == causes);
}

TEST_CASE("a diagnosis is written as text with one change at its end, and as JSON") {
  Patient patient;
  const Model model = patient.model(provider({}).provider());
  for (int i = 0; i < 10; ++i) (void)patient.ask(model, "The same?");
  const Diagnosis diagnosis = patient.diagnosis();
  const std::string text = to_string(diagnosis);
  CHECK(text.find("1. cache_misses") != std::string::npos);
  CHECK(text.rfind("First: give the model a cache") != std::string::npos);
  const Json json = to_json(diagnosis);
  CHECK(json.at("healthy") == false);
  CHECK(json.at("findings").at(0).at("cause") == "cache_misses");
}

// Runs recorded conversations of AutoGen 0.2 (see the recordings' README for the format) and
// compares every history, request, prompt, counter, summary and event with ours.
//
//   conformance [--show-fixed] FOLDER [TOPIC…]
//
// --show-fixed prints the first difference of what is fixed on purpose, too, with the tags that
// allow it. Without topics: those that we claim. Exits 0 if nothing differs but what the table in
// quirks.cpp says is fixed on purpose; 1 otherwise; 2 for wrong arguments; 77 if the folder is not
// there.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "comparison.hpp"
#include "functions.hpp"
#include "quirks.hpp"
#include "scenario.hpp"

namespace {

using namespace moderato::conformance;

constexpr int skipped_exit = 77;
const std::vector<std::string> claimed_topics{
    "roles",        "termination",       "human",    "caps",       "turns",
    "init",         "summary",           "replies",  "tools",      "transforms",
    "code",         "sequence",          "nested",   "group-flow", "group-select",
    "group-auto",   "group-transitions", "async",    "client",     "random-two",
    "random-group", "random-sequence",   "functions"};

struct Tally {
  int total = 0;
  int passed = 0;
  int fixed = 0;
  int ignored_fields = 0;
  std::map<std::string, int> by_tag{};
  std::map<std::string, int> unsupported{};
  std::vector<std::string> failures{};
  std::vector<std::string> fixes{};
};

// The places where a vector with these tags may differ on purpose; nullopt: everywhere.
std::optional<std::vector<std::string>> fixed_places(const Value& tags) {
  std::vector<std::string> places;
  for (const Value& tag : tags) {
    const Quirk* quirk = find_quirk(tag.get<std::string>());
    if (quirk == nullptr || quirk->treatment != Treatment::fixed) continue;
    if (quirk->only.empty()) return std::nullopt;
    std::istringstream paths{std::string(quirk->only)};
    for (std::string path; paths >> path;) places.push_back(path);
  }
  return places;
}

struct Comparison {
  std::optional<std::string> difference{};
  /// What differs beyond the places that are fixed on purpose.
  std::optional<std::string> not_fixed{};
};

void count(Tally& tally, const std::string& id, const Value& tags, const Comparison& compared) {
  ++tally.total;
  if (!compared.difference) {
    ++tally.passed;
  } else if (!compared.not_fixed) {
    ++tally.fixed;
    tally.fixes.push_back(fmt::format("{} {}\n    {}", id, tags.dump(), *compared.difference));
  } else {
    tally.failures.push_back(id + "\n    " + *compared.not_fixed);
  }
}

Comparison compare(Value expected, Value observed, const Value& tags,
                   const std::vector<std::string>& loose) {
  Comparison compared{.difference = first_difference(expected, observed, loose)};
  const auto places = fixed_places(tags);
  if (!compared.difference || !places) return compared;
  for (const std::string& place : *places) {
    leave_out(expected, place);
    leave_out(observed, place);
  }
  compared.not_fixed = first_difference(expected, observed, loose);
  return compared;
}

// Some request of the recording has a call that the message after it does not answer.
bool sends_open_calls(const Value& expected) {
  for (const Value& call : expected.value("model_calls", Value::array())) {
    const Value messages = call.value("messages", Value::array());
    for (std::size_t i = 0; i + 1 < messages.size(); ++i) {
      const Value& message = messages[i];
      const bool calls = !message.value("tool_calls", Value()).empty() ||
                         !message.value("function_call", Value()).empty();
      const std::string next = messages[i + 1].value("role", std::string());
      if (calls && next != "tool" && next != "function") return true;
    }
  }
  return false;
}

void run_vector(Tally& tally, const Value& vector) {
  const std::string id = vector.at("id");
  Value tags = vector.value("quirks", Value::array());
  const auto loose = vector.value("python_text", std::vector<std::string>{});
  Comparison compared;
  try {
    Value expected = expected_observation(vector.at("expect"));
    auto [observed, fixed] = run_scenario(vector.at("scenario"));
    tags.insert(tags.end(), fixed.begin(), fixed.end());
    if (sends_open_calls(expected)) tags.push_back("open-call-in-request");
    bool ignored = drop_ignored_fields(expected);
    ignored = drop_ignored_fields(observed) || ignored;
    std::size_t index = 0;
    for (const Value& action : vector.at("scenario").at("actions")) {
      const std::string what = action.at("do");
      if (what == "a_initiate_chat") {
        ignored = as_if_in_step(expected) && as_if_in_step(observed);
      }
      if ((what == "usage" || what == "usage_summary") && index < expected["results"].size()) {
        expected["results"][index] = Value::object();  // costs
        ignored = true;
      }
      ++index;
    }
    for (const Value& tag : tags) {
      const Quirk* quirk = find_quirk(tag.get<std::string>());
      if (quirk != nullptr && quirk->treatment == Treatment::ignored_fields) ignored = true;
    }
    if (ignored) ++tally.ignored_fields;
    for (const Value& tag : tags) ++tally.by_tag[tag.get<std::string>()];
    compared = compare(std::move(expected), std::move(observed), tags, loose);
  } catch (const std::exception& error) {
    compared.difference = fmt::format("the runner failed: {}", error.what());
    compared.not_fixed = compared.difference;
  }
  count(tally, id, tags, compared);
}

void run_entry(Tally& tally, const Value& entry) {
  const FunctionOutcome outcome = run_function(entry);
  if (!outcome.supported) {
    ++tally.unsupported[entry.at("fn").get<std::string>()];
    return;
  }
  const Value tags = outcome.tag.empty() ? Value::array() : Value::array({outcome.tag});
  if (!outcome.tag.empty()) ++tally.by_tag[outcome.tag];
  // A function's result is one value: it is what the tag says, or it is not.
  count(tally, entry.at("id"), tags,
        {.difference = outcome.difference,
         .not_fixed = tags.empty() ? outcome.difference : std::nullopt});
}

std::string_view name_of(Treatment treatment) {
  switch (treatment) {
    case Treatment::same:
      return "same";
    case Treatment::fixed:
      return "fixed";
    case Treatment::ignored_fields:
      return "ignored fields";
  }
  return "";
}

// What we do about each behaviour that the recordings mark, why, and how many vectors it touches.
void print_policies(const std::map<std::string, int>& by_tag) {
  fmt::print("\n{:38} {:15} {:>7}  why\n", "marked behaviour", "treatment", "vectors");
  for (const Quirk& quirk : quirks()) {
    const auto touched = by_tag.find(std::string(quirk.tag));
    fmt::print("{:38} {:15} {:>7}  {}\n", quirk.tag, name_of(quirk.treatment),
               touched != by_tag.end() ? touched->second : 0, quirk.why);
  }
  for (const auto& [tag, vectors] : by_tag) {
    if (find_quirk(tag) == nullptr) {
      fmt::print("{:38} {:15} {:>7}  nobody has decided about it\n", tag, "-", vectors);
    }
  }
}

bool run_topic(const std::filesystem::path& file, const std::string& topic, bool show_fixed,
               std::map<std::string, int>& by_tag) {
  std::ifstream in(file);
  if (!in) {
    fmt::print(stderr, "conformance: no such topic: {}\n", file.string());
    return false;
  }
  const Value recorded = Value::parse(in);
  Tally tally;
  for (const Value& vector : recorded.value("vectors", Value::array())) run_vector(tally, vector);
  for (const Value& entry : recorded.value("entries", Value::array())) run_entry(tally, entry);

  fmt::print("{} {}/{}, fixed {}, ignored-fields {}", topic, tally.passed, tally.total, tally.fixed,
             tally.ignored_fields);
  int unsupported = 0;
  std::string parts;
  for (const auto& [part, times] : tally.unsupported) {
    unsupported += times;
    parts += (parts.empty() ? "" : ", ") + part;
  }
  if (unsupported > 0) fmt::print(", not built yet {} ({})", unsupported, parts);
  fmt::print("\n");
  for (const std::string& failure : tally.failures) fmt::print("  FAILED {}\n", failure);
  if (show_fixed) {
    for (const std::string& fix : tally.fixes) fmt::print("  fixed {}\n", fix);
  }
  for (const auto& [tag, vectors] : tally.by_tag) by_tag[tag] += vectors;
  return tally.failures.empty();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> topics(argv + 1, argv + argc);
  const bool show_fixed = !topics.empty() && topics.front() == "--show-fixed";
  if (show_fixed) topics.erase(topics.begin());
  if (topics.empty() || topics.front().starts_with('-')) {
    fmt::print(stderr, "usage: conformance [--show-fixed] FOLDER [TOPIC…]\n");
    return 2;
  }
  const std::filesystem::path folder = topics.front();
  topics.erase(topics.begin());
  if (!std::filesystem::is_directory(folder)) {
    fmt::print("skipped: the recordings are not there: \"{}\"\n", folder.string());
    return skipped_exit;
  }
  if (topics.empty()) topics = claimed_topics;
  bool good = true;
  std::map<std::string, int> by_tag;
  for (const std::string& topic : topics)
    good = run_topic(folder / (topic + ".json"), topic, show_fixed, by_tag) && good;
  print_policies(by_tag);
  return good ? 0 : 1;
}

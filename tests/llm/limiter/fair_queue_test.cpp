#include <moderato/llm/limiter/fair_queue.hpp>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace moderato {
namespace {

using namespace std::chrono_literals;
using Entry = FairQueue::Entry;

constexpr Instant start = Instant{} + 1h;

/// Entries that live as long as the test, with the flow each is in.
struct Line {
  FairQueue queue;
  std::deque<Entry> entries;
  std::map<const Entry*, std::string> names;

  Entry& push(const std::string& flow, Duration cost = 1s, double weight = 1.0,
              std::uint64_t conversation = 0, bool first_call = false) {
    Entry& entry = entries.emplace_back();
    entry.ask = {.input_tokens = 10};
    entry.cost = cost;
    entry.arrived = start;
    entry.conversation = conversation;
    entry.first_call = first_call;
    names[&entry] = conversation != 0 ? fmt::format("{}{}", flow, conversation) : flow;
    queue.push(entry, flow, weight);
    return entry;
  }
  std::string take(Instant now = start) {
    Entry* front = queue.front(now);
    if (front == nullptr) return "";
    queue.remove(*front, true);
    return names[front];
  }
  std::string take_all(Instant now = start) {
    std::string order;
    while (queue.size() > 0) order += take(now);
    return order;
  }
};

TEST_CASE("calls of one flow go in the order of their arrival") {
  Line line;
  std::vector<Entry*> pushed;
  for (int i = 0; i < 5; ++i) pushed.push_back(&line.push("a"));
  for (Entry* entry : pushed) {
    CHECK(line.queue.front(start) == entry);
    line.queue.remove(*entry, true);
  }
  CHECK(line.queue.front(start) == nullptr);
}

TEST_CASE("flows share by weight while both wait") {
  Line line;
  for (int i = 0; i < 30; ++i) line.push("a", 1s, 1.0);
  for (int i = 0; i < 30; ++i) line.push("b", 1s, 2.0);
  std::string order;
  for (int i = 0; i < 30; ++i) order += line.take();
  CHECK(std::count(order.begin(), order.end(), 'b') == 20);
  CHECK(order.substr(0, 6).find("aa") == std::string::npos);
}

TEST_CASE("a flow with large calls gets fewer of them") {
  Line line;
  for (int i = 0; i < 30; ++i) line.push("a", 3s);
  for (int i = 0; i < 60; ++i) line.push("b", 1s);
  std::string order;
  for (int i = 0; i < 40; ++i) order += line.take();
  CHECK(std::count(order.begin(), order.end(), 'a') == 10);
}

TEST_CASE("a flow that comes late has saved up nothing and owes nothing") {
  Line line;
  for (int i = 0; i < 20; ++i) line.push("a");
  for (int i = 0; i < 10; ++i) line.take();
  for (int i = 0; i < 10; ++i) line.push("b");
  std::string order;
  for (int i = 0; i < 10; ++i) order += line.take();
  CHECK(std::count(order.begin(), order.end(), 'b') == 5);
}

TEST_CASE("conversations of a flow take turns") {
  Line line;
  for (int call = 0; call < 2; ++call) {
    for (std::uint64_t chat = 1; chat <= 3; ++chat) line.push("a", 1s, 1.0, chat);
  }
  // what was served before counts when the next call comes
  CHECK(line.take() == "a1");
  line.push("a", 1s, 1.0, 1);
  line.push("a", 1s, 1.0, 4);
  const std::string rest = line.take_all();
  CHECK(rest.find("a4") < rest.rfind("a1"));
}

TEST_CASE("conversations under way go before first calls, which age") {
  Line line;
  line.push("a", 1s, 1.0, 1, true);
  line.push("a", 1s, 1.0, 2, false);
  line.push("a", 1s, 1.0, 3, false);
  CHECK(line.take() == "a2");
  CHECK(line.take(start + FairQueue::patience) == "a1");
  CHECK(line.take() == "a3");
}

TEST_CASE("a retry goes to the head of its flow") {
  Line line;
  line.push("a", 1s, 1.0, 1);
  Entry retry;
  retry.retry = true;
  retry.arrived = start;
  line.names[&retry] = "retry";
  line.queue.push(retry, "a", 1.0);
  CHECK(line.take() == "retry");
  CHECK(line.take() == "a1");
}

TEST_CASE("what is ahead of a call is what goes before it") {
  Line line;
  for (int i = 0; i < 6; ++i) line.push("a");
  Entry& own = line.push("b");
  const QueuedAhead ahead = line.queue.ahead_of(own);
  CHECK(ahead.calls == 1);  // b's turn comes after one of a
  CHECK(ahead.cost.input_tokens == 10);
  Entry& last = line.push("a");
  CHECK(line.queue.ahead_of(last).calls == 7);
}

TEST_CASE("whoever leaves from the middle, all others go once, in any history") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Line line;
    std::vector<Entry*> inside;
    std::size_t gone = 0;
    for (int step = 0; step < 2'000; ++step) {
      const auto dice = random() % 10;
      if (dice < 5) {
        const std::string flow(1, static_cast<char>('a' + random() % 5));
        inside.push_back(&line.push(flow, 1ms * (1 + random() % 100),
                                    static_cast<double>(1 + random() % 3), random() % 7,
                                    random() % 3 == 0));
      } else if (!inside.empty() && dice < 7) {
        const std::size_t at = random() % inside.size();
        line.queue.remove(*inside[at], false);
        inside.erase(inside.begin() + static_cast<std::ptrdiff_t>(at));
        ++gone;
      } else if (!inside.empty()) {
        Entry* front = line.queue.front(start);
        REQUIRE(front != nullptr);
        REQUIRE(std::erase(inside, front) == 1);
        line.queue.remove(*front, true);
        ++gone;
      }
      REQUIRE(line.queue.size() == inside.size());
      REQUIRE(line.queue.all().cost.input_tokens == static_cast<std::int64_t>(10 * inside.size()));
    }
    for (Entry* entry : inside) line.queue.remove(*entry, false);
    CHECK(gone + inside.size() == line.entries.size());
    CHECK(line.queue.size() == 0);
  }
}

TEST_CASE("shares are fair to within a call over long histories") {
  Line line;
  std::map<std::string, double> weights{{"a", 1.0}, {"b", 2.0}, {"c", 4.0}};
  std::map<std::string, double> got;
  std::mt19937 random(7);
  for (int i = 0; i < 60; ++i) {
    for (const auto& [name, weight] : weights) line.push(name, 1ms * (10 + random() % 200), weight);
  }
  for (int i = 0; i < 3'000; ++i) {
    Entry* front = line.queue.front(start);
    const std::string name = line.names[front];
    got[name] += std::chrono::duration<double>(front->cost).count();
    line.queue.remove(*front, true);
    line.push(name, 1ms * (10 + random() % 200), weights[name]);
  }
  const double unit = got["a"];
  CHECK(got["b"] / unit == doctest::Approx(2.0).epsilon(0.02));
  CHECK(got["c"] / unit == doctest::Approx(4.0).epsilon(0.02));
}

}  // namespace
}  // namespace moderato

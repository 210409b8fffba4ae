#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <moderato/core/runtime.hpp>
#include <moderato/llm/limiter/backends/redis_backend.hpp>
#include <moderato/llm/limiter/backends/redis_scripts.hpp>
#include <moderato/llm/limiter/backends/redis_words.hpp>
#include <random>
#include <semaphore>
#include <stdexcept>
#include <utility>

// Who knows what
//
// Redis holds the numbers and does the arithmetic of levels, slots and tickets, in two scripts.
// What a response means (headers in five dialects, texts of refusals, the state machine of pauses,
// probes and closures) is C++ and stays here, in a QuotaKey that serves as a mirror: its state
// machine is a value of some 270 bytes, which Redis keeps without understanding it, together with
// what follows from it ("held until", "then a probe", "half the rate, growing"). Whoever gets a
// response that changes the state machine sends the new value and the version it was made of; if
// somebody else was quicker, he gets theirs and tries again. Nothing of that happens with a plain
// success: the state machine stays as it is.
//
// Who is in flight
//
// Redis counts the calls in flight of each process, and forgets the process when it is not heard of
// for a lease. Counting by process and not by call makes a renewal one command, and repairs what a
// lost answer leaves behind: with each renewal the process says how many it really has. (Not while
// an acquire is under way, whose answer may have been counted.)

namespace moderato {

using namespace redis_words;

namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::seconds;

std::string random_name() {
  std::random_device device;
  const auto word = [&] { return static_cast<std::uint64_t>(device()) << 32 | device(); };
  return fmt::format("{:016x}", word());
}

std::string json_of(const QuotaRules& rules) {
  std::string limits;
  for (const auto& rule : rules.dimensions) {
    limits +=
        fmt::format("{}[{},{},{},{},{}]", limits.empty() ? "" : ",", static_cast<int>(rule.unit),
                    rule.limit, duration_cast<microseconds>(rule.period).count(),
                    duration_cast<microseconds>(rule.burst).count(), rule.safety);
  }
  const double retries = QuotaKey(rules).snapshot(Instant{}).retries_left * 10;
  return fmt::format(R"({{"d":[{}],"slots":{},"rc":{:.0f}}})", limits, rules.slots, retries);
}

RedisAddress address_of(const RedisOptions& options) {
  auto address = RedisAddress::parse(options.url);
  if (!address) throw std::invalid_argument(address.error().message);
  return *std::move(address);
}

std::vector<std::string> keys_of(const RedisOptions& options) {
  return {"{moderato:" + options.name + "}:state", "{moderato:" + options.name + "}:tickets"};
}

bool is_rubbish(const std::string& text) {
  return text.find("RUBBISH") != std::string::npos || text.find("WRONGTYPE") != std::string::npos;
}

}  // namespace

struct RedisBackend::Listener {
  std::mutex mutex{};  // held while f runs
  std::function<void()> f{};
};

RedisBackend::RedisBackend(Options options)
    : options_(std::move(options)),
      owner_(random_name()),
      channel_(options_.callers_time ? "" : "{moderato:" + options_.redis.name + "}:room"),
      rules_json_(json_of(options_.rules)),
      mirror_(options_.rules) {
  if (options_.rules.max_slots > 0) {
    throw std::invalid_argument("redis: state the limits; they are not learnt over Redis");
  }
  client_ = std::make_unique<RedisClient>(RedisClient::Options{
      .address = address_of(options_.redis),
      .keys = keys_of(options_.redis),
      .scripts = {redis_acquire_script(), redis_tell_script()},
      .channel = channel_,
      .timeout = options_.redis.timeout,
      .changed = [this](const std::string& run,
                        const std::string& why) { connection_changed(run, why); },
      .heard = [this](const std::string& message) { room(message); },
      .tick = [this] { tick(); }});
  client_->start();
  client_->wait_until_tried();
}

RedisBackend::~RedisBackend() {
  client_->run(tell_script, tell(Instant{}, "leave"), nullptr);
  client_.reset();
}

// --- Time ----------------------------------------------------------------------------------------

std::int64_t RedisBackend::server_time(Instant now) const {
  return micros_of(now + offset_);
}

std::string RedisBackend::given_time(Instant now) const {
  return options_.callers_time ? std::to_string(micros_of(now)) : std::string();
}

std::vector<std::string> RedisBackend::tell(Instant now, const char* what) const {
  return {given_time(now), owner_,
          std::to_string(duration_cast<microseconds>(options_.redis.lease).count()), what};
}

/// A fiber is suspended; in a simulation time stands still, so its thread is.
Result<RedisReply> RedisBackend::ask_and_wait(std::size_t script,
                                              std::vector<std::string> words) const {
  struct Waiting {
    WaitPoint point{"an answer of Redis"};
    std::binary_semaphore still{0};
    Result<RedisReply> reply = fail(ErrorCode::storage, "redis: not connected");
  };
  const auto waiting = std::make_shared<Waiting>();
  const bool standing = Runtime::current() != nullptr && Runtime::current()->simulated();
  const bool sent =
      client_->run(script, std::move(words), [waiting, standing](const Result<RedisReply>& reply) {
        waiting->reply = reply;
        if (standing) {
          waiting->still.release();
        } else {
          waiting->point.notify();
        }
      });
  if (!sent) return std::move(waiting->reply);
  if (standing) {
    waiting->still.acquire();
  } else {
    waiting->point.wait_for_notification();
  }
  return std::move(waiting->reply);
}

// --- Acquire -------------------------------------------------------------------------------------

std::vector<std::string> RedisBackend::acquire_words(Instant now, const Ask& ask,
                                                     const Ticket& ticket,
                                                     const NextInLine* next) const {
  std::vector<std::string> words{
      given_time(now),
      owner_,
      std::to_string(duration_cast<microseconds>(options_.redis.lease).count()),
      run_,
      rules_json_,
      joined_ ? "1" : "0",
      std::to_string(state_version_)};
  push(words, mirror_.weigh(ask));
  const auto push_ticket = [&](const Ticket& of) {
    words.push_back(std::to_string(of.id));
    words.push_back(std::to_string(of.flow));
    words.push_back(fmt::format("{}", of.weight));
    words.push_back(std::to_string(std::max<std::uint32_t>(of.callers, 1)));
    words.push_back(std::to_string(std::max<std::uint32_t>(of.queued, 1)));
  };
  push_ticket(ticket);
  words.emplace_back(ticket.retry ? "1" : "0");
  if (next == nullptr) return words;
  push(words, mirror_.weigh(next->ask));
  push_ticket(next->ticket);
  return words;
}

Admission RedisBackend::try_acquire(Instant now, const Ask& ask, const Ticket& ticket,
                                    const NextInLine* next) {
  std::vector<std::string> words;
  {
    const std::scoped_lock lock(mutex_);
    if (!client_->connected()) return without(now, ask, ticket);
    words = acquire_words(now, ask, ticket, next);
    ++asking_;
  }
  const Instant begin = steady_.now();
  const auto reply = ask_and_wait(acquire_script, std::move(words));
  auto given = reply ? redis_answers::read_acquired(*reply)
                     : Result<redis_answers::Acquired>(fail(reply.error()));
  const Duration took = options_.callers_time ? Duration{} : steady_.now() - begin;
  const std::scoped_lock lock(mutex_);
  --asking_;
  if (!given) return failed(now, ask, ticket, given.error());
  joined_ = true;
  if (local_) charge_debt(now);
  // A step backwards of the callers' clock counts as no step.
  if (options_.callers_time) now = std::max(now, given->now);
  return answer(now, took, ask, *std::move(given));
}

Admission RedisBackend::failed(Instant now, const Ask& ask, const Ticket& ticket,
                               const Error& error) {
  if (is_rubbish(error.message)) {
    return Refused{
        {.code = ErrorCode::configuration,
         .message = fmt::format("redis: the keys of \"{}\" hold something else ({}): use "
                                "another name, or delete {} when nobody uses it",
                                options_.redis.name, error.message, keys_of(options_.redis)[0])}};
  }
  down_because_ = error.message;
  return without(now, ask, ticket);
}

Admission RedisBackend::answer(Instant now, Duration took, const Ask& ask,
                               redis_answers::Acquired reply) {
  const Instant there = reply.now;
  offset_ = options_.callers_time ? Duration{} : there - (now + took / 2);
  if (reply.version != state_version_) adopt(reply.version, reply.state);
  slots_in_use_ = reply.slots_in_use;
  levels_ = std::move(reply.levels);
  if (const auto* verdict = std::get_if<redis_answers::Granted>(&reply.verdict)) {
    return granted(now, took, *verdict, there);
  }
  if (const auto* verdict = std::get_if<redis_answers::Waits>(&reply.verdict)) {
    using For = redis_answers::Waits::For;
    const char* reason = verdict->what == For::slots   ? "in_flight"
                         : verdict->what == For::state ? mirror_.state().name(there)
                                                       : to_string(verdict->unit);
    // From the answer on, not from the question: late by half a round trip, never early.
    if (!verdict->until) return MustWait{Instant::max(), reason, verdict->lead};
    return MustWait{.until = now + took + (*verdict->until - there),
                    .reason = reason,
                    .lead = verdict->lead,
                    .held = verdict->what == For::state};
  }
  if (const auto* verdict = std::get_if<redis_answers::Refuses>(&reply.verdict)) {
    Error error = mirror_.state().refusal(there);
    if (!error.retry_after) error.retry_after = verdict->until - there;
    return Refused{std::move(error)};
  }
  const auto& [unit, limit] = std::get<redis_answers::NeverFits>(reply.verdict);
  return Refused{
      {.code = ErrorCode::too_large,
       .message = fmt::format("the call needs {} {} and the quota is {}: shorten the "
                              "prompt or lower the output cap",
                              amount(mirror_.weigh(ask), unit), to_string(unit), limit)}};
}

Granted RedisBackend::granted(Instant now, Duration took, const redis_answers::Granted& verdict,
                              Instant server_now) {
  Granted grant{.id = verdict.id, .at = now, .charged = verdict.charged};
  if (verdict.next) {
    grant.next = {.until = now + took + (*verdict.next - server_now),
                  .lead = verdict.next_lead,
                  .held = verdict.probe};
  }
  if (verdict.start > server_now) {
    grant.at = grant.start = now + took + (verdict.start - server_now);
  }
  grant.share = verdict.share;
  if (verdict.probe) begin_probe(server_now);
  grant.epoch = mirror_.state().epoch();
  in_flight_[grant.id] = {.at = micros_of(verdict.start), .epoch = grant.epoch};
  return grant;
}

/// A build with another state machine goes by what follows from it, and changes nothing.
void RedisBackend::adopt(std::int64_t version, const std::string& state) {
  state_version_ = version;
  if (state.empty()) {
    mirror_.state() = KeyState(options_.rules.max_hold);
  } else if (const auto theirs = KeyState::from_bytes(state)) {
    mirror_.state() = *theirs;
  }
}

// --- The rest ------------------------------------------------------------------------------------

void RedisBackend::withdraw(Instant now, std::uint64_t ticket_id) {
  auto words = tell(now, "withdraw");
  words.push_back(std::to_string(ticket_id));
  words.push_back(channel_);
  client_->run(tell_script, std::move(words), nullptr);
  if (options_.callers_time) (void)look(now);
}

bool RedisBackend::take_retry(Instant now) {
  const auto reply = ask_and_wait(tell_script, tell(now, "retry"));
  const auto told = reply ? redis_answers::read_told(*reply) : fail(reply.error());
  if (told) return told->value == 1;
  const std::scoped_lock lock(mutex_);
  return local_ && local_->take_retry(now);
}

WaitEstimate RedisBackend::expected_wait(Instant now, const Ask& ask,
                                         const QueuedAhead& ahead) const {
  const std::scoped_lock lock(mutex_);
  if (local_) return local_->expected_wait(now, ask, ahead);
  const Ask weighed = mirror_.weigh(ask);
  const Ask before = mirror_.weigh(ahead.cost);
  WaitEstimate estimate{.size = mirror_.dominant_share(ask)};
  const Instant server_now = instant_of(server_time(now));
  const Instant held = mirror_.state().held_until(server_now);
  if (now != Instant{} && held > server_now) {
    estimate.at_least = held - server_now;
    estimate.reason = mirror_.state().name(server_now);
  }
  for (const auto& level : levels_) {
    const double period = std::chrono::duration<double>(level.period).count();
    const auto units =
        static_cast<double>(amount(weighed, level.unit) + amount(before, level.unit));
    const double cost = units * period / (static_cast<double>(level.limit) * options_.rules.safety);
    const Duration burst = options_.rules.bursts.of(level.unit);
    const Duration wait =
        level.owed + duration_cast<Duration>(std::chrono::duration<double>(cost)) - burst;
    if (wait <= estimate.at_least) continue;
    estimate.at_least = wait;
    estimate.reason = to_string(level.unit);
  }
  estimate.expected = estimate.at_least;
  if (options_.rules.slots > 0 && slots_in_use_ >= options_.rules.slots) {
    estimate.reason = "in_flight";
  }
  return estimate;
}

Result<KeySnapshot> RedisBackend::look(Instant now) const {
  const auto reply = ask_and_wait(tell_script, tell(now, "look"));
  if (!reply && is_rubbish(reply.error().message)) {
    return fail(ErrorCode::configuration, reply.error().message);
  }
  if (!reply) return fail(reply.error());
  auto seen = redis_answers::read_looked(*reply, now, options_.rules.max_hold);
  if (!seen) return fail(std::move(seen).error());
  if (!*seen) {
    return fail(ErrorCode::not_found,
                fmt::format("redis: there is no quota \"{}\" in use", options_.redis.name));
  }
  return **std::move(seen);
}

KeySnapshot RedisBackend::snapshot(Instant now) const {
  if (options_.callers_time) return look(now).value_or(KeySnapshot{.state = "unreachable"});
  const std::scoped_lock lock(mutex_);
  if (local_ || !client_->connected()) {
    KeySnapshot snapshot = local_ ? local_->snapshot(now) : KeySnapshot{};
    snapshot.state = "unreachable";
    snapshot.why = down_because_;
    return snapshot;
  }
  client_->run(tell_script, tell(now, "look"), [this, now](const Result<RedisReply>& reply) {
    if (!reply) return;
    auto seen = redis_answers::read_looked(*reply, now, options_.rules.max_hold);
    if (!seen || !*seen) return;
    const std::scoped_lock heard_lock(mutex_);
    looked_ = **std::move(seen);
  });
  return looked_;
}

std::string RedisBackend::describe() const {
  const std::scoped_lock lock(mutex_);
  const std::string where = address_of(options_.redis).describe();
  std::string text =
      fmt::format("{} \"{}\", {}", where, options_.redis.name, QuotaKey(options_.rules).describe());
  if (!client_->connected()) text += " (unreachable: " + down_because_ + ")";
  return text;
}

std::shared_ptr<void> RedisBackend::on_room(std::function<void()> f) {
  auto listener = std::make_shared<Listener>();
  listener->f = std::move(f);
  const std::scoped_lock lock(mutex_);
  listeners_.push_back(listener);
  return {listener.get(), [this, listener](void*) {
            {
              const std::scoped_lock registered(mutex_);
              std::erase(listeners_, listener);
            }
            const std::scoped_lock idle(listener->mutex);
            listener->f = nullptr;
          }};
}

void RedisBackend::room(const std::string& message) {
  if (message != "*" && message != owner_) return;
  std::vector<std::shared_ptr<Listener>> called;
  {
    const std::scoped_lock lock(mutex_);
    called = listeners_;
  }
  for (const auto& listener : called) {
    const std::scoped_lock lock(listener->mutex);
    if (listener->f) listener->f();
  }
}

void RedisBackend::tick() {
  const std::scoped_lock lock(mutex_);
  if (!joined_ || --ticks_to_renewal_ > 0) return;
  renew();
}

/// With mutex_ held.
void RedisBackend::renew() {
  const auto every = duration_cast<seconds>(options_.redis.lease) / 3;
  ticks_to_renewal_ = static_cast<int>(std::max<std::int64_t>(every.count(), 1));
  if (options_.callers_time) return;
  auto words = tell(Instant{}, "renew");
  words.push_back(asking_ > 0 ? "-1" : std::to_string(in_flight_.size()));
  words.push_back(run_);
  words.emplace_back("0");
  client_->run(tell_script, std::move(words), [this](const Result<RedisReply>& reply) {
    if (!reply) return;
    const auto told = redis_answers::read_told(*reply);
    if (!told) return;
    const std::scoped_lock lock(mutex_);
    if (told->version < 0) {
      ticks_to_renewal_ = 1;  // the quota is not there yet
    } else {
      others_ = static_cast<std::size_t>(std::max<std::int64_t>(told->value, 1));
    }
  });
}

}  // namespace moderato

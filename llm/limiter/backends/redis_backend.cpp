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
  const Duration took = options_.callers_time ? Duration{} : steady_.now() - begin;
  const std::scoped_lock lock(mutex_);
  --asking_;
  if (!reply) return failed(now, ask, ticket, reply.error());
  joined_ = true;
  if (local_) charge_debt();
  // A step backwards of the callers' clock counts as no step.
  if (options_.callers_time) now = std::max(now, instant_of(reply->number(1)));
  return answer(now, took, ask, *reply);
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
                               const RedisReply& reply) {
  const std::int64_t kind = reply.number(0);
  const std::int64_t server_now = reply.number(1);
  offset_ = options_.callers_time ? Duration{} : instant_of(server_now) - (now + took / 2);
  heard(reply, kind == 1 ? 16 : kind == 2 ? 9 : kind == 3 ? 7 : 8);
  if (kind == 1) return granted(now, took, reply);
  if (kind == 2) {
    const std::int64_t until = reply.number(6);
    const std::int64_t why = reply.number(7);
    const std::int64_t lead = reply.number(8);
    const char* reason = why == 8   ? "in_flight"
                         : why == 9 ? mirror_.state().name(instant_of(server_now))
                                    : to_string(static_cast<QuotaUnit>(why));
    // From the answer on, not from the question: late by half a round trip, never early.
    if (until < 0) return MustWait{Instant::max(), reason, lead};
    return MustWait{now + took + microseconds(until - server_now), reason, lead};
  }
  if (kind == 3) {
    Error error = mirror_.state().refusal(instant_of(server_now));
    if (!error.retry_after) error.retry_after = microseconds(reply.number(6) - server_now);
    return Refused{std::move(error)};
  }
  const auto unit = static_cast<QuotaUnit>(reply.number(6));
  return Refused{
      {.code = ErrorCode::too_large,
       .message = fmt::format("the call needs {} {} and the quota is {}: shorten the "
                              "prompt or lower the output cap",
                              amount(mirror_.weigh(ask), unit), to_string(unit), reply.number(7))}};
}

Granted RedisBackend::granted(Instant now, Duration took, const RedisReply& reply) {
  const std::int64_t server_now = reply.number(1);
  Granted grant{.id = static_cast<std::uint64_t>(reply.number(6)),
                .at = now,
                .charged = {.requests = reply.number(7),
                            .input_tokens = reply.number(8),
                            .output_tokens = reply.number(9),
                            .micros = reply.number(10)}};
  if (const std::int64_t next = reply.number(11); next > 0) {
    grant.next = {.until = now + took + microseconds(next - server_now), .lead = reply.number(15)};
  }
  if (const std::int64_t start = reply.number(13); start > server_now) {
    grant.at = grant.start = now + took + microseconds(start - server_now);
  }
  grant.share = static_cast<double>(reply.number(14)) / 1e6;
  if (reply.number(12) == 1) begin_probe(instant_of(server_now));
  grant.epoch = mirror_.state().epoch();
  in_flight_[grant.id] = {.at = std::max(server_now, reply.number(13)), .epoch = grant.epoch};
  return grant;
}

/// What every answer of the acquire script says, apart from its own.
void RedisBackend::heard(const RedisReply& reply, std::size_t levels) {
  if (reply.number(2) != state_version_) adopt(reply.number(2), reply.string(3));
  slots_in_use_ = reply.number(4);
  levels_.clear();
  for (std::size_t i = levels; i + 3 < reply.elements.size(); i += 4) {
    levels_.push_back({.unit = static_cast<QuotaUnit>(reply.number(i)),
                       .limit = std::max<std::int64_t>(reply.number(i + 1), 1),
                       .period = microseconds(reply.number(i + 2)),
                       .owed = microseconds(reply.number(i + 3))});
  }
}

/// A build with another state machine goes by what follows from it, and changes nothing.
void RedisBackend::adopt(std::int64_t version, const std::string& state) {
  state_version_ = version;
  if (state.empty()) {
    mirror_.state() = KeyState(options_.rules.max_hold);
  } else if (state.size() == sizeof(KeyState)) {
    std::memcpy(static_cast<void*>(&mirror_.state()), state.data(), sizeof(KeyState));
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
  if (reply) return reply->number(3) == 1;
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
  for (const Level& level : levels_) {
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
  if (reply->number(1) < 0) {
    return fail(ErrorCode::not_found,
                fmt::format("redis: there is no quota \"{}\" in use", options_.redis.name));
  }
  return seen(*reply, now);
}

/// What "look" answered.
KeySnapshot RedisBackend::seen(const RedisReply& given, Instant now) const {
  const RedisReply* reply = &given;
  const std::int64_t server_now = reply->number(0);
  KeyState state(options_.rules.max_hold);
  if (reply->string(2).size() == sizeof(KeyState)) {
    std::memcpy(static_cast<void*>(&state), reply->string(2).data(), sizeof(KeyState));
  }
  const Instant at = instant_of(server_now);
  KeySnapshot snapshot{.state = state.name(at),
                       .why = std::string(state.why()),
                       .in_flight = reply->number(5),
                       .max_in_flight = reply->number(6),
                       .retries_left = static_cast<double>(reply->number(9)) / 10,
                       .granted = static_cast<std::uint64_t>(reply->number(4)),
                       .rejections = static_cast<std::uint64_t>(reply->number(8)),
                       .waiting = static_cast<std::size_t>(reply->number(7)),
                       .owners = static_cast<std::size_t>(reply->number(10))};
  if (snapshot.state == "open") snapshot.why.clear();
  if (reply->number(11) > 0 && reply->number(12) > server_now) {
    snapshot.until = now + microseconds(reply->number(12) - server_now);
  }
  for (std::size_t i = 13; i + 3 < reply->elements.size(); i += 4) {
    const auto unit = static_cast<QuotaUnit>(reply->number(i));
    const std::int64_t level = reply->number(i + 3);
    if (unit != QuotaUnit::micros) {
      double& left = unit == QuotaUnit::requests ? snapshot.requests_left : snapshot.tokens_left;
      left = std::min(left, static_cast<double>(level));
    }
    snapshot.dimensions.push_back({.name = to_string(unit),
                                   .limit = reply->number(i + 1),
                                   .period = microseconds(reply->number(i + 2)),
                                   .level = level});
  }
  return snapshot;
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
    if (!reply || reply->number(1) < 0) return;
    const std::scoped_lock heard_lock(mutex_);
    looked_ = seen(*reply, now);
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
    const std::scoped_lock lock(mutex_);
    if (reply->number(1) < 0) {
      ticks_to_renewal_ = 1;  // the quota is not there yet
    } else {
      others_ = static_cast<std::size_t>(std::max<std::int64_t>(reply->number(3), 1));
    }
  });
}

}  // namespace moderato

#include <moderato/core/session.hpp>

#include <fmt/format.h>

#include <stdexcept>

namespace moderato {

Session::Session(Runtime& runtime, SessionOptions options)
    : runtime_(runtime),
      options_(std::move(options)),
      observer_(runtime.observer() | options_.observer),
      totals_(options_.part_of) {
  if (options_.id.empty()) options_.id = fmt::format("{:016x}", runtime.random());
  if (options_.journal) {
    auto log =
        EffectLog::open(options_.journal, options_.id, options_.journal_mode, runtime.clock());
    if (!log) throw std::invalid_argument("Session: " + to_string(log.error()));
    effects_ = std::move(*log);
  } else {
    effects_ = std::make_unique<EffectLog>(runtime.clock());
  }
  if (auto started = effects_->start(runtime.random()); !started) {
    throw std::invalid_argument("Session: " + to_string(started.error()));
  }
}

Session::~Session() = default;

CallContext Session::context(std::string agent, Purpose purpose) {
  return {.session = options_.id,
          .tenant = options_.tenant,
          .agent = std::move(agent),
          .purpose = purpose,
          .priority = options_.priority,
          .deadline = options_.deadline,
          .stop = options_.stop,
          .observer = observer_,
          .budget = options_.budget,
          .cache = options_.cache,
          .totals = &totals_,
          .effects = effects_.get()};
}

}  // namespace moderato

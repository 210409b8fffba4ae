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

Result<std::unique_ptr<Session>> Journal::resume(Runtime& runtime, std::string run,
                                                 SessionOptions options) {
  const auto known = read(run);
  if (!known) return tl::unexpected<Error>(known.error());
  if (known->empty()) {
    return fail(ErrorCode::configuration, fmt::format("run \"{}\" is not in the journal", run));
  }
  options.id = std::move(run);
  options.journal = weak_from_this().lock();
  options.journal_mode = JournalMode::resume;
  if (!options.journal) {
    return fail(ErrorCode::configuration, "Journal::resume: the journal belongs to no shared_ptr");
  }
  try {
    return std::make_unique<Session>(runtime, std::move(options));
  } catch (const std::invalid_argument& error) {  // it is somebody else's, or damaged
    return fail(ErrorCode::configuration, error.what());
  }
}

Result<std::unique_ptr<Session>> Journal::resume(Runtime& runtime, std::string run) {
  return resume(runtime, std::move(run), SessionOptions{});
}

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

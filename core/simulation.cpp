#include <moderato/core/simulation.hpp>

#include <mutex>

#include <moderato/core/runtime_core.hpp>

namespace moderato {

struct Simulation::Log {
  mutable std::mutex mutex;
  std::string text;

  void add(const Event& event) {
    std::string line = dump_json(to_json(event));
    line += '\n';
    const std::scoped_lock lock(mutex);
    text += line;
  }
};

RuntimeOptions Simulation::make_options(const SimulationOptions& options,
                                        const std::shared_ptr<Log>& log) {
  return {.threads = 0,
          .worker_threads = 8,
          .stack_size = options.stack_size,
          .max_guarded_stacks = options.max_guarded_stacks,
          .observer = options.keep_event_log ? Observer([log](const Event& event) {
                                                 log->add(event);
                                               }) | options.observer
                                             : options.observer,
          .ledger = options.ledger};
}

Simulation::Simulation(SimulationOptions options) : Simulation(options, std::make_shared<Log>()) {}

Simulation::Simulation(const SimulationOptions& options, std::shared_ptr<Log> log)
    : Runtime(make_options(options, log),
              Virtual{.seed = options.seed, .shuffle = options.shuffle}),
      log_(std::move(log)) {}

Simulation::~Simulation() = default;

void Simulation::run() {
  core().drive([this] { return core().idle(); });
}

void Simulation::run_until(Instant until) {
  core().drive([this] { return core().idle(); }, until);
}

std::string Simulation::event_log() const {
  const std::scoped_lock lock(log_->mutex);
  return log_->text;
}

}  // namespace moderato

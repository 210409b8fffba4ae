#pragma once

#include <cstdint>
#include <string>

#include <moderato/core/runtime.hpp>

namespace moderato {

struct SimulationOptions {
  /// Same seed, same history, to the byte.
  std::uint64_t seed = 1;
  /// Runs ready fibers in an order drawn from the seed instead of first come, first served:
  /// explores interleavings.
  bool shuffle = false;
  std::size_t stack_size = 256 * 1024;
  std::size_t max_guarded_stacks = 12'000;
  /// Keeps every event for event_log(); leave it off where millions of events would fill the
  /// memory.
  bool keep_event_log = true;
  Observer observer{};
  std::shared_ptr<Ledger> ledger{};
};

/// A runtime in virtual time, on the calling thread: when nothing is runnable, time jumps to the
/// next sleeper. Library functions called from the ordinary thread drive it until they return.
///
///   Simulation world({.seed = 7});
///   world.spawn([&] { sleep_for(1h); });
///   world.run();                        // returns at once; world.clock().now() is one hour on
///
/// When fibers are left, none is runnable and none sleeps, run() throws Deadlock with who waits on
/// what. All events are kept, one JSON line each: event_log().
class Simulation final : public Runtime {
 public:
  explicit Simulation(SimulationOptions options = {});
  ~Simulation() override;

  /// Until every fiber has ended.
  void run() override;
  /// Until virtual time reaches `until`, or every fiber has ended.
  void run_until(Instant until);
  void run_for(Duration duration) { run_until(clock().now() + duration); }

  /// Every event of this runtime so far, as JSON Lines.
  [[nodiscard]] std::string event_log() const;

 private:
  struct Log;
  static RuntimeOptions make_options(const SimulationOptions& options,
                                     const std::shared_ptr<Log>& log);
  Simulation(const SimulationOptions& options, std::shared_ptr<Log> log);
  std::shared_ptr<Log> log_;
};

}  // namespace moderato

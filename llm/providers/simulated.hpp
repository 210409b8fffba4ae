#pragma once

#include <functional>
#include <memory>
#include <string>

#include <moderato/llm/provider.hpp>
#include <moderato/llm/providers/simulated_engine.hpp>

namespace moderato {

struct SimulatedOptions {
  /// Chooses the script, see SimulatedScript.
  std::string model = "review";
  SimulatedScript script{};
  SimulatedQuotaOptions quota{};
  LatencyLaw latency{};
  std::vector<SimulatedFault> faults{};
  std::uint64_t seed = 1;
  bool rate_limit_headers = true;
  HintForm hint = HintForm::both;
  std::vector<SimulatedOutage> outages{};
  /// See SimulatedEngineOptions.
  std::function<void(const SimulatedLogEntry&)> log{};
  /// A stalled answer ends as a timeout after this time.
  Duration silence_timeout = std::chrono::seconds(60);
};

/// A provider with a latency law, a quota that it defends with 429s as real ones word them, and
/// faults; in process, on the runtime's clock, so that hours pass in a moment in a Simulation. The
/// same engine stands behind `moderato provider`, over real HTTP.
class SimulatedProvider {
 public:
  explicit SimulatedProvider(SimulatedOptions options = {});

  /// For runtime.model(...). All models made from one SimulatedProvider share its quota.
  [[nodiscard]] ModelProvider provider() const;
  /// The same, with another script.
  [[nodiscard]] ModelProvider provider(std::string model) const;
  /// The provider's own counts: what it would bill.
  [[nodiscard]] SimulatedStats stats() const { return engine_->stats(); }

 private:
  std::shared_ptr<SimulatedEngine> engine_;
  std::string model_;
  Duration silence_timeout_;
};

/// SimulatedProvider(options).provider(), for when nobody asks for its counts.
[[nodiscard]] ModelProvider simulated(SimulatedOptions options = {});

}  // namespace moderato

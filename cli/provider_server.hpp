#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <moderato/core/json.hpp>
#include <moderato/llm/providers/simulated_engine.hpp>

namespace moderato {

struct ProviderServerOptions {
  std::uint16_t port = 0;  ///< On 127.0.0.1; 0: a free one, see port().
  SimulatedEngineOptions engine{};
  /// Streamed pieces leave in one packet each; off: all that are due go together.
  bool packet_for_each_piece = true;
  /// Only "Bearer <key>" is let in; empty: everybody is.
  std::string api_key{};
};

/// The simulated provider as an HTTP server that speaks chat completions: POST
/// [/v1]/chat/completions (whole and streamed answers), GET [/v1]/models, GET /stats (its own
/// counts). On a thread of its own, on loopback only. Thread safe, except for stop().
class ProviderServer {
 public:
  /// Listens at once. Throws std::runtime_error if the port cannot be had (the text says why).
  explicit ProviderServer(ProviderServerOptions options = {});
  ~ProviderServer();
  ProviderServer(const ProviderServer&) = delete;
  ProviderServer& operator=(const ProviderServer&) = delete;

  [[nodiscard]] std::uint16_t port() const noexcept;
  /// "http://127.0.0.1:PORT/v1"
  [[nodiscard]] std::string base_url() const;
  [[nodiscard]] SimulatedStats stats() const;
  /// As GET /stats gives it: the engine's counts and the connections.
  [[nodiscard]] Json stats_json() const;
  /// Closes the port and all connections; the counts stay. Also done by the destructor.
  void stop();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace moderato

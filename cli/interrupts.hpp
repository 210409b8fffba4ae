#pragma once

#include <signal.h>

#include <stop_token>
#include <thread>

namespace moderato {

/// Turns SIGINT and SIGTERM into a stop token while it lives; a second one ends the program at once
/// (exit code 130). Make it before any other thread: they inherit that these signals are not
/// theirs.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }
  [[nodiscard]] bool happened() const { return source_.stop_requested(); }

 private:
  void wait_for_signals();

  sigset_t signals_{};
  sigset_t signals_before_{};
  std::stop_source source_;
  std::thread thread_;
};

}  // namespace moderato

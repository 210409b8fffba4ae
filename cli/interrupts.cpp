#include "interrupts.hpp"

#include <cstdlib>

namespace moderato {
namespace {

constexpr int end_of_waiting = SIGUSR1;

}  // namespace

Interrupts::Interrupts() {
  sigemptyset(&signals_);
  for (const int signal : {SIGINT, SIGTERM, end_of_waiting}) sigaddset(&signals_, signal);
  pthread_sigmask(SIG_BLOCK, &signals_, &signals_before_);
  thread_ = std::thread([this] { wait_for_signals(); });
}

Interrupts::~Interrupts() {
  pthread_kill(thread_.native_handle(), end_of_waiting);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &signals_before_, nullptr);
}

void Interrupts::wait_for_signals() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0 || signal == end_of_waiting) return;
    if (source_.stop_requested()) std::_Exit(130);
    source_.request_stop();
  }
}

}  // namespace moderato

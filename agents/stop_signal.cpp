#include <moderato/agents/stop_signal.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

namespace moderato {

struct StopSignal::Callback {
  Callback(const std::stop_token& stop, Raise raise) : callback(stop, raise) {}
  std::stop_callback<Raise> callback;
};

void StopSignal::Raise::operator()() const noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);
}

StopSignal::StopSignal(const std::stop_token& stop)
    : fd_(::eventfd(0, EFD_CLOEXEC)), callback_(std::make_unique<Callback>(stop, Raise{fd_})) {}

StopSignal::~StopSignal() {
  callback_.reset();  // before the descriptor that it writes to
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace moderato

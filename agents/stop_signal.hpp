#pragma once

// Private header of the library: not installed.

#include <memory>
#include <stop_token>

namespace moderato {

/// A descriptor that becomes readable when a stop token is triggered: for waits in poll().
class StopSignal {
 public:
  explicit StopSignal(const std::stop_token& stop);
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  ~StopSignal();
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  struct Raise {
    int fd;
    void operator()() const noexcept;
  };
  struct Callback;

  int fd_;
  std::unique_ptr<Callback> callback_;
};

}  // namespace moderato

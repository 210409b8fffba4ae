#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <deque>

#include <moderato/core/wait.hpp>

namespace moderato {

/// Lets a bounded number of exchanges look for a connection to one origin at a time, in order of
/// arrival. Ten thousand that start together would otherwise need as many resolver threads, and
/// more room than a server has for connections that it has not accepted yet (4,096 on Linux;
/// beyond, a connect takes a second longer). One loop's thread only.
class ConnectGate {
 public:
  static constexpr std::size_t max_connecting = 256;

  /// The place of one exchange, from its start until it has a connection or ends.
  class Place {
   public:
    /// `admitted` is notified when a place that had to wait is let in.
    Place(ConnectGate& gate, WaitPoint& admitted);
    ~Place() { leave(); }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    [[nodiscard]] bool is_in() const noexcept { return state_ == State::in; }
    /// Lets the next one in. The second time it does nothing.
    void leave();

   private:
    friend class ConnectGate;
    enum class State { waiting, in, left };
    ConnectGate& gate_;
    WaitPoint& admitted_;
    State state_ = State::waiting;
  };

 private:
  void let_in();

  std::size_t connecting_ = 0;
  std::deque<Place*> waiting_;
};

}  // namespace moderato

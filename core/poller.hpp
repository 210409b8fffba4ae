#pragma once

// Private header of the library: not installed.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <moderato/core/clock.hpp>

struct epoll_event;

namespace moderato {

/// The file descriptors that one loop watches, in an epoll of its own. See loop.cpp for its place
/// beside Asio. Loop's thread only, except wake().
class Poller {
 public:
  /// Who is told of descriptors, and works when the loop has nothing better to do. Watch nothing
  /// any more when it goes.
  class Listener {
   public:
    explicit Listener(Poller& poller);
    virtual ~Listener();
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;

    /// `events` as epoll has them.
    virtual void on_socket(int fd, std::uint32_t events) = 0;
    /// Called, outside fibers, soon after ask_for_turn(), and when `due()` has come.
    virtual void on_turn() = 0;

   protected:
    /// Changes what is watched, level-triggered: from `before` to `events` (0: nothing).
    void watch(int fd, std::uint32_t before, std::uint32_t events) noexcept;
    void ask_for_turn() noexcept { poller_.turn_wanted_ = turn_wanted_ = true; }
    /// Asks for a turn at that instant, or at the one asked for before if that is earlier.
    void ask_for_turn_at(Instant at) noexcept;

   private:
    friend class Poller;
    Poller& poller_;
    std::uint32_t number_;
    Instant due_ = no_deadline;
    bool turn_wanted_ = false;
  };

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Tells listeners what happened; waits for that until `until` at most. Returns whether anything
  /// happened.
  bool wait(Instant until, const Clock& clock);
  bool poll();
  /// Gives the listeners the turns that they want. Returns whether there were any.
  bool take_turns(const Clock& clock);
  /// When the next turn is wanted.
  [[nodiscard]] Instant due() const noexcept { return turn_wanted_ ? Instant{} : due_; }

  /// Ends a wait() that runs, or else the next one. Thread safe.
  void wake() const noexcept;

  /// A descriptor that is readable when poll() has something to do; the caller closes it.
  [[nodiscard]] int duplicate() const;

 private:
  bool dispatch(const epoll_event* events, int count);

  int epoll_;
  int wake_;
  std::vector<Listener*> listeners_;  // by number; null: gone
  Instant due_ = no_deadline;
  bool turn_wanted_ = false;
};

}  // namespace moderato

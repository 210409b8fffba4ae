#include <doctest/doctest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include <moderato/core/poller.hpp>

namespace moderato {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() { REQUIRE(pipe(ends.data()) == 0); }
  ~Pipe() {
    close(ends[0]);
    close(ends[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void fill() const { REQUIRE(write(ends[1], "x", 1) == 1); }
  std::array<int, 2> ends{};
};

struct Recorder final : Poller::Listener {
  using Listener::ask_for_turn;
  using Listener::ask_for_turn_at;
  using Listener::Listener;
  using Listener::watch;
  void on_socket(int fd, std::uint32_t /*events*/) override { sockets.push_back(fd); }
  void on_turn() override { ++turns; }
  std::vector<int> sockets{};
  int turns = 0;
};

TEST_CASE("a listener hears of what it watches, and of nothing else") {
  Poller poller;
  Recorder one(poller);
  Recorder other(poller);
  const Pipe watched;
  const Pipe ignored;
  one.watch(watched.ends[0], 0, EPOLLIN);
  other.watch(ignored.ends[0], 0, EPOLLIN);
  other.watch(ignored.ends[0], EPOLLIN, 0);
  watched.fill();
  ignored.fill();
  CHECK(poller.poll());
  CHECK(one.sockets == std::vector<int>{watched.ends[0]});
  CHECK(other.sockets.empty());
  one.watch(watched.ends[0], EPOLLIN, 0);
  CHECK(!poller.poll());
}

TEST_CASE("events of a listener that is gone go nowhere") {
  Poller poller;
  const Pipe pipe;
  {
    Recorder gone(poller);
    gone.watch(pipe.ends[0], 0, EPOLLIN);
  }
  pipe.fill();
  CHECK(poller.poll());
}

TEST_CASE("a turn that was asked for comes once, and one for later comes when it is due") {
  Poller poller;
  VirtualClock clock;
  Recorder listener(poller);
  CHECK(!poller.take_turns(clock));
  listener.ask_for_turn();
  CHECK(poller.due() <= clock.now());
  CHECK(poller.take_turns(clock));
  CHECK(!poller.take_turns(clock));
  CHECK(listener.turns == 1);

  const Instant later = clock.now() + 5s;
  listener.ask_for_turn_at(later + 1s);
  listener.ask_for_turn_at(later);
  CHECK(poller.due() == later);
  CHECK(!poller.take_turns(clock));
  clock.advance_to(later);
  CHECK(poller.take_turns(clock));
  CHECK(listener.turns == 2);
  CHECK(poller.due() == no_deadline);
}

TEST_CASE("a wait ends at its time, not earlier, and at a wake-up of another thread") {
  Poller poller;
  const SteadyClock clock;
  const Instant until = clock.now() + 1500us;
  while (poller.wait(until, clock)) {
  }
  CHECK(clock.now() >= until);
  std::thread waker([&] { poller.wake(); });
  CHECK(poller.wait(no_deadline, clock));
  waker.join();
  poller.wake();  // Before the wait: it still ends it.
  CHECK(poller.wait(no_deadline, clock));
}

}  // namespace
}  // namespace moderato

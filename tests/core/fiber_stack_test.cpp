#include <moderato/core/fiber_stack.hpp>

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <moderato/core/runtime.hpp>
#include <support/sanitizers.hpp>

namespace moderato {
namespace {

/// Uses `depth` frames of more than 1 KiB.
int recurse(int depth) {
  volatile char frame[1024];
  std::memset(const_cast<char*>(frame), depth, sizeof frame);
  return depth == 0 ? frame[0] : recurse(depth - 1) + frame[depth % 1024];
}

/// Runs `f` in a child process; gives the signal that ended it, or 0.
int signal_of(const std::function<void()>& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    std::signal(SIGABRT, SIG_DFL);
    ::close(2);
    f();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_CASE("a stack overflow hits the guard page" *
          doctest::skip(test::address_sanitizer || test::thread_sanitizer)) {
  CHECK(signal_of([] {
          Runtime runtime({.threads = 0, .stack_size = 64 * 1024});
          runtime.block_on([] { return recurse(80); });
        }) == SIGSEGV);
}

TEST_CASE("a stack overflow without a guard page is found at the next switch" *
          doctest::skip(test::address_sanitizer || test::thread_sanitizer)) {
  CHECK(signal_of([] {
          Runtime runtime({.threads = 0, .stack_size = 64 * 1024, .max_guarded_stacks = 0});
          runtime.spawn([] {});  // its stack lies below
          runtime.block_on([] { return recurse(66); });
        }) == SIGABRT);
}
TEST_CASE("a fiber may use nearly all of its stack") {
  for (const std::size_t guarded : {std::size_t{100}, std::size_t{0}}) {
    Runtime runtime({.threads = 0, .stack_size = 256 * 1024, .max_guarded_stacks = guarded});
    CHECK_NOTHROW(runtime.block_on([] { return recurse(test::address_sanitizer ? 50 : 100); }));
  }
}

TEST_CASE("stacks are used again, guarded ones first and then slabs") {
  FiberStackPool pool(16 * 1024, 2);
  std::vector<FiberStack> taken;
  for (int i = 0; i < 70; ++i) taken.push_back(pool.take());
  CHECK(taken[0].guarded);
  CHECK(taken[1].guarded);
  CHECK_FALSE(taken[2].guarded);
  CHECK_FALSE(taken[69].guarded);
  const std::byte* last = taken.back().low;
  pool.give_back(taken.back());
  taken.pop_back();
  CHECK(pool.take().low == last);
}

/// Frames of 60,000 bytes of which little is touched.
int leap(int depth) {
  volatile char frame[60'000];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? frame[0] : leap(depth - 1) + frame[0];
}

TEST_CASE("a large frame does not step over the guard into another fiber's stack" *
          doctest::skip(test::address_sanitizer || test::thread_sanitizer)) {
  CHECK(signal_of([] {
          Runtime runtime({.threads = 0, .stack_size = 64 * 1024});
          for (int i = 0; i < 20; ++i) runtime.spawn([] { sleep_for(std::chrono::hours(1)); });
          while (runtime.poll()) {
          }
          runtime.block_on([] { return leap(2); });
          ::_exit(0);
        }) == SIGSEGV);
}

}  // namespace
}  // namespace moderato

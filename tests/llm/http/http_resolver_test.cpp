#include <dlfcn.h>
#include <doctest/doctest.h>
#include <netdb.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>

#include "llm/http/http_exchange.hpp"

// A name look-up cannot be interrupted. This one stands in for the system's in this program, and
// lasts as long as a test wants.

namespace {

struct SlowLookUp {
  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  int running = 0;
  std::atomic<bool> gave_up = false;

  void wait() {
    std::unique_lock lock(mutex);
    ++running;
    changed.notify_all();
    if (!changed.wait_for(lock, std::chrono::seconds(20), [this] { return released; })) {
      gave_up = true;
    }
    --running;
    changed.notify_all();
  }
  void wait_until(const std::function<bool()>& holds) {
    std::unique_lock lock(mutex);
    changed.wait(lock, holds);
  }
  void release() {
    const std::scoped_lock lock(mutex);
    released = true;
    changed.notify_all();
  }
};

SlowLookUp slow;

}  // namespace

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
  if (node != nullptr && std::strcmp(node, "slow.test") == 0) {
    slow.wait();
    return EAI_NONAME;
  }
  using Real = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
  static const auto real = reinterpret_cast<Real>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return real(node, service, hints, result);
}

namespace moderato {
namespace {

using namespace std::chrono_literals;
using namespace moderato::test;

TEST_CASE("a request that ends while its host's name is looked up does not hold the loop") {
  Runtime runtime;
  const HttpRequest patient{.url = "http://slow.test/", .limits = {.connect = 0s}};
  HttpRequest hasty = patient;
  hasty.limits.connect = 30ms;
  CHECK(code_of(exchange(runtime, hasty)) == ErrorCode::timeout);
  std::stop_source stop;
  HttpRequest cancelled = patient;
  cancelled.stop = stop.get_token();
  auto task = runtime.spawn([&] { return send_http(cancelled); });
  slow.wait_until([] { return slow.running == 2; });
  stop.request_stop();
  CHECK(code_of(task.join()) == ErrorCode::cancelled);
  CHECK_FALSE(slow.gave_up);
  slow.release();
  slow.wait_until([] { return slow.running == 0; });
  CHECK_FALSE(slow.gave_up);
}

}  // namespace
}  // namespace moderato

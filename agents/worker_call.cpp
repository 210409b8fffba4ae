#include <moderato/agents/worker_call.hpp>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <moderato/core/wait.hpp>

namespace moderato {
namespace {

// Shared by the conversation, which may go away first, the fiber that sees the job to its end, and
// the job's thread.
struct WorkerCall {
  explicit WorkerCall(TextJob work) : job(std::move(work)) {}

  TextJob job;
  std::stop_source stop;
  Result<std::string> result = std::string();
  WaitPoint changed{"blocking work to end"};  // it ended, or told something
  std::mutex mutex;
  std::vector<std::string> told;
  bool ended = false;

  void tell(std::string text) {
    {
      const std::scoped_lock lock(mutex);
      if (ended) return;
      told.push_back(std::move(text));
    }
    changed.notify();
  }
  void end(Result<std::string> how) {
    {
      const std::scoped_lock lock(mutex);
      result = std::move(how);
      ended = true;
    }
    changed.notify();
  }
  // What was told since the last time, and whether that was all.
  std::pair<std::vector<std::string>, bool> take() {
    const std::scoped_lock lock(mutex);
    return {std::exchange(told, {}), ended};
  }
};

Result<std::string> run_caught(const TextJob& job, const std::stop_token& stop,
                               const TellProgress& tell) {
  if (stop.stop_requested()) {  // while the job stood in the queue
    return fail(ErrorCode::cancelled, "cancelled before it began");
  }
  try {
    return job(stop, tell);
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal, error.what());
  } catch (...) {
    return fail(ErrorCode::internal, "something that is no std::exception was thrown");
  }
}

}  // namespace

// A thread cannot be interrupted, so a hung tool or a prompt that nobody answers would hold the
// conversation for ever. The wait has its bounds instead, and the thread is left behind.
Result<std::string> call_on_worker(Runtime& runtime, TextJob job, Instant deadline,
                                   const std::stop_token& stop, const TellProgress& on_progress) {
  auto call = std::make_shared<WorkerCall>(std::move(job));
  TellProgress tell;
  if (on_progress) tell = [call](std::string text) { call->tell(std::move(text)); };
  runtime.spawn(
      [call, tell, &runtime] {
        Result<std::string> result;
        try {
          result = runtime.on_worker(
              [&] { return run_caught(call->job, call->stop.get_token(), tell); });
        } catch (const std::exception& error) {  // no thread to run it
          result = fail(ErrorCode::internal, error.what());
        }
        call->job = nullptr;  // it may keep `tell`, which keeps the call
        call->end(std::move(result));
      },
      {.name = "blocking work"});
  for (;;) {
    const Wake wake = call->changed.wait(deadline, stop);
    auto [told, ended] = call->take();
    for (std::string& text : told) on_progress(std::move(text));
    if (ended && wake == Wake::notified) return std::move(call->result);
    if (wake == Wake::notified) continue;
    call->stop.request_stop();
    if (wake == Wake::timed_out) {
      return fail(ErrorCode::deadline_exceeded, "the time was up before an answer came");
    }
    return fail(ErrorCode::cancelled, "cancelled while waiting for an answer");
  }
}

}  // namespace moderato

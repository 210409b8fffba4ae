#include <moderato/agents/worker_call.hpp>

#include <memory>

#include <moderato/core/wait.hpp>

namespace moderato {
namespace {

// Shared by the conversation, which may go away first, and the fiber that sees the job to its end.
struct WorkerCall {
  explicit WorkerCall(TextJob work) : job(std::move(work)) {}

  TextJob job;
  std::stop_source stop;
  Result<std::string> result = std::string();
  WaitPoint ended{"blocking work to end"};
};

Result<std::string> run_caught(const TextJob& job, const std::stop_token& stop) {
  if (stop.stop_requested()) {  // while the job stood in the queue
    return fail(ErrorCode::cancelled, "cancelled before it began");
  }
  try {
    return job(stop);
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
                                   const std::stop_token& stop) {
  auto call = std::make_shared<WorkerCall>(std::move(job));
  runtime.spawn(
      [call, &runtime] {
        try {
          call->result =
              runtime.on_worker([&] { return run_caught(call->job, call->stop.get_token()); });
        } catch (const std::exception& error) {  // no thread to run it
          call->result = fail(ErrorCode::internal, error.what());
        }
        call->ended.notify();
      },
      {.name = "blocking work"});
  const Wake wake = call->ended.wait(deadline, stop);
  if (wake == Wake::notified) return std::move(call->result);
  call->stop.request_stop();
  if (wake == Wake::timed_out) {
    return fail(ErrorCode::deadline_exceeded, "the time was up before an answer came");
  }
  return fail(ErrorCode::cancelled, "cancelled while waiting for an answer");
}

}  // namespace moderato

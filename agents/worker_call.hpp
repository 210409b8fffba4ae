#pragma once

// Private header of the library: not installed.

#include <functional>
#include <stop_token>
#include <string>

#include <moderato/core/result.hpp>
#include <moderato/core/runtime.hpp>

namespace moderato {

/// Says how far a piece of work is. Thread safe; after the wait for the work has ended it does
/// nothing.
using TellProgress = std::function<void(std::string)>;

/// A piece of blocking work that gives a text. It should end soon after its stop token is
/// triggered.
using TextJob = std::function<Result<std::string>(const std::stop_token&, const TellProgress&)>;

/// Runs `job` on the worker pool and waits for its text, but no longer than until `deadline`
/// (deadline_exceeded) or `stop` (cancelled). The job's own stop token is triggered then, and it is
/// left to end by itself: it must own what it uses. What it throws is an `internal` error.
/// `on_progress` is called on the waiting fiber with what the job tells.
[[nodiscard]] Result<std::string> call_on_worker(Runtime& runtime, TextJob job, Instant deadline,
                                                 const std::stop_token& stop,
                                                 const TellProgress& on_progress = {});

}  // namespace moderato
